"""The command `engagement calibrate`."""

import json

import click
import numpy as np

from pipeline.settings import load_settings
from processors.calibration.calibrate import calibrate


@click.command("calibrate", epilog="Example: engagement calibrate")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def calibrate_forecast(as_json: bool) -> None:
    """Learn the forecast's parameters of each channel from its finished posts.

    A worker does so by itself, about once an hour of event time (ENGAGEMENT_CALIBRATE). Learned are the versions that
    are due as far as the watermarks of all partitions have come; each is written once, to forecast_versions. A second
    run finds nothing to do.
    """
    learned = calibrate(load_settings())
    if as_json:
        rows = [
            {
                "channel": channel,
                "holds_from": f"{np.datetime64(version.holds_from, 'm')}Z",
                "finished": version.finished,
            }
            for channel, version in learned
        ]
        click.echo(json.dumps({"versions": rows}))
        return
    for channel, version in learned:
        moment = np.datetime64(version.holds_from, "m")
        click.echo(f"{channel}: {version.finished:,} finished posts, holds from {moment}Z")
    click.echo(f"{len(learned):,} versions learned")

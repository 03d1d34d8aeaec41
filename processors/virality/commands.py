"""The commands `forecast fit` and `forecast backtest`."""

import csv
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from pipeline.clickhouse.client import ClickHouse
from pipeline.command_group import CommandGroup, FiniteRange
from pipeline.errors import Refused
from pipeline.files.bad_lines import BadLines
from pipeline.files.opening import check_inputs
from pipeline.files.options import ENCODING_OPTION, STRICT_OPTION, reading, tell
from pipeline.settings import load_settings
from processors.virality.fit.backtest import AgeQuality, backtest, samples_of
from processors.virality.fit.cascades import Cascades
from processors.virality.fit.finished import finished_cascades
from processors.virality.fit.fitting import fit
from processors.virality.fit.history import read_cascades
from processors.virality.fit.progressive import backtest_prior, backtest_progressive
from processors.virality.fit.summary import print_progressive
from processors.virality.parameters import dump_parameters, load_parameters
from processors.virality.spread import Lookups

_UNIT_MINUTES: Final = {"m": 1, "h": 60, "d": 1440}
_LONGEST_MINUTES: Final = 3650 * 1440
_OUT_COLUMNS: Final = ("post_id", "age", "known", "forecast", "low", "high", "truth")

_LOCAL_HELP: Final = "Learn hours of the day and habits of authors too, which hold for this network only."

_MORE_POSTS: Final = "use posts of a longer time (--since), smaller posts (--least-shares), or the shipped forecast"


@click.group(
    "forecast", cls=CommandGroup, epilog="Example: engagement forecast backtest cascades.ndjson.gz --posts posts.csv"
)
def forecast_group() -> None:
    """The forecast of final shares: fit its parameters to finished posts, judge it on history."""


@forecast_group.command("fit", epilog="Example: engagement forecast fit --least-shares 50 --out forecast.json")
@click.option(
    "--least-shares", default=50, show_default=True, type=click.IntRange(1), help="Leave out posts with fewer shares."
)
@click.option(
    "--since",
    default="1970-01-01",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"]),
    help="Leave out posts created before this time (UTC where no zone is given).",
)
@click.option(
    "--settled-days",
    default=7.0,
    show_default=True,
    type=FiniteRange(0),
    help="Age in days at the end of the data from which a post is finished.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="File to write the parameters to, instead of standard output."
)
@click.option(
    "--thin/--no-thin",
    default=True,
    show_default=True,
    help="Learn from copies with 30 and 10 % of the shares too, for posts that may stay below --least-shares.",
)
@click.option("--local/--no-local", default=True, show_default=True, help=_LOCAL_HELP)
def fit_forecast(
    least_shares: int, since: datetime, settled_days: float, thin: bool, local: bool, out: Path | None
) -> None:
    """Fit the forecast's parameters to finished posts in ClickHouse, and write them as JSON with the date and the
    sample.

    Name the file in ENGAGEMENT_FORECAST to use it, and run `engagement recount` so that all rows follow.
    """
    since = since if since.tzinfo else since.replace(tzinfo=UTC)
    with ClickHouse(load_settings()) as clickhouse:
        cascades = finished_cascades(clickhouse, least_shares, since, settled_days)
    description = f"finished posts, {settled_days:g} days old or older"
    parameters = _fitted(cascades, least_shares, description, thin=thin, local=local)
    if out is None:
        click.echo(parameters, nl=False)
        return
    try:
        out.write_text(parameters)
    except OSError as error:
        raise Refused(f"--out: {out}: {error.strerror}; name a file in a folder that can be written") from None
    click.echo(f"fitted on {len(cascades.post_ids):,} posts: {out}; use it by ENGAGEMENT_FORECAST={out}")


@forecast_group.command(
    "backtest",
    epilog="Example: engagement forecast backtest cascades.ndjson.gz --posts posts.csv --ages 10m,1h,6h --fit folds",
)
@click.argument("events", nargs=-1, required=True)
@click.option(
    "--posts", type=click.Path(path_type=Path), help="CSV file with post_id and created_at, the creation of each post."
)
@click.option("--ages", default="10m,1h,6h", show_default=True, help="Ages to forecast from, such as 10m,1h,6h,2d.")
@click.option(
    "--fit",
    "how",
    default="shipped",
    show_default=True,
    type=click.Choice(["folds", "shipped", "progressive"]),
    help="Judge the current parameters as on a network of which no post has finished yet: posts a day old show its "
    "kind; each fifth of the posts by parameters fitted to the others; or, as a worker learns, each forecast by "
    "parameters learned from the posts that had finished by then.",
)
@click.option(
    "--least-shares", default=50, show_default=True, type=click.IntRange(1), help="Leave out posts with fewer shares."
)
@click.option(
    "--thin/--no-thin",
    default=False,
    show_default=True,
    help="With --fit folds: learn from copies with 30 and 10 % of the shares too, as the shipped parameters did.",
)
@click.option("--local/--no-local", default=True, show_default=True, help=f"With --fit folds: {_LOCAL_HELP}")
@click.option(
    "--out", type=click.Path(path_type=Path), help=f"Write a CSV file of all forecasts: {','.join(_OUT_COLUMNS)}."
)
@STRICT_OPTION
@ENCODING_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def backtest_forecast(
    events: tuple[str, ...],
    posts: Path | None,
    ages: str,
    how: str,
    least_shares: int,
    thin: bool,
    local: bool,
    out: Path | None,
    strict: bool,
    encoding: str | None,
    as_json: bool,
) -> None:
    """Judge the forecast on files of EVENTS, in any format that `replay` takes: compare forecasts with the shares that
    came.

    A post is created at the time in --posts, else at that of its own event, else at its first event. A post is judged
    at an age when it has reached that age at the end of the data and has a share by then. The output counts posts
    without a share, and posts that are younger. `bias` is the median of forecast / truth - 1, `next hour` the mean
    forecast of the hour after that age / the mean of the shares that came in it.

    With --fit progressive the summary is by the number of posts that had finished, at an age of 7 days, when a forecast
    was made, beside two yardsticks: no further share comes, and a plain SEISMIC (Zhao et al. 2015).

    Lines that are no events are named, left out and counted. Exits with 1 where no line of any file is an event, or
    with --strict at the first that is none.
    """
    minutes_by_age = {age: parse_age(age) for age in ages.replace(" ", "").split(",")}
    parameters = None if how == "folds" else load_parameters(load_settings().forecast)
    check_inputs([*events, *([posts] if posts is not None else [])])
    bad_lines = BadLines(tell, strict)
    cascades = read_cascades(events, posts, bad_lines, reading(encoding))
    bad_lines.end("events")
    minutes = list(minutes_by_age.values())
    if how == "progressive" and parameters is not None:
        progressive = backtest_progressive(cascades, minutes, least_shares, parameters, Lookups())
        if out is not None:
            _write(out, cascades, list(minutes_by_age), [one.quality for one in progressive])
        print_progressive(list(minutes_by_age), progressive, least_shares, bad_lines.count, as_json=as_json)
        return
    try:
        judged = (
            backtest_prior(cascades, minutes, least_shares, parameters, Lookups())
            if parameters is not None
            else backtest(cascades, minutes, least_shares, None, Lookups(), thin=thin, local=local)
        )
    except ValueError as error:
        raise Refused(f"--fit folds: {error}: too few to learn from; {_MORE_POSTS} (--fit shipped)") from None
    if out is not None:
        _write(out, cascades, list(minutes_by_age), judged)
    _print(how, least_shares, bad_lines.count, list(minutes_by_age), judged, as_json=as_json)


def parse_age(text: str) -> int:
    """Returns the minutes of `10m`, `1h`, `2d`. Raises click.BadParameter."""
    match = re.fullmatch(r"(\d{1,7})([mhd])", text)
    minutes = int(match[1]) * _UNIT_MINUTES[match[2]] if match else 0
    if not 0 < minutes <= _LONGEST_MINUTES:
        raise click.BadParameter(
            f"{text!r} is not an age like 10m, 1h or 2d, of at most ten years", param_hint="--ages"
        )
    return minutes


def _fitted(cascades: Cascades, least_shares: int, description: str, *, thin: bool, local: bool) -> str:
    lookups = Lookups()
    samples = samples_of(cascades, cascades.final >= least_shares, lookups, thin=thin)
    sample: dict[str, Any] = {
        "posts": len(cascades.post_ids),
        "least_shares": least_shares,
        "thinned": thin,
        "local": local,
        "said": description,
    }
    try:
        today = datetime.now(UTC).date().isoformat()
        return dump_parameters(fit(samples, today, sample, cascades.authors if local else None))
    except ValueError as error:
        raise Refused(
            f"{len(cascades.post_ids):,} finished posts: {error}: too few to learn from; {_MORE_POSTS}"
        ) from None


def _print(
    how: str, least_shares: int, bad_lines: int, ages: Sequence[str], judged: Sequence[AgeQuality], *, as_json: bool
) -> None:
    if as_json:
        head = {"fit": how, "least_shares": least_shares, "bad_lines": bad_lines}
        click.echo(json.dumps(head | {"ages": _summary(ages, judged)}))
        return
    click.echo(
        f"{'age':>6} {'posts':>7} {'median APE':>11} {'bias':>7} {'coverage':>9} {'pinball':>8} "
        f"{'no share':>9} {'younger':>8} {'next hour':>10}"
    )
    for age, quality in zip(ages, judged, strict=True):
        click.echo(
            f"{age:>6} {len(quality.post):>7,} {quality.median_ape:>11.1%} {quality.median_bias:>+7.1%} "
            f"{quality.coverage:>9.1%} {quality.pinball:>8.1f} {quality.without_share:>9,} {quality.younger:>8,} "
            f"{quality.hour_ratio:>8.2f} x"
        )


def _summary(ages: Sequence[str], judged: Sequence[AgeQuality]) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return None if value != value else value

    return {
        age: {
            "posts": len(quality.post),
            "median_ape": number(quality.median_ape),
            "median_bias": number(quality.median_bias),
            "coverage": number(quality.coverage),
            "pinball": number(quality.pinball),
            "without_share": quality.without_share,
            "younger": quality.younger,
            "next_hour_ratio": number(quality.hour_ratio),
        }
        for age, quality in zip(ages, judged, strict=True)
    }


def _write(out: Path, cascades: Cascades, ages: Sequence[str], judged: Sequence[AgeQuality]) -> None:
    """Writes every forecast as CSV. Raises Refused."""
    try:
        with click.open_file(str(out), "w", encoding="utf-8") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(_OUT_COLUMNS)
            for age, quality in zip(ages, judged, strict=True):
                for post, known, *numbers, truth in zip(
                    quality.post,
                    quality.known,
                    quality.forecast,
                    quality.low,
                    quality.high,
                    quality.truth,
                    strict=True,
                ):
                    shown = (f"{number:.2f}" for number in numbers)
                    rows.writerow((cascades.post_ids[post], age, int(known), *shown, int(truth)))
    except OSError as error:
        raise Refused(f"--out: {out}: {error.strerror}; name a file in a folder that can be written") from None

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
from pipeline.errors import Refused
from pipeline.settings import load_settings
from processors.virality.backtest import Judged, backtest, samples_of
from processors.virality.cascades import Cascades
from processors.virality.finished import finished_cascades
from processors.virality.fitting import fit
from processors.virality.history import read_cascades
from processors.virality.parameters import dump_parameters, load_parameters
from processors.virality.spread import Lookups

UNITS: Final = {"m": 1, "h": 60, "d": 1440}
LONGEST: Final = 3650 * 1440
COLUMNS: Final = ("post_id", "age", "known", "forecast", "low", "high", "truth")

REPORTED: Final = 20
"""Bad lines that are shown; the rest is counted."""

LOCAL: Final = "Learn hours of the day and habits of authors too, which hold for this network alone."

MORE: Final = "take posts of a longer time (--since), smaller ones (--least-shares), or the shipped forecast"


@click.group(epilog="Example: engagement forecast backtest cascades.ndjson.gz --posts posts.csv")
def forecast() -> None:
    """The forecast of final shares: learn it from finished posts, judge it on history."""


@forecast.command("fit", epilog="Example: engagement forecast fit --least-shares 50 --out forecast.json")
@click.option("--least-shares", default=50, show_default=True, type=click.IntRange(1), help="Posts with fewer are out.")
@click.option(
    "--since",
    default="1970-01-01",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"]),
    help="Posts made before that are out (UTC where no zone is said).",
)
@click.option(
    "--settled-days",
    default=7.0,
    show_default=True,
    type=click.FloatRange(0),
    help="A post is finished when it is that old at the end of the data.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Where to write the parameters; standard output without.")
@click.option(
    "--thin/--no-thin",
    default=True,
    show_default=True,
    help="Learn from copies with 30 and 10 % of the shares too: for posts that may stay below --least-shares.",
)
@click.option("--local/--no-local", default=True, show_default=True, help=LOCAL)
def fit_command(
    least_shares: int, since: datetime, settled_days: float, thin: bool, local: bool, out: Path | None
) -> None:
    """Learns the forecast's parameters from finished posts in ClickHouse: a JSON file with its date and sample.

    Name it in ENGAGEMENT_FORECAST to use it, and run `engagement recount` so that all rows follow it.
    """
    since = since if since.tzinfo else since.replace(tzinfo=UTC)
    with ClickHouse(load_settings()) as clickhouse:
        cascades = finished_cascades(clickhouse, least_shares, since, settled_days)
    said = f"finished posts, {settled_days:g} days old or older"
    parameters = _fitted(cascades, least_shares, said, thin=thin, local=local)
    if out is None:
        click.echo(parameters, nl=False)
        return
    try:
        out.write_text(parameters)
    except OSError as error:
        raise Refused(f"--out: {out}: {error.strerror}; name a file in a folder that can be written") from None
    click.echo(f"fitted on {len(cascades.post_ids):,} posts: {out}; use it by ENGAGEMENT_FORECAST={out}")


@forecast.command(
    "backtest",
    epilog="Example: engagement forecast backtest cascades.ndjson.gz --posts posts.csv --ages 10m,1h,6h --fit folds",
)
@click.argument("events", nargs=-1, required=True)
@click.option("--posts", type=click.Path(path_type=Path), help="CSV with post_id and created_at: when each was made.")
@click.option("--ages", default="10m,1h,6h", show_default=True, help="Ages to look from: 10m,1h,6h,2d.")
@click.option(
    "--fit",
    "how",
    default="shipped",
    show_default=True,
    type=click.Choice(["folds", "shipped"]),
    help="By the parameters in use, or each fifth of the posts by what the other posts teach.",
)
@click.option("--least-shares", default=50, show_default=True, type=click.IntRange(1), help="Posts with fewer are out.")
@click.option(
    "--thin/--no-thin",
    default=False,
    show_default=True,
    help="With --fit folds: learn from copies with 30 and 10 % of the shares too, as the shipped parameters did.",
)
@click.option("--local/--no-local", default=True, show_default=True, help=f"With --fit folds: {LOCAL}")
@click.option("--out", type=click.Path(path_type=Path), help=f"CSV of every forecast: {','.join(COLUMNS)}.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
def backtest_command(
    events: tuple[str, ...],
    posts: Path | None,
    ages: str,
    how: str,
    least_shares: int,
    thin: bool,
    local: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Judges the forecast on files of EVENTS, whatever `replay` takes: what it would have said, against what came.

    A post was made when --posts says, else when its own event says, else at its first event. It is judged at an age
    when it is that old at the end of the data and has a share by then; how many had none, or are younger, is said.
    """
    said_ages = {said: parse_age(said) for said in ages.replace(" ", "").split(",")}
    parameters = load_parameters(load_settings().forecast) if how == "shipped" else None
    bad = _Complaints()
    cascades = read_cascades(events, posts, bad)
    bad.end()
    try:
        ages_in_minutes = list(said_ages.values())
        judged = backtest(cascades, ages_in_minutes, least_shares, parameters, Lookups(), thin=thin, local=local)
    except ValueError as error:
        raise Refused(f"--fit folds: {error}: too few to learn from; {MORE} (--fit shipped)") from None
    if out is not None:
        _write(out, cascades, list(said_ages), judged)
    if as_json:
        click.echo(json.dumps({"fit": how, "least_shares": least_shares, "ages": _summary(list(said_ages), judged)}))
        return
    click.echo(
        f"{'age':>6} {'posts':>7} {'median APE':>11} {'coverage':>9} {'pinball':>8} {'no share':>9} {'younger':>8}"
    )
    for said, one in zip(said_ages, judged, strict=True):
        click.echo(
            f"{said:>6} {len(one.post):>7,} {one.median_ape:>11.1%} {one.coverage:>9.1%} {one.pinball:>8.1f} "
            f"{one.without_share:>9,} {one.younger:>8,}"
        )


def parse_age(said: str) -> int:
    """Minutes of `10m`, `1h`, `2d`. Raises click.BadParameter."""
    found = re.fullmatch(r"(\d{1,7})([mhd])", said)
    minutes = int(found[1]) * UNITS[found[2]] if found else 0
    if not 0 < minutes <= LONGEST:
        raise click.BadParameter(f"{said!r} is no age like 10m, 1h or 2d, of at most ten years", param_hint="--ages")
    return minutes


class _Complaints:
    """Tells of the first bad lines, counts the others."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, said: str) -> None:
        self.count += 1
        if self.count <= REPORTED:
            click.echo(said, err=True)

    def end(self) -> None:
        if self.count:
            click.echo(f"{self.count:,} lines were not events and were left out", err=True)


def _fitted(cascades: Cascades, least_shares: int, said: str, *, thin: bool, local: bool) -> str:
    lookups = Lookups()
    samples = samples_of(cascades, cascades.final >= least_shares, lookups, thin=thin)
    sample: dict[str, Any] = {
        "posts": len(cascades.post_ids),
        "least_shares": least_shares,
        "thinned": thin,
        "local": local,
        "said": said,
    }
    try:
        today = datetime.now(UTC).date().isoformat()
        return dump_parameters(fit(samples, today, sample, cascades.authors if local else None))
    except ValueError as error:
        raise Refused(f"{len(cascades.post_ids):,} finished posts: {error}: too few to learn from; {MORE}") from None


def _summary(said: Sequence[str], judged: Sequence[Judged]) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return None if value != value else value

    return {
        name: {
            "posts": len(one.post),
            "median_ape": number(one.median_ape),
            "coverage": number(one.coverage),
            "pinball": number(one.pinball),
            "without_share": one.without_share,
            "younger": one.younger,
        }
        for name, one in zip(said, judged, strict=True)
    }


def _write(out: Path, cascades: Cascades, said: Sequence[str], judged: Sequence[Judged]) -> None:
    """Raises Refused."""
    try:
        with click.open_file(str(out), "w", encoding="utf-8") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(COLUMNS)
            for age, one in zip(said, judged, strict=True):
                for post, known, *numbers, truth in zip(
                    one.post, one.known, one.forecast, one.low, one.high, one.truth, strict=True
                ):
                    shown = (f"{number:.2f}" for number in numbers)
                    rows.writerow((cascades.post_ids[post], age, int(known), *shown, int(truth)))
    except OSError as error:
        raise Refused(f"--out: {out}: {error.strerror}; name a file in a folder that can be written") from None

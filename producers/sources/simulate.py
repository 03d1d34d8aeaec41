"""Simulation: a seeded, self-exciting social network (producers/simulation), into Kafka or into a file."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from pipeline.event_files import STDIN
from pipeline.settings import load_settings
from producers.command import JSON_OPTION, RATE_OPTION, print_summary, send_to, send_to_kafka
from producers.destinations import FileDestination
from producers.pacing import PacePolicy
from producers.sending import SendPolicy
from producers.simulation.policy import PlantedSpike, SimulationPolicy
from producers.simulation.records import simulated_records
from producers.source import Source, SourceItem

SHARE: Final = click.FloatRange(0, 1)


class SimulationSource(Source):
    """The records of a simulation. The same policy gives the same bytes."""

    verb = "simulated"

    def __init__(self, policy: SimulationPolicy) -> None:
        """Draws the simulation. Raises SettingsError for a policy that makes no sense."""
        self._records = simulated_records(policy)

    def items(self) -> Iterator[SourceItem]:
        yield from self._records


@click.command()
@click.option(
    "--events",
    default=10_000,
    show_default=True,
    type=click.IntRange(0),
    help="Likes, shares, comments and retractions.",
)
@click.option("--posts", default=200, show_default=True, type=click.IntRange(1), help="Posts, which come on top.")
@click.option(
    "--seed",
    default=1,
    show_default=True,
    type=click.IntRange(0),
    help="The same seed and options give the same bytes.",
)
@click.option(
    "--start",
    default="2026-01-01T00:00:00Z",
    show_default=True,
    help="ISO 8601 with zone; 'now': it ends at this minute.",
)
@click.option(
    "--hours",
    default=24.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="How long all of it lasts.",
)
@RATE_OPTION
@click.option(
    "--out", type=click.Path(path_type=Path, allow_dash=True), help="NDJSON file (- is stdout) instead of Kafka."
)
@click.option(
    "--retractions", default=0.02, show_default=True, type=SHARE, help="Share of events that take another back."
)
@click.option("--duplicates", default=0.0, type=SHARE, help="Share that is sent again.")
@click.option("--late", default=0.0, type=SHARE, help="Share that is sent 1 to 6 hours after it occurred.")
@click.option("--out-of-order", default=0.0, type=SHARE, help="Share that is sent some minutes after it occurred.")
@click.option("--future", default=0.0, type=SHARE, help="Share that is dated after the year 2100: dead letters.")
@click.option("--malformed", default=0.0, type=SHARE, help="Share that is no event (19 flaws in turn): dead letters.")
@click.option(
    "--awkward", default=0.0, type=SHARE, help="Share taken back early, twice, in vain; one id on two kinds or posts."
)
@click.option("--spike", "spikes", multiple=True, help="hashtag:NAME@MINUTExFACTOR, or mention:...: a planted spike.")
@JSON_OPTION
def simulate(
    start: str, rate: float | None, out: Path | None, spikes: tuple[str, ...], as_json: bool, **amounts: Any
) -> None:
    """Send a seeded, self-exciting social network into Kafka, or write it to a file.

    \b
    Example: engagement simulate --events 100000 --posts 2000 --duplicates 0.05 --spike hashtag:launch@600x20
    """
    policy = SimulationPolicy(
        start=parse_start(start, amounts["hours"]), spikes=tuple(map(PlantedSpike.parse, spikes)), **amounts
    )
    if out is not None and as_json and str(out) == STDIN:
        raise click.UsageError("--out - and --json both want stdout; leave one out")
    source, pacing = SimulationSource(policy), SendPolicy(pace=PacePolicy(rate))
    if out is None:
        summary = send_to_kafka(source, load_settings(), pacing)
    else:
        with FileDestination(out) as destination:
            summary = send_to(source, destination, pacing)
    if str(out) != STDIN:
        print_summary(summary, as_json)


def parse_start(text: str, hours: float) -> datetime:
    """Parses --start. Raises click.BadParameter for a time without zone."""
    if text == "now":
        return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=hours)
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no ISO 8601 time like 2026-01-01T00:00:00Z", param_hint="--start"
        ) from None
    if start.tzinfo is None:
        raise click.BadParameter(f"{text!r} names no zone; add Z for UTC", param_hint="--start")
    return start

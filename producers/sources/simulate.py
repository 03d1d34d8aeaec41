"""Simulation: a seeded, self-exciting social network (producers/simulation), into Kafka or into a file."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, Final

import click
from click.core import ParameterSource

from pipeline.command_group import FiniteRange
from pipeline.files.opening import STDIN
from pipeline.settings import load_settings
from producers.command import JSON_OPTION, RATE_OPTION, print_summary, send_to, send_to_kafka, stop_on_signal
from producers.destinations import FileDestination
from producers.pacing import PacePolicy
from producers.sending import SendPolicy
from producers.simulation.live import LiveClock, LivePolicy, live_records
from producers.simulation.policy import MOST_HOURS, MOST_RETRACTIONS, PlantedSpike, SimulationPolicy
from producers.simulation.records import simulated_records
from producers.source import Source, SourceItem, SourceRecord
from producers.summary import Summary
from schemas.event_time import without_leap_second

SHARE: Final = FiniteRange(0, 1)

NOT_LIVE: Final = ("events", "posts", "start", "hours", "rate", "late", "out_of_order")
"""Parameters that mean nothing in a live simulation, and are refused."""


class SimulationSource(Source):
    """The records of a simulation. The same policy gives the same bytes; a live policy gives events of now."""

    verb = "simulated"

    def __init__(self, policy: SimulationPolicy | LivePolicy, clock: LiveClock | None = None) -> None:
        """Draws the simulation. Raises SettingsError for a policy that makes no sense."""
        self._records: Iterator[SourceRecord] = (
            live_records(policy, clock) if isinstance(policy, LivePolicy) else simulated_records(policy)
        )

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
    help="The same seed, --start and other options give the same bytes.",
)
@click.option(
    "--start",
    default="now",
    show_default=True,
    help="ISO 8601 with zone, like 2026-01-01T00:00:00Z; 'now': it ends at this minute.",
)
@click.option(
    "--hours",
    default=24.0,
    show_default=True,
    type=FiniteRange(0, min_open=True),
    help="How long all of it lasts.",
)
@RATE_OPTION
@click.option(
    "--live",
    type=FiniteRange(min=0, min_open=True),
    metavar="RATE",
    help="RATE events a second, stamped with the time of sending, until Ctrl-C.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, allow_dash=True), help="NDJSON file (- is stdout) instead of Kafka."
)
@click.option(
    "--retractions",
    default=0.02,
    show_default=True,
    type=FiniteRange(0, MOST_RETRACTIONS),
    help="Share of events that take another back.",
)
@click.option("--duplicates", default=0.0, type=SHARE, help="Share that is sent again.")
@click.option("--late", default=0.0, type=SHARE, help="Share that is sent 1 to 6 hours after it occurred.")
@click.option("--out-of-order", default=0.0, type=SHARE, help="Share that is sent some minutes after it occurred.")
@click.option("--future", default=0.0, type=SHARE, help="Share that is dated after the year 2100: dead letters.")
@click.option("--malformed", default=0.0, type=SHARE, help="Share that is no event (19 flaws in turn): dead letters.")
@click.option(
    "--awkward", default=0.0, type=SHARE, help="Share taken back early, twice, in vain; one id on two kinds or posts."
)
@click.option(
    "--spike",
    "spikes",
    multiple=True,
    help="hashtag:NAME@MINUTExFACTOR, or mention:...: a planted spike. MINUTE counts from --start (--live: from now).",
)
@JSON_OPTION
@click.pass_context
def simulate(
    context: click.Context,
    /,
    start: str,
    rate: float | None,
    live: float | None,
    out: Path | None,
    spikes: tuple[str, ...],
    as_json: bool,
    **amounts: Any,
) -> None:
    """Send a seeded, self-exciting social network into Kafka, or write it to a file.

    The ids of posts and events begin with a hash of all options: two simulations that differ in any of them share none.
    --live sends what happens from now on, and prints the summary on Ctrl-C.

    \b
    Example: engagement simulate --events 100000 --posts 2000 --duplicates 0.05 --spike hashtag:launch@600x20
             engagement simulate --live 20 --spike hashtag:launch@2x30
    """
    policy = SimulationPolicy(
        start=parse_start(start, amounts["hours"]), spikes=tuple(map(PlantedSpike.parse, spikes)), **amounts
    )
    if out is not None and as_json and str(out) == STDIN:
        raise click.UsageError("--out - and --json both want stdout; leave one out")
    if live is None:
        summary = _send(SimulationSource(policy), out, rate)
    else:
        _refuse_what_is_not_live(context)
        with _clock_until_signal() as clock:
            summary = _send(SimulationSource(LivePolicy(live, policy), clock), out, None)
    if str(out) != STDIN:
        print_summary(summary, as_json)


def _send(source: Source, out: Path | None, rate: float | None) -> Summary:
    policy = SendPolicy(pace=PacePolicy(rate))
    if out is None:
        return send_to_kafka(source, load_settings(), policy)
    with FileDestination(out) as destination:
        return send_to(source, destination, policy)


def _refuse_what_is_not_live(context: click.Context) -> None:
    given = [name for name in NOT_LIVE if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise click.UsageError(f"--live sends events at its RATE as they happen: leave out {options}")


@contextmanager
def _clock_until_signal() -> Iterator[LiveClock]:
    """Yields a clock for a simulation until SIGINT or SIGTERM. A second signal ends the process."""
    stopped = Event()

    def sleep(seconds: float) -> bool:
        time.sleep(seconds)
        return not stopped.is_set()

    with stop_on_signal(stopped.set):
        yield LiveClock(sleep=sleep)


def parse_start(text: str, hours: float) -> datetime:
    """Parses --start. Raises click.BadParameter for a time without zone."""
    if text == "now":
        return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=min(hours, MOST_HOURS))
    try:
        start = datetime.fromisoformat(without_leap_second(text) or text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no ISO 8601 time like 2026-01-01T00:00:00Z", param_hint="--start"
        ) from None
    if start.tzinfo is None:
        raise click.BadParameter(f"{text!r} names no zone; add Z for UTC", param_hint="--start")
    return start

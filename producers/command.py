"""The parts that the commands of all sources share: options, a run into Kafka, the summary at its end."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from pipeline.command_group import FiniteRange
from pipeline.files.bad_lines import count_bad_lines
from pipeline.kafka.publisher import open_publisher
from pipeline.observability.progress import ProgressDisplay
from pipeline.privacy.pseudonyms import load_pseudonyms
from pipeline.settings import Settings
from producers.destinations import Destination, KafkaDestination
from producers.sending import SendPolicy, send_all
from producers.source import Source
from producers.summary import Summary

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

RATE_OPTION: Final[Decorator] = click.option(
    "--rate", type=FiniteRange(min=0, min_open=True), help="At most so many events a second."
)
JSON_OPTION: Final[Decorator] = click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout.")


def send_to_kafka(source: Source, settings: Settings, policy: SendPolicy) -> Summary:
    """Sends a source into the topics of the settings. Raises as `send_all` and `open_publisher` do."""
    pseudonyms = load_pseudonyms(settings)
    with open_publisher(settings) as publisher:
        destination = KafkaDestination(publisher, settings.topics, settings.partitions, pseudonyms)
        return send_to(source, destination, policy)


def send_to(source: Source, destination: Destination, policy: SendPolicy) -> Summary:
    """Sends a source, with progress and bad inputs on stderr. Raises as `send_all` does. The progress of a live source
    is for a terminal alone: it would go on in a log for ever."""
    progress = ProgressDisplay(sys.stderr, source.verb) if not source.is_live or sys.stderr.isatty() else None
    summary = send_all(source, destination, policy, progress=progress, complain=lambda text: click.echo(text, err=True))
    if progress is not None:
        progress.end()
    return summary


@contextmanager
def stop_on_signal(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` at the first SIGINT or SIGTERM while the block runs. A second one does what it did before."""

    def act(number: int, frame: object) -> None:
        restore()
        stop()

    def restore() -> None:
        for number, handler in earlier.items():
            signal.signal(number, handler)

    earlier = {number: signal.signal(number, act) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        restore()


def print_summary(summary: Summary, as_json: bool) -> None:
    """Prints the summary of a run, for a program or for people."""
    counts = summary.as_dict()
    if as_json:
        click.echo(json.dumps(counts))
        return
    kinds = ", ".join(f"{count:,} {kind}s" for kind, count in counts["sent"].items()) or "nothing"
    click.echo(f"sent {counts['total']:,} events ({kinds}) in {counts['seconds']:.1f} s: {counts['per_second']:,.0f}/s")
    if counts["skipped_lines"]:
        click.echo(f"{counts['skipped_lines']:,} lines were sent by an earlier replay")
    if counts["bad_lines"]:
        click.echo(count_bad_lines(counts["bad_lines"], "events"), err=True)
    if counts["malformed"]:
        click.echo(f"{counts['malformed']:,} more records were malformed on purpose")
    if summary.notes:
        click.echo(", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts["notes"].items()))

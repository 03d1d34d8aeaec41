"""The commands `dead-letters list`, `show` and `replay`."""

import json
import re
from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from pipeline.clickhouse.client import ClickHouse
from pipeline.command_group import CommandGroup
from pipeline.dead_letters.from_sources import adopt_letters
from pipeline.dead_letters.letter import DeadLetter
from pipeline.dead_letters.reader import Choice, in_order, newest, plan_retry
from pipeline.dead_letters.reader import retry as send_again
from pipeline.errors import Refused
from pipeline.kafka.publisher import open_publisher
from pipeline.privacy.pseudonyms import load_pseudonyms
from pipeline.settings import load_settings

AGE_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
PREVIEW: Final = 100
"""Bytes of a value that `list` shows."""


class Since(click.ParamType):
    """A click type: a time with its zone, or an age such as 30m, 2h, 7d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        if found := re.fullmatch(r"(\d{1,6})([mhd])", value):
            return datetime.now(UTC) - timedelta(**{AGE_UNITS[found[2]]: int(found[1])})
        try:
            since = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither an age like 30m, 2h, 7d nor a time like 2026-01-01T00:00:00Z", param, ctx)
        if since.tzinfo is None:
            self.fail(f"{value!r} names no zone; add Z for UTC", param, ctx)
        return since


def chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that select letters."""
    options = (
        click.option("--reason", help="Part of the reason or of the field, case-insensitive."),
        click.option("--topic", help="Topic that the record lay in."),
        click.option("--since", type=Since(), help="Received by Kafka since: 30m, 2h, 7d, or a time with zone."),
    )
    for option in options:
        command = option(command)
    return command


@click.group(cls=CommandGroup, epilog="Example: engagement dead-letters list --since 2h")
def dead_letters() -> None:
    """List, show, edit and resend records that could not be processed."""


@dead_letters.command("list")
@chosen
@click.option(
    "--limit",
    default=50,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Most letters to list, newest first.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(reason: str | None, topic: str | None, since: datetime | None, limit: int, as_json: bool) -> None:
    """List the newest dead letters, one per line.

    \b
    Example: engagement dead-letters list --reason occurred_at --since 2h
    """
    settings = load_settings()
    with ClickHouse(settings) as clickhouse:
        adopt_letters(settings, clickhouse)
        found = newest(clickhouse, Choice(topic=topic, reason=reason, since=since), limit)
    for letter in found:
        click.echo(json.dumps(as_dict(letter)) if as_json else one_line(letter))
    if not found and not as_json:
        click.echo("no dead letters")


@dead_letters.command()
@click.argument("topic")
@click.argument("partition", type=click.IntRange(0))
@click.argument("offset", type=click.IntRange(0))
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with key and value in base64.")
def show(topic: str, partition: int, offset: int, as_json: bool) -> None:
    """Show a dead letter with all bytes.

    \b
    Example: engagement dead-letters show engagement.likes 3 1042
    """
    settings = load_settings()
    with ClickHouse(settings) as clickhouse:
        adopt_letters(settings, clickhouse)
        found = newest(clickhouse, Choice(topic, partition, offset), 1)
    if not found:
        raise Refused(
            f"no dead letter at {topic} {partition} {offset}; `engagement dead-letters list` shows what there is"
        )
    fields = as_dict(found[0])
    if as_json:
        click.echo(json.dumps(fields))
        return
    for name in ("topic", "partition", "offset", "received_at", "field", "reason"):
        click.echo(f"{name + ':':13}{fields[name]}")
    click.echo(f"{'key:':13}{escape_for_terminal(found[0].key or b'')}")
    click.echo(f"{'value:':13}{escape_for_terminal(found[0].value or b'')}")


@dead_letters.command()
@chosen
@click.option("--dry-run", is_flag=True, help="Only count the letters that would be sent.")
@click.option("--force", is_flag=True, help="Also send letters that would die again.")
@click.option("--json", "as_json", is_flag=True, help="The counts as JSON.")
def replay(
    reason: str | None, topic: str | None, since: datetime | None, dry_run: bool, force: bool, as_json: bool
) -> None:
    """Send dead letters again, byte for byte. Sending a letter twice changes nothing.

    A valid event goes to the topic of its kind under its post_id, whatever key it came with. Letters that would die
    again are kept.

    \b
    Example: engagement dead-letters replay --topic engagement.likes --dry-run
    """
    settings = load_settings()
    now = datetime.now(UTC)
    with ExitStack() as stack:
        clickhouse = stack.enter_context(ClickHouse(settings))
        adopt_letters(settings, clickhouse)
        producer = None if dry_run else stack.enter_context(open_publisher(settings))
        letters = in_order(clickhouse, Choice(topic=topic, reason=reason, since=since))
        plans = (plan_retry(letter, settings.topics, now, settings.future_limit_seconds) for letter in letters)
        counts = send_again(plans, producer, force, load_pseudonyms(settings))
    if as_json:
        click.echo(json.dumps({**counts, "dry_run": dry_run}))
        return
    click.echo(f"{'would send' if dry_run else 'sent'} {counts['sent']:,} letters again")
    if counts["kept"]:
        click.echo(f"{counts['kept']:,} would die again and were kept; --force sends them all the same", err=True)


def as_dict(letter: DeadLetter) -> dict[str, Any]:
    """Returns a letter for JSON, with key and value in base64."""
    return {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "received_at": datetime.fromtimestamp(letter.received_at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "field": letter.field,
        "reason": letter.reason,
        "key_base64": b64encode(letter.key or b"").decode("ascii"),
        "value_base64": b64encode(letter.value or b"").decode("ascii"),
    }


def one_line(letter: DeadLetter) -> str:
    """Returns a letter as a line of a list, with the first PREVIEW bytes of the value."""
    fields = as_dict(letter)
    where = f"{fields['received_at']} {letter.topic} {letter.partition} {letter.offset}"
    flaw = escape_for_terminal(f"{letter.field}: {letter.reason}".removeprefix(": ").encode())
    value = letter.value or b""
    return f"{where}  {flaw}  {escape_for_terminal(value[:PREVIEW])}{'...' if len(value) > PREVIEW else ''}"


def escape_for_terminal(value: bytes) -> str:
    """Decodes bytes for a terminal; unprintable characters become \\x.., so that a record cannot steer the terminal."""
    text = value.decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)

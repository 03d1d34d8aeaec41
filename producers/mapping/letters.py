"""The command `dead-letters edit`: mends a whole class of dead letters, and sends them again."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import click
from pydantic_core import from_json

from pipeline.clickhouse.client import ClickHouse
from pipeline.dead_letters.commands import chosen, dead_letters, escape_for_terminal
from pipeline.dead_letters.from_sources import adopt_letters
from pipeline.dead_letters.letter import DeadLetter
from pipeline.dead_letters.reader import Choice, in_order
from pipeline.kafka.publisher import open_publisher
from pipeline.privacy.pseudonyms import load_pseudonyms
from pipeline.settings import load_settings
from producers.event_lines import ParsedLine, dump
from producers.mapping.mapper import EventMap, Mapped, load_map
from producers.mapping.rules import TIME_FIELD
from producers.mapping.shipped import find_map
from producers.mapping.times import ParseTime, compile_time
from schemas.events import Event, InvalidEvent, isoformat, parse_event

SHOWN_LETTERS: Final = 10
"""Letters that a dry run shows before and after."""


@dataclass(frozen=True)
class Edit:
    """What is changed in a letter. `event_map`: maps the whole letter as a foreign row; else `parse_time` reads
    `occurred_at`, `values` replaces fields, and fields whose value is None are removed."""

    event_map: EventMap | None = None
    parse_time: ParseTime | None = None
    values: dict[str, Any] = field(default_factory=dict)

    def apply(self, letter: DeadLetter) -> list[Mapped]:
        """Returns the events that the mended letter holds, or the flaw that is left."""
        try:
            row = from_json(letter.value or b"", allow_inf_nan=False)
        except ValueError as error:
            return [InvalidEvent("", f"not JSON: {error}")]
        if self.event_map is not None:
            return list(self.event_map.map_row(row)) or [InvalidEvent("", "no rule of the map applies")]
        if not isinstance(row, dict):
            return [InvalidEvent("", "not a JSON object; name a --map")]
        try:
            return [self._event(row)]
        except InvalidEvent as flaw:
            return [flaw]

    def _event(self, row: dict[str, Any]) -> ParsedLine:
        changed = {name: value for name, value in {**row, **self.values}.items() if value is not None}
        if self.parse_time is not None and TIME_FIELD in changed:
            try:
                changed[TIME_FIELD] = isoformat(self.parse_time(changed[TIME_FIELD]))
            except ValueError as error:
                raise InvalidEvent(TIME_FIELD, str(error)) from None
        try:
            value = dump(changed)
        except UnicodeEncodeError:
            raise InvalidEvent("", "holds half of a surrogate pair, which is no text") from None
        return ParsedLine(parse_event(value), value)


@dead_letters.command("edit")
@chosen
@click.option("--map", "map_name", help="Map of `import`: takes each letter as a foreign row.")
@click.option("--zone", help="Zone of times that name none: Europe/Berlin.")
@click.option("--time", "form", help="How times are written: seconds, milliseconds, microseconds, or %d/%m/%Y %H:%M.")
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Give a field a value; an empty one removes it."
)
@click.option("--dry-run", is_flag=True, help="Show the first letters before and after, and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="The counts as JSON.")
def edit(
    reason: str | None,
    topic: str | None,
    since: datetime | None,
    map_name: str | None,
    zone: str | None,
    form: str | None,
    changes: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Mend the chosen dead letters and send them again, as events, to the topics of their kinds.

    Letters that are no events after the change are kept and counted. Sending a letter twice changes nothing.

    \b
    Example: engagement dead-letters edit --reason occurred_at --zone Europe/Berlin --dry-run
    """
    change = _edit_of(map_name, zone, form, changes)
    settings = load_settings()
    counts, shown, pseudonyms = {"sent": 0, "kept": 0}, 0, load_pseudonyms(settings)
    with ExitStack() as stack:
        clickhouse = stack.enter_context(ClickHouse(settings))
        adopt_letters(settings, clickhouse)
        producer = None if dry_run else stack.enter_context(open_publisher(settings))
        for letter, mapped in _mended(in_order(clickhouse, Choice(topic=topic, reason=reason, since=since)), change):
            if dry_run and shown < SHOWN_LETTERS:
                shown += 1
                click.echo("\n".join(_before_and_after(letter, mapped)), err=as_json)
            for event in mapped:
                if isinstance(event, InvalidEvent):
                    counts["kept"] += 1
                    continue
                counts["sent"] += 1
                if producer is not None:
                    key, value = _key(event.event), event.value
                    if pseudonyms is not None:
                        key, value = pseudonyms.record(value)
                    producer.send(settings.topics.of(event.event["kind"]), key, value)
        if producer is not None:
            producer.flush()
    if as_json:
        click.echo(json.dumps({**counts, "dry_run": dry_run}))
        return
    click.echo(f"{'would send' if dry_run else 'sent'} {counts['sent']:,} mended letters")
    if counts["kept"]:
        click.echo(f"{counts['kept']:,} are still no events and were kept", err=True)


def _edit_of(map_name: str | None, zone: str | None, form: str | None, changes: tuple[str, ...]) -> Edit:
    """Returns the change that the options ask for. Raises click.UsageError and SettingsError."""
    if map_name is not None:
        if zone or form or changes:
            raise click.UsageError("--map stands alone: the map says how times are written")
        return Edit(load_map(find_map(map_name)))
    if not (zone or form or changes):
        raise click.UsageError("nothing to change; name --zone, --time, --set or --map")
    values: dict[str, Any] = {}
    for change in changes:
        name, is_pair, value = change.partition("=")
        if not is_pair or name not in Event.__annotations__:
            raise click.UsageError(f"--set {change}: must be FIELD=VALUE, with a field of an event")
        values[name] = value or None
    try:
        return Edit(None, compile_time(form, zone) if form or zone else None, values)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _mended(letters: Iterator[DeadLetter], change: Edit) -> Iterator[tuple[DeadLetter, list[Mapped]]]:
    for letter in letters:
        yield letter, change.apply(letter)


def _before_and_after(letter: DeadLetter, mapped: list[Mapped]) -> list[str]:
    lines = [f"{letter.topic} {letter.partition} {letter.offset}  {escape_for_terminal((letter.value or b'')[:500])}"]
    for event in mapped:
        told = f"!! {event}" if isinstance(event, InvalidEvent) else f"-> {escape_for_terminal(event.value[:500])}"
        lines.append(f"    {told}")
    return lines


def _key(event: Event) -> bytes:
    return event["post_id"].encode()

"""Maps rows to events by a map that was checked before."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.files.yaml_documents import Place
from producers.event_lines import POST_SUFFIX, ParsedLine, dump
from producers.mapping.fields import Extract, compile_condition, compile_field
from producers.mapping.rules import EventRule, FieldRule, InputRule, MapFile, read_map_file
from schemas.events import InvalidEvent, parse_event

DERIVED_ID_BYTES: Final = 12

Mapped = ParsedLine | InvalidEvent


@dataclass(frozen=True)
class CompiledRule:
    """The functions of one event rule: its condition, one for each field of the event, and one for each label. `nulls`
    are the fields that are null in every event."""

    number: int
    holds: Callable[[Any], bool]
    fields: dict[str, Extract]
    labels: dict[str, Extract]
    nulls: tuple[str, ...]


class MapFlaw(ValueError):
    """A rule that cannot work: `place` leads to it in the file."""

    def __init__(self, place: Place, reason: object) -> None:
        super().__init__(f"{'.'.join(map(str, place))}: {reason}")
        self.place, self.reason = place, str(reason)


class EventMap:
    """A checked map. `input` says how the rows are read; `columns` are names that every table must have in its head."""

    def __init__(self, content: MapFile) -> None:
        """Compiles the rules. Raises MapFlaw."""
        self.input: InputRule = content.input
        self.columns: tuple[str, ...] = _needed_columns(content)
        constants = {name: FieldRule(value=value) for name, value in content.constants.items()}
        self._rules = [_compile(number, rule, constants) for number, rule in enumerate(content.events)]

    def map_row(self, row: Any) -> Iterator[Mapped]:
        """Yields an event or a flaw for each rule whose condition holds. Never raises."""
        for rule in self._rules:
            try:
                if not rule.holds(row):
                    continue
            except ValueError as error:
                yield InvalidEvent("when", str(error))
                continue
            try:
                yield _event(rule, row)
            except InvalidEvent as flaw:
                yield flaw


def load_map(path: Path) -> EventMap:
    """Reads a map and compiles it. Blocks on reading. Raises SettingsError that names file, line, field and
    cure."""
    document, content = read_map_file(path)
    try:
        return EventMap(content)
    except MapFlaw as flaw:
        raise document.error(flaw.place, flaw.reason) from None


def _needed_columns(content: MapFile) -> tuple[str, ...]:
    """Returns the columns without which the first rule gives no event: those of post_id and of occurred_at."""
    rules = (content.events[0].post_id, content.events[0].occurred_at)
    names = (rule.column or (rule.path if rule.path and rule.path.isidentifier() else None) for rule in rules)
    return tuple(dict.fromkeys(name for name in names if name is not None))


def _compile(number: int, rule: EventRule, constants: dict[str, FieldRule]) -> CompiledRule:
    place: Place = ("events", number)
    try:
        holds = compile_condition(rule.when)
    except ValueError as error:
        raise MapFlaw((*place, "when"), error) from None
    fields = {}
    for name, field in (constants | rule.fields()).items():
        try:
            fields[name] = compile_field(name, field)
        except ValueError as error:
            raise MapFlaw((*place, name), error) from None
    labels = {}
    for key, field in rule.labels.items():
        try:
            labels[key] = compile_field(f"labels.{key}", field)
        except ValueError as error:
            raise MapFlaw((*place, "labels", key), error) from None
    named = rule.fields().items()
    nulls = tuple(name for name, field in named if "value" in field.model_fields_set and field.value is None)
    return CompiledRule(number, holds, fields, labels, nulls)


def _event(rule: CompiledRule, row: Any) -> ParsedLine:
    event = dict.fromkeys(rule.nulls) | _values(rule.fields, row)
    if labels := _values(rule.labels, row, "labels."):
        event["labels"] = labels
    if "event_id" not in event and event.get("action") != "retract":
        event["event_id"] = _derived_id(rule.number, event, row)
    try:
        value = dump(event)
    except UnicodeEncodeError:
        raise InvalidEvent("", "holds half of a surrogate pair, which is no text; export the row as UTF-8") from None
    return ParsedLine(parse_event(value), value)


def _values(extracts: dict[str, Extract], row: Any, prefix: str = "") -> dict[str, Any]:
    """Returns the values of a row that are there. Raises InvalidEvent that names the field."""
    values = {}
    for name, extract in extracts.items():
        try:
            value = extract(row)
        except ValueError as error:
            raise InvalidEvent(prefix + name, str(error)) from None
        if value is not None:
            values[name] = value
    return values


def _derived_id(number: int, event: dict[str, Any], row: Any) -> str:
    """Returns an event_id for an event without one: a post's follows from the post, any other from the whole row, so
    that a second import sends the same event."""
    if event.get("kind") == "post" and "post_id" in event:
        return f"{event['post_id']}{POST_SUFFIX}"
    content = json.dumps([number, row], sort_keys=True, default=str, ensure_ascii=True)
    return f"row-{hashlib.blake2b(content.encode(), digest_size=DERIVED_ID_BYTES).hexdigest()}"

"""Webhooks of any shape, mapped to events by a YAML file, as `engagement import` maps rows."""

from collections.abc import Iterator

from pydantic_core import from_json

from pipeline.errors import SettingsError
from producers.collector.access.signatures import STANDARD
from producers.collector.mappers.hooks import HOOKS, HookSpec
from producers.collector.mappers.port import MappedItem, RequestFacts
from producers.collector.reading.items import split_items
from producers.mapping.mapper import EventMap, load_map
from producers.mapping.shipped import find_map
from schemas.events import InvalidEvent


class MappedHook:
    """Maps each JSON value of a body, one or several, by a map."""

    def __init__(self, event_map: EventMap) -> None:
        self._map = event_map

    def map(self, body: bytes, facts: RequestFacts) -> Iterator[MappedItem]:
        media_type = facts.headers.get("content-type", "").partition(";")[0].strip().lower()
        for number, raw in enumerate(split_items(body, media_type)):
            try:
                row = from_json(raw)
            except ValueError as error:
                yield MappedItem(raw, flaw=InvalidEvent("", f"Invalid JSON: {error}"), row=number)
                continue
            found = list(self._map.map_row(row))
            if not found:
                yield MappedItem(raw, row=number)
            for mapped in found:
                if isinstance(mapped, InvalidEvent):
                    yield MappedItem(raw, flaw=mapped, row=number)
                else:
                    yield MappedItem(raw, mapped.value, row=number)


def mapped_hook(option: str) -> tuple[str, HookSpec]:
    """Returns name and webhook of `NAME=MAP`, where MAP is a file or a shipped map. Blocks on reading.

    Raises SettingsError for an option, name or map that cannot work.
    """
    name, sign, source = option.partition("=")
    if not sign or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise SettingsError(f"--hook {option}: give NAME=MAP, with a name of letters, digits, - and _")
    if name in HOOKS:
        raise SettingsError(f"--hook {option}: {name} is a hook already; choose another name")
    hook = MappedHook(load_map(find_map(source)))
    return name, HookSpec(lambda _: hook, STANDARD, None, f"Webhooks, mapped to events by {source}")

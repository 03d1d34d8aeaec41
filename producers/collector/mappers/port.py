"""The port of a mapper: bytes and headers in, items out, each an event, a named error, or nothing that counts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pydantic_core import to_json

from schemas.events import InvalidEvent


@dataclass(frozen=True, slots=True)
class MappedItem:
    """An item of a request. `raw`: its bytes as they came; `value`: an event as JSON; `flaw`: why there is none.

    An item with neither counts as ignored: it says nothing about engagement. `row`: the place in the request, where it
    is not the number of the item because a row may give several.
    """

    raw: bytes
    value: bytes | None = None
    flaw: InvalidEvent | None = None
    row: int | None = None


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """Facts of a request beside its body. `headers`: by lower-case name; `received`: when the request came, in UTC."""

    headers: Mapping[str, str]
    received: datetime


class Mapper(Protocol):
    """Turns a body into items. Mappers are pure but for what they remember, and fast: they run on the event loop."""

    def map(self, body: bytes, facts: RequestFacts) -> Iterable[MappedItem]:
        """Returns the items of a body in order, lazily where items take long.

        Raises InvalidEvent, at once or in between, for a body that cannot be read at all.
        """
        ...


def event_item(raw: bytes, event: Mapping[str, Any]) -> MappedItem:
    """Returns an item for an event, without fields of None. Raises InvalidEvent for what is no Unicode."""
    try:
        return MappedItem(raw, to_json({name: value for name, value in event.items() if value is not None}))
    except ValueError:
        raise InvalidEvent("", "holds a lone surrogate; send text that is valid Unicode") from None

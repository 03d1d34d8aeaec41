"""A record that a simulation sends."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """`kind` decides the topic. `shift`: so many partitions beside the right one. `good`: it is an event."""

    kind: str
    key: bytes | None
    value: bytes | None
    shift: int = 0
    good: bool = True

    def with_(self, **changes: Any) -> "Record":
        """A spoilt copy."""
        return replace(self, good=False, **changes)

"""A record that a simulation sends."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A record on its way. `kind` decides the topic; `partition_shift`: so many partitions beside the right one."""

    kind: str
    key: bytes | None
    value: bytes | None
    partition_shift: int = 0
    is_event: bool = True

    def spoilt(self, **changes: Any) -> "SourceRecord":
        """A spoilt copy."""
        return replace(self, is_event=False, **changes)

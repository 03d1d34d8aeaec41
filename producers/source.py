"""The port of a source: a source yields items in the order of sending, and the send loop (sending.py) does the rest."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final, NamedTuple, final


class SourceRecord(NamedTuple):
    """A record to send. `kind` decides the topic.

    `occurred`: event time, for --speed. `goes_along`: sent right behind the record before, without a pace of its own.
    `partition_shift`: so many partitions beside the right one. `is_event`: False for a record spoilt on purpose.
    `place`: file and line, for a record that Kafka would not take.
    """

    kind: str
    key: bytes | None
    value: bytes | None
    occurred: datetime | None = None
    goes_along: bool = False
    partition_shift: int = 0
    is_event: bool = True
    place: str = ""

    def spoilt(self, **changes: Any) -> "SourceRecord":
        """Returns a spoilt copy."""
        return self._replace(is_event=False, **changes)


class BadInput(NamedTuple):
    """An input that is no event. `place`: file and line, or another name by which people find the input; `reason`: the
    field and its flaw. `value`: the raw bytes of an input that cannot be read again, to be kept as a dead letter;
    `field`: the dotted path of its flaw."""

    place: str
    reason: str
    value: bytes | None = None
    field: str = ""


@final
class Skipped:
    """An input that an earlier run has sent."""


SKIPPED: Final = Skipped()


@final
class Idle:
    """Nothing to send for now. A live source yields it about once a second, so that the loop can save positions."""


IDLE: Final = Idle()

SourceItem = SourceRecord | BadInput | Skipped | Idle


class Source(ABC):
    """A source of events. A resumable source also implements `save_position` and `forget_position`.

    `verb`: participle for the progress line. `is_resumable`: a later run can go on from a saved position. `is_live`:
    more comes after the end of a run, so its last position is saved, and a record above the size limit becomes a dead
    letter instead of ending the run.
    """

    verb: ClassVar[str] = "sent"
    is_live: ClassVar[bool] = False
    is_resumable: bool = False

    @abstractmethod
    def items(self) -> Iterator[SourceItem]:
        """Yields all items, from the saved position on: earlier inputs are SKIPPED. Raises Refused for an input that
        cannot be read."""

    @property
    def fraction(self) -> float | None:
        """The part of the input that was read, 0 to 1; None where the whole is not known."""
        return None

    @property
    def notes(self) -> Mapping[str, int]:
        """Counts of the source's own for the summary, by name; empty where the loop's counts say all."""
        return {}

    def save_position(self) -> None:
        """Saves the position behind the last item, all of whose records are acked. Raises Refused."""
        raise NotImplementedError(f"{type(self).__name__} is not resumable")

    def forget_position(self) -> None:
        """Removes the saved position, since all records are acked."""
        raise NotImplementedError(f"{type(self).__name__} is not resumable")

"""Ports of the conversation job. ClickHouse implements the stores (store.py); the fakes of the tests pass the same
contract tests.

Each call of a store blocks, and may raise pipeline.errors.Unavailable (worth another try: every call is idempotent) or
Refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from pipeline.dead_letters import DeadLetter
from pipeline.errors import Unavailable
from pipeline.observability.metrics import WorkerMetrics
from processors.columnar.arrays import Array
from processors.conversation.cells import CellArrays


class CellLog(Protocol):
    """The stored cells."""

    def sizes(self, partitions: Sequence[int], of: int, since: int) -> tuple[Array, Array]:
        """Returns the minutes from `since` on with cells of the given partitions, out of `of`, in order, and the number
        of cells of each minute, or a larger number."""
        ...

    def window(self, partitions: Sequence[int], of: int, since: int, until: int) -> Iterator[CellArrays]:
        """Reads the cells of these partitions with since <= minute < until, in blocks. A cell may come twice."""
        ...

    def of_panes(self, pane_keys: Sequence[tuple[str, int]]) -> Iterator[CellArrays]:
        """Reads the cells of these (conversation, minute), in blocks. A cell may come twice."""
        ...


class Closings(Protocol):
    """The closings of minutes."""

    def watermarks(self) -> Mapping[int, int]:
        """Reads the watermark of each source partition, in microseconds since 1970. Its owner stores it after the cells
        that it covers."""
        ...

    def floors(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Reads the first minute that is not closed, by partition of conversations. A partition without closings is
        missing."""
        ...

    def since(self, partitions: Sequence[int], of: int, minute: int, most: int) -> Mapping[tuple[str, int], int]:
        """Reads the counts at closing of the conversations of these partitions, out of `of`, from `minute` on; any
        `most` of them where there are more."""
        ...

    def counts(self, pane_keys: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Reads the counts at closing of the given (conversation, minute) as far as they are closed."""
        ...

    def close_missing(self, columns: Mapping[str, Sequence[Any] | Any]) -> int:
        """Stores rows of conversation_closed, column by column, except for each (conversation, minute) with a row. A
        row that exists stays as it is, also where it was written after the caller looked. Returns the number of rows
        that were stored, or fewer where the store does not say so."""
        ...


class MinuteRows(Protocol):
    """The store of rows. Rows can be read once the call that stores them has returned."""

    def upsert(self, table: str, columns: Mapping[str, Sequence[Any] | Any]) -> None:
        """Stores rows in a table of schemas/tables.py, column by column."""
        ...


class DayPart(NamedTuple):
    """The days from `first` on and before `end`, counted from 1970; of their conversations those behind `after`, up to
    `upto` and with it, in the order of their bytes. An empty text is no bound."""

    first: int
    end: int
    after: str = ""
    upto: str = ""
    is_empty: bool = False
    """Whether no minute of the days was stored."""


class DayStore(Protocol):
    """The store of days of conversations, which rolls them up from the stored minutes and cells. Days are counted from
    1970."""

    def rolled(self, partitions: Sequence[int], of: int) -> Mapping[int, int]:
        """Reads the first day that is not rolled up, by partition. A partition without a mark is missing, and so is one
        whose mark is of another number of partitions than `of`: other conversations belonged to it."""
        ...

    def day_sizes(self, partitions: Sequence[int], of: int, first: int, end: int) -> tuple[Array, Array]:
        """Returns the days with first <= day < end that have minutes of the given partitions, out of `of`, in order,
        and the number of these minutes of each day, or a larger number."""
        ...

    def day_bounds(self, partitions: Sequence[int], of: int, first: int, end: int, parts: int) -> list[str]:
        """Returns at most `parts` - 1 different conversations, in order, at which the minutes of such days are to be
        split into about equal parts."""
        ...

    def roll(self, partitions: Sequence[int], of: int, part: DayPart) -> None:
        """Stores the days of a part, of the conversations of these partitions, out of `of`. A day that retention has
        touched stays as it was stored first."""
        ...

    def roll_again(self, keys: Sequence[tuple[str, int]]) -> None:
        """Stores these days again, each a conversation and a day, unless retention has touched the day."""
        ...

    def mark(self, partitions: Sequence[int], of: int, until: int) -> None:
        """Stores that the days before `until` are rolled up in these partitions, out of `of`."""
        ...


class Audience(Protocol):
    """A listener to the counts of conversations, such as a detector. Its methods are called after the counts are
    stored, and must not block for long."""

    ahead_minutes: int
    """The number of open minutes after the closed ones whose counts the audience wants."""

    def on_closed(self, minute: int, conversations: Sequence[str], counts: Sequence[int]) -> None:
        """Receives the counts at closing of a minute, equal to the rows of `conversation_closed`. Minutes come in
        order. A conversation that is not named had no cell. After a crash a closed minute does not come again: the
        table has it."""
        ...

    def on_open(self, conversations: Sequence[str], minutes: Sequence[int], counts: Sequence[int]) -> None:
        """Receives the counts of open minutes after each change, and the counts of the next open minutes after each
        closing."""
        ...


@dataclass(frozen=True)
class ConversationPorts:
    """All that the conversation job reaches outside of itself.

    `write_dead_letters` blocks until the letters are safe, and raises Unavailable. `after_step` is called with each of
    CONVERSATION_STEPS once the step is done. `on_store` is called with the error each time that a store fails, and with
    None when the store answers again. `on_load(floors, of)` is called before the first call of the `audience`: the
    minutes before `floors` are closed, by partition, out of `of` partitions; it may block, and raise Unavailable.
    """

    log: CellLog
    closings: Closings
    rows: MinuteRows
    days: DayStore
    write_dead_letters: Callable[[Sequence[DeadLetter]], None]
    metrics: WorkerMetrics
    audience: Audience | None = None
    after_step: Callable[[str], None] = lambda step: None
    on_store: Callable[[Unavailable | None], None] = lambda error: None
    on_load: Callable[[Mapping[int, int], int], None] = lambda floors, of: None

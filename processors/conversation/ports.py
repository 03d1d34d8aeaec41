"""Ports of the conversation job. ClickHouse implements the stores (store.py); the fakes of the tests pass the same
contract tests.

Each call of a store blocks, and may raise pipeline.errors.Unavailable (worth another try: every call is idempotent) or
Refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.dead_letters import DeadLetter
from pipeline.errors import Unavailable
from pipeline.observability.metrics import WorkerMetrics
from processors.columnar.arrays import Array
from processors.conversation.cells import CellArrays


class CellLog(Protocol):
    """The cells that are stored."""

    def sizes(self, partitions: Sequence[int], of: int, since: int) -> tuple[Array, Array]:
        """The minutes from `since` on that have cells of conversations of these partitions out of `of`, in order, and
        how many each, not less than there are."""
        ...

    def window(self, partitions: Sequence[int], of: int, since: int, until: int) -> Iterator[CellArrays]:
        """The cells of these partitions with since <= minute < until, in blocks; some may come twice."""
        ...

    def of_panes(self, pane_keys: Sequence[tuple[str, int]]) -> Iterator[CellArrays]:
        """The cells of these (conversation, minute), in blocks; some may come twice."""
        ...


class Closings(Protocol):
    """What is closed."""

    def watermarks(self) -> Mapping[int, int]:
        """Source partition -> watermark, in microseconds, as its owner has stored it after its cells."""
        ...

    def floors(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Partition of conversations -> the first minute that is not closed; none where nothing was closed yet."""
        ...

    def since(self, partitions: Sequence[int], of: int, minute: int, most: int) -> Mapping[tuple[str, int], int]:
        """The counts at closing of the conversations of these partitions out of `of`, from `minute` on; any `most` of
        them where there are more."""
        ...

    def counts(self, pane_keys: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """The count at closing of those of these (conversation, minute) that are closed."""
        ...

    def close_missing(self, columns: Mapping[str, Sequence[Any] | Any]) -> int:
        """Stores rows of conversation_closed, column by column, but for those of a (conversation, minute) that is
        closed already: its row stays as it is, also where it was written after the caller looked. Returns how many rows
        were stored, or fewer where that is not known."""
        ...


class MinuteRows(Protocol):
    """Where rows go. What is stored when a call returns can be read."""

    def upsert(self, table: str, columns: Mapping[str, Sequence[Any] | Any]) -> None:
        """Rows into a table of schemas/tables.py, column by column."""
        ...


class Audience(Protocol):
    """Who looks at conversations as they go by: a detector. Called with what is stored; must not block for long."""

    ahead_minutes: int
    """So many open minutes beyond the closed ones are looked at."""

    def on_closed(self, minute: int, conversations: Sequence[str], counts: Sequence[int]) -> None:
        """`minute` is closed for these, with these counts as `conversation_closed` has them; minutes come in order,
        a conversation that is not named had no cell. After a crash it is not told again: what was closed is in the
        table."""
        ...

    def on_open(self, conversations: Sequence[str], minutes: Sequence[int], counts: Sequence[int]) -> None:
        """What open minutes of these came to: whenever that changes; of the next ones also when minutes have closed."""
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
    write_dead_letters: Callable[[Sequence[DeadLetter]], None]
    metrics: WorkerMetrics
    audience: Audience | None = None
    after_step: Callable[[str], None] = lambda step: None
    on_store: Callable[[Unavailable | None], None] = lambda error: None
    on_load: Callable[[Mapping[int, int], int], None] = lambda floors, of: None

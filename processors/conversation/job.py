"""The conversation job: takes a batch of cells and marks, stores what minutes come to, closes minutes. Knows nothing of
Faust, Kafka or ClickHouse.

The order of storing, which makes a crash between any two steps harmless:

    1. dead letters; conversation_minutes of what was touched, as absolute as the cells known of it
    2. of minutes that close: conversation_minutes as final, conversation_closed (only where there is none: once)
    3. conversation_marks: until where minutes are closed
    4. the commit of the batch, by whoever called `process`

State is a cache of `conversation_posts`, which the engagement agent writes before it sends a cell: memory holds minutes
from the floor (closed until there) up to a ceiling; what comes for other minutes is read through and not kept.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.partitioning import partitions_of
from processors.conversation.cells import Cells, Minutes
from processors.conversation.closed import ClosedOnce
from processors.conversation.decoding import decode
from processors.conversation.fold import ConversationFold
from processors.conversation.ports import Audience, ConversationPorts
from processors.conversation.rows import by_minute, minute_columns, open_columns
from processors.engagement.watermarks.watermarks import MINUTE_US
from processors.runtime.records import Run
from processors.runtime.retry import GivenUp, Patience, WaitPolicy
from schemas.conversations import Mark
from schemas.tables import CONVERSATION_MARKS, CONVERSATION_MINUTES

CONVERSATION_STEPS: Final = ("minutes", "final", "closed", "marks")
"""What is stored, in order; the middle two only where minutes close."""

NEVER: Final = 1 << 40
"""A ceiling above every minute."""

CELL_BYTES: Final = 150
"""What a cell takes at least ..."""

CELLS_WEIGHED: Final = 4096
"""... and how many of them it takes to say what one does: tables have some room from the start."""

SPOTS_AT_ONCE: Final = 20_000
ROWS_AT_ONCE: Final = 200_000


@dataclass(frozen=True)
class ConversationPolicy:
    """`open_cells` and `memory_bytes`: beyond either closed minutes leave memory, then the latest open ones, until
    `keep_share` of it is left."""

    open_cells: int = 2_000_000
    memory_bytes: int = 384 << 20
    keep_share: float = 0.5
    waits: WaitPolicy = field(default_factory=WaitPolicy)


class ConversationJob:
    """Everything about the conversations of some partitions. Not thread-safe: one thread calls it."""

    def __init__(self, ports: ConversationPorts, policy: ConversationPolicy | None = None) -> None:
        self._log, self._closings, self._rows = ports.log, ports.closings, ports.rows
        self._write_dead_letters, self._after_step = ports.write_dead_letters, ports.after_step
        self._metrics, self._policy = ports.metrics, policy or ConversationPolicy()
        self._audience, self._on_load = ports.audience, ports.on_load
        self._patiently = Patience(self._policy.waits, ports.on_store)
        self._records = self._buried = 0
        self.assign((), 1)

    def assign(self, partitions: Iterable[int], of: int) -> None:
        """These partitions, out of `of`, are ours from now on: everything in memory goes, and is read again when the
        first batch comes. There are as many source partitions."""
        self._partitions, self._of = tuple(sorted(partitions)), of
        self.fold = ConversationFold()
        self._floors: dict[int, int] | None = None
        self._ceiling = 0
        self._watermarks: dict[int, dict[int, int]] = {partition: {} for partition in self._partitions}
        """Partition of conversations -> source partition -> watermark, in microseconds, as read in that partition."""
        self._loaded: dict[int, int] = {}
        self._kept = 0
        self._weight = CELL_BYTES
        self._shown: int | None = None
        self._closed = ClosedOnce(self._closings, self._patiently)

    def process(self, runs: Sequence[Run], given_up: Event, now: Callable[[], float]) -> bool:
        """Folds and stores a batch, which may be empty: True once all of it is stored and every minute is closed that
        can be, False when `given_up` was set before that. Blocks, and waits for a store that is away. `now` is Unix
        time in seconds. Raises what is not worth another try."""
        if not self._partitions:
            return True
        self._patiently.given_up = given_up
        self._now = now
        self._closed.check_in(now())
        try:
            self._load()
            self._closed.check_in(now())
            self._take(runs)
            self._close(now)
        except GivenUp:
            # What is in memory stays: it is stored as cells already, and the batch touches it again when it comes.
            return False
        if self._audience is not None and self.closed_until != self._shown:
            self._show_next(self._audience)
        self._tell(now())
        return True

    @property
    def judged(self) -> tuple[int, int]:
        """Records that were judged so far, and those of them that were dead."""
        return self._records, self._buried

    @property
    def closed_until(self) -> int | None:
        """Every earlier minute of ours is closed; None before anything is known of it."""
        return min(self._floors.values()) if self._floors else None

    def _load(self) -> None:
        """Reads the stored watermarks first: every cell that was sent before them is among the stored cells that are
        read after, so they count in all of our partitions."""
        if self._floors is not None:
            return
        self.fold = ConversationFold()
        stored = self._patiently(self._closings.watermarks)
        self._watermarks = {partition: dict(stored) for partition in self._partitions}
        found = self._patiently(lambda: self._closings.floors(self._partitions))
        floors = {partition: found.get(partition, 0) for partition in self._partitions}
        self._loaded = dict(floors)
        self._ceiling = min(floors.values())
        self._raise_ceiling(floors)
        self._closed.load(self._partitions, self._of, min(floors.values()))
        self._patiently(lambda: self._on_load(floors, self._of))
        self._floors = floors

    def _raise_ceiling(self, floors: dict[int, int]) -> None:
        """Reads the cells of the next minutes, as many as there is room for, of one minute at least."""
        since = self._ceiling
        minutes, sizes = self._patiently(lambda: self._log.sizes(self._partitions, self._of, since))
        fits = max(1, int(np.searchsorted(np.cumsum(sizes), self._room, side="right")))
        until = int(minutes[fits]) if fits < len(minutes) else NEVER
        if len(minutes):
            end = min(until, int(minutes[-1]) + 1)
            self._patiently(lambda: self._read_window(int(minutes[0]), end, floors))
        self._ceiling = until

    def _read_window(self, since: int, until: int, floors: dict[int, int]) -> None:
        """Takes the cells of these minutes as they come. Half of them, and all of them again, are as good as once."""
        for cells in self._log.window(self._partitions, self._of, since, until):
            self.fold.take(cells.where(cells.minute >= self._of_owner(floors, cells.names[cells.conversation])))

    @property
    def memory(self) -> tuple[int, int]:
        """Bytes that the cells in memory take, and those of counts at closing."""
        return self.fold.bytes, self._closed.bytes

    @property
    def _most(self) -> int:
        """Cells that there is room for, as large as those are that were last weighed."""
        if len(self.fold) >= CELLS_WEIGHED:
            self._weight = max(CELL_BYTES, self.fold.bytes // len(self.fold))
        return max(1, min(self._policy.open_cells, self._policy.memory_bytes // self._weight))

    @property
    def _room(self) -> int:
        return max(1, int(self._most * self._policy.keep_share))

    def _take(self, runs: Sequence[Run]) -> None:
        """Step 1."""
        with self._metrics.time_step("conversations_decode"):
            decoded = decode(runs, self._of)
        self._records += decoded.records
        self._buried += len(decoded.dead)
        if decoded.dead:
            self._patiently(lambda: self._write_dead_letters(decoded.dead))
            self._metrics.count_cells("dead", len(decoded.dead))
            self._metrics.count_dead_letters("conversations", len(decoded.dead))
        for partition, mark in decoded.marks:
            self._note(partition, mark)
        cells = decoded.cells
        floors = self._floors or {}
        late = cells.minute < _by_partition(floors, decoded.partitions)
        since = np.maximum(_by_partition(self._loaded, decoded.partitions), self._kept)
        apart = (cells.minute < since) | (cells.minute >= self._ceiling)
        self._metrics.count_cells("late", int(late.sum()))
        self._metrics.count_cells("cold", int((apart & ~late).sum()))
        until = self._closable or 0
        with self._metrics.time_step("conversations_fold"):
            taken = self.fold.take(cells.where(~apart) if apart.any() else cells)
            self._renew(taken.groups)
            minutes = self.fold.add_up(taken.groups)
        self._metrics.count_cells("new", taken.new)
        self._metrics.count_cells("duplicate", taken.duplicate)
        with self._metrics.time_step("conversations_store"):
            final = minutes.minute < self._of_owner(floors, minutes.conversation)
            self._store(minutes, final, final=True)
            # What closes now is stored as final, in a moment.
            self._store(minutes, ~final & (minutes.minute >= until), final=False)
            if apart.any():
                self._read_through(cells.where(apart), late[apart])
        self._after_step("minutes")
        if self._audience is not None and len(minutes):
            self._audience.on_open(*open_columns(minutes.where(~final & (minutes.minute >= until))))
        if len(self.fold) > self._most:
            self._forget(self._room)
        if len(self.fold) > self._most:
            self._lower_ceiling()

    def _renew(self, groups: Array) -> None:
        """Reads those of these groups again that hold cells of an older fold version (see `ConversationFold.outdated`).
        Costs nothing once `engagement recount` has moved the database over."""
        spots = self.fold.spots(self.fold.outdated(groups))
        for start in range(0, len(spots), SPOTS_AT_ONCE):
            wanted = spots[start : start + SPOTS_AT_ONCE]
            for stored in self._patiently(lambda wanted=wanted: list(self._log.of_spots(wanted))):  # type: ignore[misc]
                self.fold.take(stored)

    def _read_through(self, cells: Cells, late: Array) -> None:
        """Minutes that are not in memory, closed ones and such as there was no room for."""
        named = cells.spots
        spots = dict(zip(named, late.tolist(), strict=True))
        listed = list(spots)
        for start in range(0, len(listed), SPOTS_AT_ONCE):
            wanted = listed[start : start + SPOTS_AT_ONCE]
            some = set(wanted)
            fold = ConversationFold()
            self._patiently(lambda wanted=wanted, fold=fold: _read_into(fold, self._log.of_spots(wanted)))  # type: ignore[misc]
            chosen = [spot in some for spot in named]
            groups = fold.take(cells.where(np.array(chosen, np.bool_))).groups
            minutes = fold.add_up(groups)
            final = np.array(
                [spots[spot] for spot in zip(minutes.conversation, minutes.minute.tolist(), strict=True)], np.bool_
            )
            self._store(minutes, final, final=True)
            self._store(minutes, ~final, final=False)

    def _close(self, now: Callable[[], float]) -> None:
        """Steps 2 and 3, until the least watermark; what is beyond the ceiling is read on the way."""
        assert self._floors is not None
        until = self._closable
        if until is None or min(self._floors.values()) >= until:
            return
        while True:
            stop = min(until, self._ceiling)
            self._close_until(stop, self._floors, now)
            if stop == until:
                return
            self._raise_ceiling(self._floors)

    def _close_until(self, stop: int, floors: dict[int, int], now: Callable[[], float]) -> None:
        closing = self.fold.between(min(floors.values()), stop)
        self._renew(closing)
        minutes = self.fold.add_up(closing)
        minutes = minutes.where(minutes.minute >= self._of_owner(floors, minutes.conversation))
        with self._metrics.time_step("conversations_store"):
            self._store(minutes, np.ones(len(minutes), np.bool_), final=True)
            self._after_step("final")
            counts = self._closed.write(minutes, now)
            self._after_step("closed")
            marks = {"partition": list(floors), "closed_until": [max(floor, stop) * 60 for floor in floors.values()]}
            self._patiently(lambda: self._rows.upsert(CONVERSATION_MARKS.name, marks))
            self._after_step("marks")
        for partition, floor in floors.items():
            floors[partition] = max(floor, stop)
        self._forget(self._room)
        self._closed.forget(stop)
        self._metrics.count_closed(len(minutes))
        if self._audience is not None:
            for minute, names, values in by_minute(minutes, counts):
                self._audience.on_closed(minute, names, values)

    def _show_next(self, audience: Audience) -> None:
        """What the minutes that come next have come to: nothing could be said of them while those before were open."""
        floors = self._floors or {}
        first = self._shown = min(floors.values())
        minutes = self.fold.add_up(self.fold.between(first, first + audience.ahead_minutes))
        audience.on_open(*open_columns(minutes.where(minutes.minute >= self._of_owner(floors, minutes.conversation))))

    def _forget(self, most: int) -> None:
        """The oldest closed minutes leave memory where there are more than `most` cells. They are kept that long for
        what comes late, and for what a new owner has read from the log before its message came."""
        if len(self.fold) > most:
            self._kept = max(self._kept, min(self.fold.minute_within(most), *(self._floors or {0: 0}).values()))
            self.fold.drop(self.fold.between(0, self._kept))

    def _of_owner(self, values: Mapping[int, int], conversations: Array) -> Array:
        """The value of the partition of each conversation."""
        first = min(values.values(), default=0)
        if all(value == first for value in values.values()):
            return np.full(len(conversations), first, np.int64)
        return _by_partition(values, partitions_of(conversations.tolist(), self._of))

    def _lower_ceiling(self) -> None:
        """The latest open minutes leave memory; they are in conversation_posts, and read when they are due."""
        minute = self.fold.minute_beyond(self._room)
        gone = self.fold.since(minute)
        if len(gone):
            self.fold.drop(gone)
            self._ceiling = min(self._ceiling, minute)

    def _store(self, minutes: Minutes, mask: Array, final: bool) -> None:
        for start in range(0, len(minutes), ROWS_AT_ONCE):
            part = np.zeros(len(minutes), np.bool_)
            part[start : start + ROWS_AT_ONCE] = mask[start : start + ROWS_AT_ONCE]
            if part.any():
                columns = minute_columns(minutes, part, final)
                self._patiently(lambda columns=columns: self._rows.upsert(CONVERSATION_MINUTES.name, columns))  # type: ignore[misc]
                self._closed.check_in(self._now())

    def _note(self, partition: int, mark: Mark) -> None:
        """Moves a source's watermark on in the partition in which the mark was read, and only there: the cells that the
        mark covers lie before it in each partition, and those of the others may not have been read yet (law 8)."""
        watermarks, source = self._watermarks.setdefault(partition, {}), mark["partition"]
        watermarks[source] = max(watermarks.get(source, 0), mark["watermark"])

    @property
    def _watermark(self) -> int | None:
        """The least watermark of all sources in all our partitions, in microseconds; None while one is not known."""
        if any(len(self._watermarks[partition]) < self._of for partition in self._partitions):
            return None
        return min(min(self._watermarks[partition].values()) for partition in self._partitions)

    @property
    def _closable(self) -> int | None:
        """The first minute that the least watermark has not passed; None while a source partition has none."""
        watermark = self._watermark
        return None if watermark is None else watermark // MINUTE_US

    def _tell(self, now: float) -> None:
        watermark = self._watermark
        age = float("nan") if watermark is None else now - watermark / 1e6
        self._metrics.set_conversations(len(self.fold), self.fold.minutes, age)


def _read_into(fold: ConversationFold, stored: Iterable[Cells]) -> None:
    for cells in stored:
        fold.take(cells)


def _by_partition(values: Mapping[int, int], partitions: Array) -> Array:
    """The value of each partition; 0 where it has none."""
    table = np.zeros(max([*values, int(partitions.max(initial=0))], default=0) + 1, np.int64)
    for partition, value in values.items():
        table[partition] = value
    return table[partitions]

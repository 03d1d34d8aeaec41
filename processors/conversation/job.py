"""The conversation job: folds batches of cells and marks, stores minutes of conversations, and closes them. The job
knows nothing of Faust, Kafka or ClickHouse.

The order of storing makes a crash between any two steps harmless:

    1. dead letters; rows of conversation_minutes for the touched panes, as absolute as the known cells of each
    2. of closing minutes: conversation_minutes as final; conversation_closed, once, where there is no row yet
    3. conversation_marks: until which minute all is closed
    4. conversation_days: days that are closed, and again those of late cells; then conversation_day_marks (days/)
    5. the commit of the batch, by the caller of `process`

State is a cache of `conversation_posts`, which the engagement agent writes before it sends a cell. Memory holds the
minutes from the floor (all before it are closed) up to a ceiling. Cells of other minutes are read through, not kept.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Event
from typing import Final

import numpy as np

from pipeline.privacy.erased_hashes import NOTHING_ERASED
from processors.columnar.arrays import Array
from processors.conversation.cells import CellArrays, Minutes
from processors.conversation.closing.closed import ClosedOnce
from processors.conversation.closing.closing import MinuteWriter
from processors.conversation.closing.floors import floors_of_conversations, floors_of_partitions
from processors.conversation.closing.watermarks import ReadWatermarks
from processors.conversation.days.rolling import DayRolling
from processors.conversation.decoding import DecodedCells, decode_cells
from processors.conversation.fold import ConversationFold
from processors.conversation.policy import ConversationPolicy
from processors.conversation.ports import Audience, ConversationPorts
from processors.conversation.rows import by_minute, open_columns
from processors.runtime.records import Run
from processors.runtime.retry import GivenUp, StoreRetry

NO_CEILING: Final = 1 << 40  # above every minute

CELL_BYTES: Final = 150
"""The least memory of a cell."""

CELLS_WEIGHED: Final = 4096
"""The number of cells from which on their mean memory is measured: smaller tables are mostly spare room."""

PANES_AT_ONCE: Final = 20_000  # that one query reads


class ConversationJob:
    """The conversations of some partitions, from records to closed minutes. Not thread-safe: one thread calls it."""

    def __init__(self, ports: ConversationPorts, policy: ConversationPolicy | None = None) -> None:
        self._ports, self._policy = ports, policy or ConversationPolicy()
        self._log, self._closings, self._audience = ports.log, ports.closings, ports.audience
        self._write_dead_letters, self._metrics = ports.write_dead_letters, ports.metrics
        self._retry = StoreRetry(self._policy.waits, ports.on_store)
        self._days = DayRolling(ports.days, self._retry, self._policy.rolled_at_once, ports.after_step)
        self._judged_records = self._dead_records = 0
        self.erased = NOTHING_ERASED
        self.assign((), 1)

    def assign(self, partitions: Iterable[int], of: int) -> None:
        """Makes these partitions, out of `of` as of the sources, the job's own. Empties memory until a batch comes."""
        self._partitions, self._of = tuple(sorted(partitions)), of
        self.fold = ConversationFold()
        self._floors: dict[int, int] | None = None
        self._ceiling = 0
        self._watermarks = ReadWatermarks(self._partitions, of)
        self._loaded: dict[int, int] = {}  # the floors at the time of loading
        self._forgotten_until = 0  # earlier minutes have left memory
        self._cell_bytes = CELL_BYTES
        self._shown: int | None = None
        self._told: dict[int, int] | None = None  # the floors up to which the audience knows of every minute
        self._closed = ClosedOnce(self._closings, self._retry)
        self._days.assign(self._partitions, of)
        self._writer = MinuteWriter(self._ports, self._retry, self._closed)
        self._metrics.set_conversations(0, 0, float("nan"))  # an owner of nothing shows no age

    def read_again(self) -> None:
        """Empties the memory of cells and minutes, which other hands have changed. The watermarks that were read stay,
        and what the audience knows, unless minutes were closed of which it was not told: the last batch was given up,
        or another owner went on."""
        told, watermarks = self._told, self._watermarks
        self.assign(self._partitions, self._of)
        self._told, self._watermarks = told, watermarks

    def process(self, runs: Sequence[Run], given_up: Event, now: Callable[[], float]) -> bool:
        """Folds and stores a batch, which may be empty. Returns True once all of the batch is stored and every minute
        is closed that can be, False when `given_up` was set before. Blocks, and waits for a store that is away. `now`
        returns Unix time in seconds. Raises errors that another try does not mend."""
        if not self._partitions:
            return True
        self._retry.given_up = given_up
        self._now = now
        self._closed.check_in(now())
        try:
            self._load()
            self._closed.check_in(now())
            self._told = None
            self._store_minutes(self._decode(runs))
            self._close()
            self._told = dict(self._floors or {})
            self._days.advance(self.closed_until or 0)
        except GivenUp:
            # The memory stays: all of it is stored as cells, and the batch touches the same panes when it comes again.
            return False
        if self._audience is not None and self.closed_until != self._shown:
            self._show_next(self._audience)
        watermark = self._watermarks.least
        age = float("nan") if watermark is None else now() - watermark / 1e6
        self._metrics.set_conversations(len(self.fold), self.fold.minutes, age)
        return True

    @property
    def judged(self) -> tuple[int, int]:
        """The number of records judged so far, and the number of dead letters among the records."""
        return self._judged_records, self._dead_records

    @property
    def closed_until(self) -> int | None:
        """The minute before which all owned minutes are closed; None before the first batch."""
        return min(self._floors.values()) if self._floors else None

    @property
    def memory(self) -> tuple[int, int]:
        """The memory of the cells and that of the counts at closing, in bytes."""
        return self.fold.bytes, self._closed.bytes

    def _load(self) -> None:
        """Reads the state of an assignment from the stores. The watermarks are read first: the stored cells, read after
        them, include every cell that was sent before them, so the watermarks count in all partitions."""
        if self._floors is not None:
            return
        self.fold = ConversationFold()
        self._watermarks.note_stored(self._retry(self._closings.watermarks))
        known = self._retry(lambda: self._closings.floors(self._partitions))
        floors = {partition: known.get(partition, 0) for partition in self._partitions}
        self._loaded = dict(floors)
        self._ceiling = min(floors.values())
        self._raise_ceiling(floors)
        self._closed.load(self._partitions, self._of, min(floors.values()))
        self._days.load()
        if floors != self._told:
            self._retry(lambda: self._ports.on_load(floors, self._of))
        self._floors = floors

    def _raise_ceiling(self, floors: dict[int, int]) -> None:
        """Reads the cells of the next minutes: as many minutes as there is room for, and one at least."""
        since = self._ceiling
        minutes, sizes = self._retry(lambda: self._log.sizes(self._partitions, self._of, since))
        fits = max(1, int(np.searchsorted(np.cumsum(sizes), self._room, side="right")))
        until = int(minutes[fits]) if fits < len(minutes) else NO_CEILING
        if len(minutes):
            end = min(until, int(minutes[-1]) + 1)
            self._retry(lambda: self._read_window(int(minutes[0]), end, floors))
        self._ceiling = until

    def _read_window(self, since: int, until: int, floors: dict[int, int]) -> None:
        """Adds the stored cells of these minutes. To add some cells, and then all of them again, does no harm."""
        for cells in self._log.window(self._partitions, self._of, since, until):
            first = floors_of_conversations(floors, cells.names[cells.conversation], self._of)
            self.fold.add_cells(cells.where(cells.minute >= first))

    @property
    def _most_cells(self) -> int:
        """The number of cells that memory has room for, at their mean size when last measured."""
        if len(self.fold) >= CELLS_WEIGHED:
            self._cell_bytes = max(CELL_BYTES, self.fold.bytes // len(self.fold))
        return max(1, min(self._policy.open_cells, self._policy.memory_bytes // self._cell_bytes))

    @property
    def _room(self) -> int:
        return max(1, int(self._most_cells * self._policy.keep_share))

    def _decode(self, runs: Sequence[Run]) -> DecodedCells:
        """Decodes records, writes dead letters and notes watermarks."""
        with self._metrics.time_step("conversations_decode"):
            decoded = decode_cells(runs, self._of, self.erased)
        self._judged_records += decoded.records
        self._dead_records += len(decoded.dead)
        if decoded.dead:
            self._retry(lambda: self._write_dead_letters(decoded.dead))
            self._metrics.count_cells("dead", len(decoded.dead))
            self._metrics.count_dead_letters("conversations", len(decoded.dead))
        for partition, mark in decoded.marks:
            self._watermarks.note(partition, mark)
        return decoded

    def _store_minutes(self, decoded: DecodedCells) -> None:
        """Folds cells and does step 1 for the touched panes."""
        cells, floors = decoded.cells, self._floors or {}
        is_late = cells.minute < floors_of_partitions(floors, decoded.partitions)
        since = np.maximum(floors_of_partitions(self._loaded, decoded.partitions), self._forgotten_until)
        is_cold = (cells.minute < since) | (cells.minute >= self._ceiling)
        self._metrics.count_cells("late", int(is_late.sum()))
        self._metrics.count_cells("cold", int((is_cold & ~is_late).sum()))
        until = self._watermarks.open_from or 0
        with self._metrics.time_step("conversations_fold"):
            added = self.fold.add_cells(cells.where(~is_cold) if is_cold.any() else cells)
            self._renew(added.groups)
            minutes = self.fold.add_up(added.groups)
        self._metrics.count_cells("new", added.new)
        self._metrics.count_cells("duplicate", added.duplicate)
        with self._metrics.time_step("conversations_store"):
            is_final = minutes.minute < floors_of_conversations(floors, minutes.conversation, self._of)
            self._writer.write(minutes, is_final, True, self._now)
            # Minutes that are about to be closed are stored as final then.
            self._writer.write(minutes, ~is_final & (minutes.minute >= until), False, self._now)
            if is_cold.any():
                self._store_cold_minutes(cells.where(is_cold), is_late[is_cold])
        self._ports.after_step("minutes")
        self._days.roll_late(cells, decoded.partitions)
        if self._audience is not None and len(minutes):
            self._audience.on_open(*open_columns(minutes.where(~is_final & (minutes.minute >= until))))
        if len(self.fold) > self._most_cells:
            self._forget(self._room)
        if len(self.fold) > self._most_cells:
            self._lower_ceiling()

    def _renew(self, groups: Array) -> None:
        """Reads groups with cells of an older fold version again (see `ConversationFold.outdated`). Costs nothing once
        `engagement recount` has written all cells anew."""
        pane_keys = self.fold.pane_keys(self.fold.outdated(groups))
        for start in range(0, len(pane_keys), PANES_AT_ONCE):
            wanted = pane_keys[start : start + PANES_AT_ONCE]
            for cells in self._retry(lambda wanted=wanted: list(self._log.of_panes(wanted))):  # type: ignore[misc]
                self.fold.add_cells(cells)

    def _store_cold_minutes(self, cells: CellArrays, is_late: Array) -> None:
        """Stores the panes of cells whose panes are not in memory, after reading the panes through. `is_late`: whether
        the minute of a cell is closed."""
        pane_keys = cells.pane_keys
        is_closed = dict(zip(pane_keys, is_late.tolist(), strict=True))
        distinct = list(is_closed)
        for start in range(0, len(distinct), PANES_AT_ONCE):
            wanted = distinct[start : start + PANES_AT_ONCE]
            fold = ConversationFold()
            self._retry(lambda wanted=wanted, fold=fold: fold.add_blocks(self._log.of_panes(wanted)))  # type: ignore[misc]
            chosen = set(wanted)
            mask = np.array([pane_key in chosen for pane_key in pane_keys], np.bool_)
            minutes = fold.add_up(fold.add_cells(cells.where(mask)).groups)
            is_final = np.array([is_closed[pane_key] for pane_key in minutes.pane_keys], np.bool_)
            self._writer.write(minutes, is_final, True, self._now)
            self._writer.write(minutes, ~is_final, False, self._now)

    def _close(self) -> None:
        """Closes all minutes before the least watermark. Minutes beyond the ceiling are read on the way."""
        assert self._floors is not None
        until = self._watermarks.open_from
        if until is None or min(self._floors.values()) >= until:
            return
        while True:
            stop = min(until, self._ceiling)
            self._close_until(stop, self._floors)
            if stop == until:
                return
            self._raise_ceiling(self._floors)

    def _close_until(self, stop: int, floors: dict[int, int]) -> None:
        """Does steps 2 and 3 for the minutes before `stop`, and tells the audience."""
        closing = self.fold.between(min(floors.values()), stop)
        self._renew(closing)
        minutes = self._open_minutes(closing, floors)
        with self._metrics.time_step("conversations_store"):
            counts = self._writer.close(minutes, floors, stop, self._now)
        self._forget(self._room)
        self._metrics.count_closed(len(minutes))
        if self._audience is not None:
            for minute, names, values in by_minute(minutes, counts):
                self._audience.on_closed(minute, names, values)

    def _open_minutes(self, groups: Array, floors: Mapping[int, int]) -> Minutes:
        """Adds up the groups whose minutes are not closed."""
        minutes = self.fold.add_up(groups)
        return minutes.where(minutes.minute >= floors_of_conversations(floors, minutes.conversation, self._of))

    def _show_next(self, audience: Audience) -> None:
        """Tells the audience the counts of the next open minutes, after the minutes before have been closed."""
        floors = self._floors or {}
        first = self._shown = min(floors.values())
        groups = self.fold.between(first, first + audience.ahead_minutes)
        audience.on_open(*open_columns(self._open_minutes(groups, floors)))

    def _forget(self, most: int) -> None:
        """Drops the oldest closed minutes while memory holds more than `most` cells. Until then they serve late cells,
        and cells that a new owner has read from the store before their message came."""
        if len(self.fold) > most:
            closed_until = min((self._floors or {0: 0}).values())
            self._forgotten_until = max(self._forgotten_until, min(self.fold.minute_within(most), closed_until))
            self.fold.drop(self.fold.between(0, self._forgotten_until))

    def _lower_ceiling(self) -> None:
        """Drops the latest open minutes. They are in conversation_posts, and are read when they are due."""
        minute = self.fold.minute_beyond(self._room)
        if len(gone := self.fold.since(minute)):
            self.fold.drop(gone)
            self._ceiling = min(self._ceiling, minute)

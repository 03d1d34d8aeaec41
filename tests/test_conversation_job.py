"""The conversation job under random schedules: crashes between any two steps, zombies, outages, late cells, no room.

A model of the topic, its commits and its owners, around real jobs on fakes. A worker owns several partitions and reads
them in any interleaving; it may be cut off between any two calls, while another takes over, and come back last of all.
Each schedule ends with every minute equal to the truth, closed once with all that was sent before the watermarks that
closed it, and final where it is closed.

    SCHEDULES=20000 pytest tests/test_conversation_job.py -k schedule      # more than a test run has time for
"""

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from threading import Event
from typing import Any

import numpy as np
import pytest
from pydantic_core import to_json

from pipeline.dead_letters import DeadLetter
from pipeline.errors import Refused, Unavailable
from pipeline.observability.metrics import WorkerMetrics
from processors.columnar.partitioning import partitions_of
from processors.conversation.closing import closed
from processors.conversation.fold import ConversationFold
from processors.conversation.job import ConversationJob
from processors.conversation.policy import ConversationPolicy
from processors.conversation.ports import ConversationPorts
from processors.conversation.rows import minute_columns
from processors.runtime.records import Run
from processors.runtime.retry import GivenUp, WaitPolicy
from schemas.conversations import CONVERSATION_RUN
from schemas.metrics import FOLD_VERSION, MINUTE_US
from tests.cut_off import Crash, CutOffStep, run_schedules
from tests.fakes_conversations import Cell, FakeConversations, PaneKey, Shelf, columns_of, day_of
from tests.fakes_store import Faults
from tests.test_conversation_fold import filled, truth_of

OF = 2
TOPIC = "engagement.conversations"
NAMES = ("hashtag:a", "hashtag:b", "author:x/1", "thread:p", "brand:acme")
OWNER = dict(zip(NAMES, partitions_of(NAMES, OF).tolist(), strict=True))
NOW = 1_790_000_000.0
METRICS = WorkerMetrics()
NO_WAIT = WaitPolicy(0.0, 0.0)


@dataclass(frozen=True)
class Record:
    offset: int
    value: bytes | None
    key: bytes | None = None
    timestamp: int = 1_790_000_000_000


class Ear:
    """Remembers what it is told."""

    ahead_minutes = 5

    def __init__(self) -> None:
        self.closed: list[tuple[int, list[str], list[int]]] = []
        self.open: dict[PaneKey, int] = {}
        self.loaded: list[dict[int, int]] = []
        self.heard = set[PaneKey]()

    def load(self, floors: Mapping[int, int], of: int) -> None:
        """Forgets what was heard: all before the floors is read from the store."""
        assert of == OF
        self.loaded.append(dict(floors))
        self.heard.clear()

    def on_closed(self, minute: int, conversations: Sequence[str], counts: Sequence[int]) -> None:
        self.closed.append((minute, list(conversations), list(counts)))
        self.heard |= {(conversation, minute) for conversation in conversations}

    def on_open(self, conversations: Sequence[str], minutes: Sequence[int], counts: Sequence[int]) -> None:
        self.open |= dict(zip(zip(conversations, minutes, strict=True), counts, strict=True))


class Bench:
    """A job with all partitions on a shelf, and what it did."""

    def __init__(self, shelf: Shelf | None = None, faults: Faults | None = None, **policy: Any) -> None:
        self.shelf, self.letters, self.ear = shelf or Shelf(), list[DeadLetter](), Ear()
        self.store = FakeConversations(self.shelf, faults)
        self.metrics, self.did, self.given_up = WorkerMetrics(), list[str](), Event()
        store, letters, self.after_step = self.store, self.letters, self.did.append
        ports = ConversationPorts(
            store, store, store, store, letters.extend, self.metrics, self.ear, self._after_step, on_load=self.ear.load
        )
        self.job = ConversationJob(ports, ConversationPolicy(waits=NO_WAIT, **policy))
        self.job.assign(range(OF), OF)

    def _after_step(self, step: str) -> None:
        self.after_step(step)

    def send(self, *cells: Cell) -> bool:
        """As the engagement agent does: rows first, then records."""
        for cell in cells:
            self.shelf.put(cell)
        return self.take(*runs_of(cells))

    def mark(self, *minutes: float) -> bool:
        """A watermark for each source partition, in every partition of conversations, as they are sent."""
        return self.take(*(run(place, record(marks=dict(enumerate(minutes)))) for place in range(OF)))

    def take(self, *runs: Run) -> bool:
        return self.job.process(runs, self.given_up, lambda: NOW)

    @property
    def closed(self) -> dict[PaneKey, int]:
        found = dict(self.shelf.closings)
        assert len(found) == len(self.shelf.closings), "written twice"
        return found


def record(cells: Sequence[Cell] = (), marks: dict[int, float] | None = None, offset: int = 0) -> Record:
    said = {
        "cells": columns_of(cells) if cells else None,
        "marks": [
            {"partition": number, "watermark": int(minute * MINUTE_US), "idle": False}
            for number, minute in (marks or {}).items()
        ],
    }
    return Record(offset, to_json(said, bytes_mode="base64"))


def run(partition: int, *records: Record) -> Run:
    return Run(TOPIC, "conversations", partition, records)


def runs_of(cells: Sequence[Cell]) -> list[Run]:
    return [
        run(partition, record(own))
        for partition in range(OF)
        if (own := [cell for cell in cells if OWNER[cell.conversation] == partition])
    ]


def cell(conversation: str, minute: int, post_id: str = "p", events: int = 1, comments: int = 1) -> Cell:
    return Cell(conversation, minute, post_id, events, (0, 0, 0, comments, 0, 0, 0), (events,), ("x",))


def test_a_minute_closes_for_all_when_every_source_partition_has_passed_its_end() -> None:
    bench = Bench()
    bench.send(cell("hashtag:a", 100), cell("hashtag:b", 100, comments=3), cell("hashtag:a", 101))
    bench.mark(101.0)
    assert bench.closed == {}, "a source partition without any mark may hold anything"
    bench.mark(101.0, 100.999)
    assert bench.closed == {}
    bench.mark(101.5, 101.0)
    assert bench.closed == {("hashtag:a", 100): 1, ("hashtag:b", 100): 3}
    assert {pane_key: row["is_final"] for pane_key, row in bench.shelf.minutes.items()} == {
        ("hashtag:a", 100): 1,
        ("hashtag:b", 100): 1,
        ("hashtag:a", 101): 0,
    }
    assert bench.shelf.floors == {0: 101, 1: 101}
    assert bench.job.closed_until == 101


def test_a_mark_counts_in_the_partition_in_which_it_was_read() -> None:
    """The cells of the other partition lie before its own copy of the mark, and are not read yet."""
    bench = Bench()
    bench.take()
    here, there = OWNER["hashtag:a"], OWNER["hashtag:b"]
    unread = [cell("hashtag:b", 100, comments=3)]
    for each in unread:
        bench.shelf.put(each)
    marks = record(marks={0: 101, 1: 101})
    bench.take(run(here, record([cell("hashtag:a", 100)]), marks))
    assert bench.closed == {}
    bench.take(run(there, record(unread)))
    assert bench.closed == {}
    bench.take(run(there, marks))
    assert bench.closed == {("hashtag:a", 100): 1, ("hashtag:b", 100): 3}


def test_a_mark_beyond_its_own_record_is_refused() -> None:
    """Of a worker whose clock is ahead, or forged: every minute would close for ever."""
    bench = Bench()
    bench.send(cell("hashtag:a", 100))
    latest = 1_790_000_000_000_000
    for watermark in (latest + 1, 4_102_444_800_000_000, 1 << 62):
        said = {"cells": None, "marks": [{"partition": n, "watermark": watermark, "idle": True} for n in range(OF)]}
        assert bench.take(*(run(place, Record(7, to_json(said))) for place in range(OF)))
    assert {letter.field for letter in bench.letters} == {"marks.watermark"}
    assert len(bench.letters) == 3 * OF
    assert "ENGAGEMENT_LATENESS_SECONDS" in bench.letters[0].reason
    assert bench.closed == {}
    bench.mark(*[latest / MINUTE_US] * OF)
    assert bench.closed == {("hashtag:a", 100): 1}


def test_rows_of_an_older_fold_version_are_moved_over_while_a_worker_runs() -> None:
    """The older code counted the events of the whole post in the version of each of its cells: more than this one."""
    shelf = Shelf()
    old = [cell("hashtag:a", 100, post, events=90) for post in "pqr"]
    for each in old:
        shelf.put(replace(each, fold=FOLD_VERSION - 1))
    bench = Bench(shelf)
    bench.take()
    bench.send(cell("hashtag:a", 100, "q", events=2, comments=5))
    assert shelf.minutes["hashtag:a", 100]["comments"] == 7
    # `recount` writes cells anew, adds them up and writes the minute.
    for each in (cell("hashtag:a", 100, "p"), cell("hashtag:a", 100, "r")):
        shelf.put(each)
    store = FakeConversations(shelf)
    fold = ConversationFold()
    for part in store.window(range(OF), OF, 0, 1 << 30):
        fold.add_cells(part)
    minutes = fold.add_up(fold.since(0))
    store.upsert("conversation_minutes", minute_columns(minutes, np.ones(1, np.bool_), final=False))
    bench.send(cell("hashtag:a", 100, "q", events=3, comments=6))
    row = shelf.minutes["hashtag:a", 100]
    assert (row["comments"], row["version"] >> 1) == (8, FOLD_VERSION << 55 | 5)
    bench.store.calls.clear()
    bench.send(cell("hashtag:a", 100, "q", events=4, comments=7))
    assert "of_panes" not in bench.store.calls, "once is enough"
    bench.mark(101, 101)
    assert bench.closed == {("hashtag:a", 100): 9}


def test_steps_in_their_order() -> None:
    bench = Bench()
    for each in (cell("hashtag:a", 100), cell("hashtag:a", 105)):
        bench.shelf.put(each)
    bench.did.clear()
    bench.store.calls.clear()
    marks = {0: 101, 1: 101}
    bench.take(
        run(OWNER["hashtag:b"], record(marks=marks)),
        run(OWNER["hashtag:a"], record([cell("hashtag:a", 100), cell("hashtag:a", 105)], marks)),
    )
    assert bench.store.calls == [
        *("watermarks", "floors", "sizes", "window", "since", "rolled"),
        "conversation_minutes",
        *("conversation_minutes", "conversation_closed", "conversation_marks"),
    ]
    assert bench.did == ["minutes", "final", "closed", "marks"]


def test_a_silent_minute_closes_without_a_row_and_is_zero() -> None:
    bench = Bench()
    bench.send(cell("hashtag:a", 100), cell("hashtag:a", 102))
    bench.mark(103, 103)
    assert bench.closed == {("hashtag:a", 100): 1, ("hashtag:a", 102): 1}
    assert [minute for minute, *_ in bench.ear.closed] == [100, 102]
    assert bench.job.closed_until == 103


def test_late_cells_correct_minutes_but_not_what_was_closed() -> None:
    bench = Bench()
    bench.send(cell("hashtag:a", 100, "p"), cell("hashtag:a", 100, "q"))
    bench.mark(101, 101)
    bench.send(cell("hashtag:a", 100, "q", events=2, comments=5), cell("hashtag:b", 99, "p"))
    assert bench.closed == {("hashtag:a", 100): 2}
    row = bench.shelf.minutes["hashtag:a", 100]
    assert (row["comments"], row["is_final"]) == (6, 1)
    assert bench.shelf.minutes["hashtag:b", 99]["comments"] == 1, "a minute that was silent when it closed"
    assert bench.metrics.snapshot()['engagement_conversation_cells_total{outcome="late"}'] == 2
    assert len(bench.ear.closed) == 1


def test_a_mark_far_ahead_of_one_partition_closes_nothing_for_the_others() -> None:
    bench = Bench()
    bench.send(cell("hashtag:a", 100), cell("hashtag:a", 109))
    bench.mark(109, 99.5)
    assert bench.closed == {}
    bench.mark(98, 101)
    assert bench.closed == {("hashtag:a", 100): 1}, "marks never go back"


def test_a_post_that_leaves_a_conversation_sends_zeros() -> None:
    bench = Bench()
    bench.send(cell("hashtag:a", 100, "p"), cell("hashtag:a", 100, "q"))
    bench.send(Cell("hashtag:a", 100, "p", 2))
    row = bench.shelf.minutes["hashtag:a", 100]
    assert (row["comments"], row["voices"], row["channels"]) == (1, 1, 1)


def test_a_loud_actor_on_forty_posts_is_one_voice() -> None:
    bench = Bench()
    bench.send(*(Cell("hashtag:a", 100, f"p{n}", 1, (0, 0, 0, 5, 0, 0, 0), (77,), ("x",)) for n in range(40)))
    row = bench.shelf.minutes["hashtag:a", 100]
    assert (row["comments"], row["voices"], row["voices_exact"], row["channels"]) == (200, 1, 1, 1)


def test_more_taken_back_than_added_is_negative_and_counts_as_none_at_closing() -> None:
    bench = Bench()
    bench.send(Cell("hashtag:a", 100, "p", 1, (0, 0, 0, 1, 0, 0, 3)))
    bench.mark(101, 101)
    assert bench.shelf.minutes["hashtag:a", 100]["comments"] == -2
    assert bench.closed == {("hashtag:a", 100): 0}


@pytest.mark.parametrize("step", ["final", "closed", "marks"])
def test_closed_once_across_a_crash_after_any_step(step: str) -> None:
    """And what was closed stands, also where a cell has come meanwhile."""
    first = Bench()
    first.send(cell("hashtag:a", 100))

    def crash(done: str) -> None:
        if done == step:
            raise Crash

    first.after_step = crash  # type: ignore[assignment]
    with pytest.raises(Crash):
        first.mark(101, 101)
    second = Bench(first.shelf)
    second.shelf.put(cell("hashtag:a", 100, "q"))
    second.mark(101, 101)
    second.send(cell("hashtag:a", 100, "q"))
    assert second.closed == {("hashtag:a", 100): 2 if step == "final" else 1}
    row = second.shelf.minutes["hashtag:a", 100]
    assert (row["comments"], row["is_final"]) == (2, 1)
    if step == "closed":
        assert second.ear.closed == [(100, ["hashtag:a"], [1])], "a detector sees what the table has"


def test_a_new_owner_closes_by_stored_watermarks_with_the_cells_that_lay_before_them() -> None:
    shelf = Shelf(watermarks={0: 101 * MINUTE_US, 1: 102 * MINUTE_US})
    shelf.put(cell("hashtag:a", 100, comments=4))
    bench = Bench(shelf)
    assert bench.take()
    assert bench.closed == {("hashtag:a", 100): 4}
    assert bench.store.calls.index("watermarks") < bench.store.calls.index("window")


def test_only_our_partitions_are_read_and_closed() -> None:
    bench = Bench()
    bench.shelf.put(cell("hashtag:a", 100))
    bench.shelf.put(cell("hashtag:b", 100))
    assert OWNER["hashtag:a"] != OWNER["hashtag:b"]
    bench.job.assign([OWNER["hashtag:a"]], OF)
    bench.take(run(OWNER["hashtag:a"], record(marks={0: 101, 1: 101})))
    assert bench.closed == {("hashtag:a", 100): 1}
    assert bench.shelf.floors == {OWNER["hashtag:a"]: 101}
    assert bench.metrics.snapshot()["engagement_watermark_age_seconds"] == NOW - 60 * 101
    bench.job.assign([], 1)
    assert isnan(bench.metrics.snapshot()["engagement_watermark_age_seconds"]), "of partitions that are gone"
    assert bench.mark(200, 200)
    assert len(bench.closed) == 1


def test_minutes_for_which_there_is_no_room_are_read_through_and_close_like_others() -> None:
    bench = Bench(open_cells=4)
    for minute in range(100, 110):
        bench.send(*(cell("hashtag:a", minute, f"p{n}") for n in range(3)))
        assert len(bench.job.fold) <= 6
    bench.send(cell("hashtag:a", 109, "p0", events=2, comments=9))
    assert {minute: row["comments"] for (_, minute), row in bench.shelf.minutes.items()} == {
        **dict.fromkeys(range(100, 109), 3),
        109: 11,
    }
    assert bench.metrics.snapshot()['engagement_conversation_cells_total{outcome="cold"}'] > 10
    bench.mark(105, 105)
    assert bench.closed == {("hashtag:a", minute): 3 for minute in range(100, 105)}
    bench.mark(200, 200)
    assert bench.closed == {("hashtag:a", minute): 3 if minute < 109 else 11 for minute in range(100, 110)}
    assert {row["is_final"] for row in bench.shelf.minutes.values()} == {1}
    assert [minute for minute, *_ in bench.ear.closed] == list(range(100, 110))


def test_cells_take_no_more_memory_than_they_may_and_close_as_they_should() -> None:
    most = 8 << 20
    bench = Bench(memory_bytes=most)
    for minute in range(100, 130):
        cells = [
            Cell("hashtag:a", minute, f"p{n}", 1, (0, 0, 0, 1, 0, 0, 0), tuple(range(n * 1000, n * 1000 + 200)), ("x",))
            for n in range(300)
        ]
        bench.send(*cells)
        assert bench.job.memory[0] <= 1.3 * most
    assert len(bench.job.fold) < 30 * 300
    assert bench.metrics.snapshot()['engagement_conversation_cells_total{outcome="cold"}'] > 0
    bench.mark(200, 200)
    assert bench.closed == {("hashtag:a", minute): 300 for minute in range(100, 130)}


def test_of_more_closed_minutes_than_are_kept_each_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed, "MOST_STORED_COUNTS", 3)
    shelf = Shelf()
    for minute in range(100, 105):
        shelf.put(cell("hashtag:a", minute))
        shelf.closings.append((("hashtag:a", minute), 7))
    shelf.put(cell("hashtag:a", 105))
    bench = Bench(shelf)
    bench.mark(106, 106)
    assert bench.closed == {**{("hashtag:a", minute): 7 for minute in range(100, 105)}, ("hashtag:a", 105): 1}
    assert bench.job.memory[1] == 0
    assert "counts" in bench.store.calls


def test_a_batch_that_is_given_up_is_stored_when_it_comes_again() -> None:
    bench = Bench()
    bench.send(cell("hashtag:a", 100))
    more = cell("hashtag:a", 100, events=2, comments=7)
    bench.given_up.set()
    assert not bench.send(more)
    assert bench.shelf.minutes["hashtag:a", 100]["comments"] == 1
    bench.given_up.clear()
    assert bench.send(more)
    assert bench.shelf.minutes["hashtag:a", 100]["comments"] == 7


def test_what_is_read_again_is_told_to_nobody_twice() -> None:
    bench = Bench()
    bench.send(cell("hashtag:a", 100, comments=2), cell("hashtag:a", 101))
    bench.mark(*[101] * OF)
    bench.shelf.put(cell("hashtag:a", 101, events=2, comments=5))  # by other hands: no record tells of it
    bench.job.read_again()
    bench.mark(*[102] * OF)
    assert bench.ear.loaded == [{0: 0, 1: 0}]
    assert bench.ear.closed == [(100, ["hashtag:a"], [2]), (101, ["hashtag:a"], [5])]
    assert bench.shelf.minutes["hashtag:a", 101]["comments"] == 5


def test_an_audience_that_may_have_missed_a_closing_reads_all_again() -> None:
    bench = Bench()
    bench.send(cell("hashtag:a", 100))

    def give_up(step: str) -> None:
        if step == "marks":
            bench.given_up.set()
            raise GivenUp

    bench.after_step = give_up
    assert not bench.mark(*[101] * OF)
    bench.after_step = bench.did.append
    bench.given_up.clear()
    bench.job.read_again()
    assert bench.mark(*[102] * OF)
    assert bench.ear.closed == []
    assert bench.ear.loaded == [{0: 0, 1: 0}, {0: 101, 1: 101}]


def test_open_minutes_pass_by() -> None:
    bench = Bench()
    bench.send(cell("hashtag:a", 100, comments=2))
    bench.send(cell("hashtag:a", 100, "q", comments=3))
    assert bench.ear.open == {("hashtag:a", 100): 5}


def test_open_minutes_pass_by_again_once_those_before_them_are_closed() -> None:
    bench = Bench()
    bench.send(cell("hashtag:a", 100), cell("hashtag:a", 110, comments=9), cell("hashtag:b", 130))
    bench.ear.open.clear()
    bench.mark(*[109] * OF)
    assert bench.ear.open == {("hashtag:a", 110): 9}, "whoever looks at it could say nothing while 100 was open"
    bench.ear.open.clear()
    bench.mark(*[109] * OF)
    assert bench.ear.open == {}
    after = Bench(bench.shelf)
    after.take()
    assert after.ear.open == {("hashtag:a", 110): 9}, "nothing may come for it any more"


GOOD = [cell("hashtag:a", 100)]


def spoilt(change: Callable[[dict[str, Any]], Any]) -> bytes:
    said: Any = CONVERSATION_RUN.validate_json(record(GOOD).value or b"")
    change(said)
    return to_json(said, bytes_mode="base64")


def column(name: str, said: bytes) -> bytes:
    return spoilt(lambda run: run["cells"].__setitem__(name, said))


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, ""),
        (b"\xff", ""),
        (b"[]", ""),
        ((record(GOOD).value or b"").replace(b'"heard":"', b'"heard":"!!'), "cells.heard"),
        (column("heard", bytes(3)), "cells.heard"),
        (column("heard", bytes(16)), "cells.voices"),
        (column("likes", bytes(3)), "cells.likes"),
        (column("likes", bytes(8)), "cells.likes"),
        (column("voices", bytes(0)), "cells.voices"),
        (column("voices", b"\2\0\0\0"), "cells.voices"),
        (spoilt(lambda said: said["cells"].update(voices=b"\2\0\0\0", heard=bytes(16))), "cells.heard"),
        (
            spoilt(lambda said: said["cells"].update(voices=bytes(4), heard=b"", voices_exact=bytes(4))),
            "cells.voices_exact",
        ),
        (column("minute", b"\xff\xff\xff\x7f"), "cells.minute"),
        (column("conversation", b"\1\0\0\0"), "cells.conversation"),
        (column("post", b"\xff\xff\xff\xff"), "cells.post"),
        (column("channels", b"\1\0\0\0"), "cells.channels"),
        (spoilt(lambda said: said["cells"]["names"].clear()), "cells.conversation"),
        (column("version", bytes(8)), "cells.version"),
        (column("version", bytes(4)), "cells.version"),
        (spoilt(lambda said: said["marks"].append({"partition": 2, "watermark": 1, "idle": False})), "marks"),
        (spoilt(lambda said: said["marks"].append({"partition": 0, "watermark": -1, "idle": False})), "marks"),
        (record([cell("hashtag:b", 100)]).value, "cells.names"),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter_and_spoils_nothing(value: bytes | None, field: str) -> None:
    bench = Bench()
    place = OWNER["hashtag:a"]
    assert bench.take(run(place, record(GOOD, offset=0), Record(1, value), record(GOOD, offset=2)))
    assert [(letter.topic, letter.partition, letter.offset) for letter in bench.letters] == [(TOPIC, place, 1)]
    assert bench.letters[0].field == field
    assert bench.letters[0].reason
    assert bench.job.judged == (3, 1)
    assert list(bench.shelf.minutes) == [("hashtag:a", 100)]
    assert bench.metrics.snapshot()['engagement_conversation_cells_total{outcome="dead"}'] == 1


def test_what_a_store_refuses_ends_the_batch_and_what_is_away_is_asked_again() -> None:
    bench = Bench(faults=Faults({1: "before", 4: "before", 6: "partly", 8: "after"}))
    bench.send(cell("hashtag:a", 100), cell("hashtag:b", 100))
    bench.mark(101, 101)
    assert bench.closed == {("hashtag:a", 100): 1, ("hashtag:b", 100): 1}
    bench.job._write_dead_letters = lambda letters: (_ for _ in ()).throw(Refused("no"))
    with pytest.raises(Refused):
        bench.take(run(0, Record(0, b"{")))


class NotedClosings(FakeConversations):
    """Notes what it closes itself, also where it raises after a part has landed."""

    def __init__(self, shelf: Shelf, faults: Faults, before_call: Callable[[str], None]) -> None:
        super().__init__(shelf, faults, before_call)
        self.closings = set[PaneKey]()

    def close_missing(self, columns: Mapping[str, Any]) -> int:
        before = len(self._shelf.closings)
        try:
            return super().close_missing(columns)
        finally:
            self.closings |= {pane_key for pane_key, _ in self._shelf.closings[before:]}


class Worker:
    """A job and its positions; a zombie goes on until its commits are refused. `step_cut_off`: what it was about when
    it was cut off from everybody; it hears of no assignment until that is done."""

    step_cut_off: CutOffStep | None = None

    def __init__(self, world: "World") -> None:
        self.world = world
        self.start()

    def start(self) -> None:
        """A new process."""
        if self.step_cut_off is not None:
            self.step_cut_off.abandon()
        self.step_cut_off: CutOffStep | None = None
        rng = self.world.rng
        self.calls_left = self.give_up_in = self.cut_off_in = 1 << 30
        self.given_up = Event()
        faults = Faults(share=rng.choice((0.0, 0.0, 0.05)), rng=rng)
        store = self.store = NotedClosings(self.world.shelf, faults, self.call)
        policy = ConversationPolicy(rng.choice((3, 10, 1000)), rolled_at_once=rng.choice((3, 1000)), waits=NO_WAIT)
        letters: list[DeadLetter] = []
        self.world.ears.append(Ear())
        self.ear = self.world.ears[-1]
        ports = ConversationPorts(
            store, store, store, store, letters.extend, METRICS, self.ear, self.call, on_load=self.ear.load
        )
        self.job = ConversationJob(ports, policy)
        self.positions: dict[int, int] = {}
        self.now = NOW

    def call(self, name: str) -> None:
        self.calls_left -= 1
        self.give_up_in -= 1
        if self.give_up_in == 0:
            self.given_up.set()
        if self.calls_left == 0:
            raise Crash(name)
        self.cut_off_in -= 1
        if self.cut_off_in == 0 and self.step_cut_off is not None:
            self.step_cut_off.cut_off()
            self.now += 11  # longer than a session

    def assign(self, partitions: set[int]) -> None:
        self.positions = {partition: self.world.committed[partition] for partition in partitions}
        self.job.assign(partitions, OF)

    def step(self, most: int) -> None:
        """One batch, or the rest of one that was cut off."""
        step = self.step_cut_off = self.step_cut_off or CutOffStep(lambda: self._step(most))
        try:
            if not step.run():
                return
        except Crash:
            self.step_cut_off = None
            raise
        self.step_cut_off = None

    def _step(self, most: int) -> None:
        world, runs, positions = self.world, [], dict(self.positions)
        for partition, position in self.positions.items():
            records = world.logs[partition][position : position + world.rng.randint(0, most)]
            if records:
                runs.append(run(partition, *records))
                positions[partition] += len(records)
        self.given_up.clear()
        if world.rng.random() < 0.1:
            self.job.read_again()  # a step of an erasure
        if self.job.process(runs, self.given_up, lambda: self.now):
            self._check_heard()
            self.call("commit")
            self.positions = positions
            for partition, position in positions.items():
                if world.owners.get(partition) is self:
                    world.committed[partition] = position

    def _check_heard(self) -> None:
        """The audience knows of each closing of this worker since its floors, whatever was read again."""
        if self.now != NOW or not self.positions:
            return  # it was cut off, and others may have gone on
        floors = self.ear.loaded[-1]
        unheard = self.store.closings - self.ear.heard
        missed = {(name, minute) for name, minute in unheard if floors.get(OWNER[name], END) <= minute}
        assert not missed, "the audience was not told of a closing"


class World:
    """The topic, what is stored, source partitions that send cells and marks, and workers."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.shelf = Shelf()
        self.logs: list[list[Record]] = [[] for _ in range(OF)]
        self.committed = dict.fromkeys(range(OF), 0)
        self.owners: dict[int, Worker] = {}
        self.minutes = [3000] * OF
        self.marks = [0] * OF
        self.ears: list[Ear] = []
        self.said: list[Cell] = []
        self.in_time: list[Cell] = []
        """What was sent before its source's mark had passed its minute: no closing may lack any of these."""
        self.workers = [Worker(self), Worker(self)]
        self.spread()

    def produce(self) -> None:
        """A source partition stores cells and sends them, perhaps twice, perhaps late; then its mark moves."""
        rng = self.rng
        source = rng.randrange(OF)
        cells = [
            filled(
                Cell(
                    rng.choice(NAMES),
                    self.minutes[source] + rng.choice((0, 0, 1, 2, -1, -5, -1500)),
                    f"{source}-{rng.randrange(3)}",
                    rng.randint(1, 9),
                )
            )
            for _ in range(rng.randint(1, 6))
        ]
        self.said += cells
        self.in_time += [each for each in cells if each.minute >= self.marks[source]]
        for each in cells:
            self.shelf.put(each)
        for _ in range(rng.choice((1, 1, 2))):
            for place in range(OF):
                if own := [each for each in cells if OWNER[each.conversation] == place]:
                    self.logs[place].append(record(own))
        if rng.random() < 0.5:
            self.minutes[source] += rng.choice((0, 1, 2, 700))
            self.tell(source, self.minutes[source])

    def tell(self, source: int, minute: int) -> None:
        self.marks[source] = max(self.marks[source], minute)
        for place in range(OF):
            self.logs[place].append(record(marks={source: minute}))
        if self.rng.random() < 0.8:
            self.shelf.watermarks[source] = max(self.shelf.watermarks.get(source, 0), minute * MINUTE_US)

    def spread(self) -> None:
        """A rebalance; whoever loses a partition may not have heard of it, and then gets none."""
        zombie = self.rng.choice((None, *self.workers))
        members = [worker for worker in self.workers if worker is not zombie and worker.step_cut_off is None]
        self.owners = {place: self.rng.choice(members) for place in range(OF)} if members else {}
        for worker in self.workers:
            if worker.step_cut_off is not None:
                continue
            if worker is zombie:
                worker.now += 11  # a session has ended
            else:
                worker.assign({place for place, owner in self.owners.items() if owner is worker})

    def act(self) -> None:
        rng = self.rng
        worker = rng.choice(self.workers)
        chance = rng.random()
        if chance < 0.5:
            self.produce()
        elif chance < 0.56:
            self.spread()
        else:
            if chance < 0.65:
                worker.calls_left = rng.randint(1, 12)
            elif chance < 0.7:
                worker.give_up_in = rng.randint(1, 8)
            elif chance < 0.8 and worker.step_cut_off is None:
                worker.cut_off_in = rng.randint(1, 12)
            try:
                worker.step(4)
            except Crash:
                worker.start()
                self.spread()
            worker.calls_left = worker.give_up_in = 1 << 30
            if worker.step_cut_off is None:
                worker.cut_off_in = 1 << 30

    def finish(self) -> None:
        for source in range(OF):
            self.tell(source, END)
        last, zombie = sorted(self.workers, key=lambda worker: worker.step_cut_off is not None)
        last.start()
        self.owners = dict.fromkeys(range(OF), last)
        last.assign(set(range(OF)))
        while any(self.committed[place] < len(self.logs[place]) for place in range(OF)):
            last.step(7)
        while self.shelf.day_marks.get(OF) != dict.fromkeys(range(OF), END // 1440):
            last.step(1)
        zombie.cut_off_in = 1 << 30
        while zombie.step_cut_off is not None:
            zombie.step(0)


END = 100_000
"""A minute beyond all of a schedule."""

SCHEDULES = int(os.environ.get("SCHEDULES", "240"))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, SCHEDULES, 40))
def test_any_schedule_ends_with_the_truth_closed_once(first: int) -> None:
    run_schedules(run_schedule, first)


def run_schedule(seed: int) -> None:
    world = World(seed)
    for _ in range(world.rng.randint(5, 60)):
        world.act()
        least = min(world.marks)
        assert all(minute < least for (_, minute), _ in world.shelf.closings), "closed before its end"
    world.finish()
    names = ("posts", "likes", "shares", "comments", "voices", "channels")
    truth = truth_of(world.said)
    found = {pane_key: {name: row[name] for name in names} for pane_key, row in world.shelf.minutes.items()}
    assert found == {pane_key: {name: row[name] for name in names} for pane_key, row in truth.items()}
    closed = dict(world.shelf.closings)
    told = [(minute, *pair) for ear in world.ears for minute, *pairs in ear.closed for pair in zip(*pairs, strict=True)]
    assert all(closed[name, minute] == count for minute, name, count in told), "a verdict rests on another count"
    assert closed.keys() <= truth.keys()
    assert closed.keys() >= {(cell.conversation, cell.minute) for cell in world.in_time}, "never closed"
    for pane_key, count in closed.items():
        assert count in possible_counts(world, pane_key), f"{pane_key} was closed without what had been sent before"
    # Whether a row says that it is final follows from who wrote it last; the views go by the floors.
    assert world.shelf.floors == dict.fromkeys(range(OF), END)
    days = {(name, minute // 1440) for name, minute in world.shelf.minutes}
    assert world.shelf.days == {key: day_of(world.shelf, *key) for key in days}


def possible_counts(world: World, pane_key: PaneKey) -> set[int]:
    """Every count that a closing may have: with all that was in time, and of what came late with some or none."""
    own = [cell for cell in world.said if (cell.conversation, cell.minute) == pane_key]
    sums = {0}
    for post_id in {cell.post_id for cell in own}:
        cells = [cell for cell in own if cell.post_id == post_id]
        least = max((cell.events for cell in cells if cell in world.in_time), default=0)
        choices = {cell.counts[0] + cell.counts[3] - cell.counts[6] for cell in cells if cell.events >= least}
        sums = {some + more for some in sums for more in choices | ({0} if not least else set())}
    return {max(some, 0) for some in sums}


def test_an_outage_that_nobody_waits_for_ends() -> None:
    bench = Bench()

    def away(name: str) -> None:
        bench.given_up.set()
        raise Unavailable("away")

    bench.store._before_call = away
    assert not bench.send(cell("hashtag:a", 100))
    assert bench.job.closed_until is None

"""Days of conversations: the store rolls them up alike in the fake and in ClickHouse, and views show them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.settings import Settings
from processors.columnar.hashing import Hasher
from processors.columnar.partitioning import partitions_of
from processors.conversation.days.recount import recount_days
from processors.conversation.days.rolling import plan_parts
from processors.conversation.days.store import ClickHouseDays
from processors.conversation.fold import ConversationFold
from processors.conversation.ports import DayPart, DayStore
from processors.conversation.rows import minute_columns
from processors.erasure.conversations import ErasedDays
from processors.erasure.deletion import Deletion
from processors.erasure.people import People
from schemas.tables import CONVERSATION_DAYS
from tests.fakes_conversations import Cell, FakeConversations, PaneKey, Shelf, as_cells, day_of
from tests.test_conversation_store import insert_cells

OF = 3
DAY = 20_000
"""A day, counted from 1970."""

NAMES = ("hashtag:ä'\\", "thread:p", "author:x/1", "author:x/2", "brand:acme")


def cell(conversation: str, day: int, minute: int, post_id: str = "p", events: int = 1, **content: Any) -> Cell:
    counts = content.pop("counts", (0, 2, 1, 1, 1, 0, 0))
    return Cell(conversation, day * 1440 + minute, post_id, events, counts, **content)


CELLS = [
    cell(NAMES[0], DAY, 0, voices=(1, 2**63 + 5), channels=("x",), counts=(1, 2, 3, 4, 5, 6, 7)),
    cell(NAMES[0], DAY, 1439, "q", 4, voices=(1, 7), channels=("x", "y")),
    cell(NAMES[0], DAY + 1, 0, "q", 2, voices=(9,), channels=("y",)),
    cell(NAMES[1], DAY, 17, counts=(0, 1, 0, 0, 1, 0, 0)),  # taken back in the same minute: nothing said
    cell(NAMES[1], DAY, 18, counts=(0, 1, 0, 0, 0, 0, 0), fold=1),
    cell(NAMES[2], DAY, 5, voices=tuple(range(5, 6000)), channels=("z",)),
    cell(NAMES[3], DAY + 1, 5, voices=tuple(range(0, 2**60, 2**50)), exact=False),
    cell(NAMES[3], DAY + 1, 6, "q", voices=(8, 2**62)),
    cell(NAMES[4], DAY + 3, 6, voices=(8,)),
]


@dataclass
class Made:
    """A store of days with what puts cells and minutes there, what sets the floor of retention, and what reads days."""

    store: DayStore
    put: Callable[[list[Cell]], None]
    raise_floor: Callable[[int], None]
    rows: Callable[[], dict[PaneKey, dict[str, Any]]]


def minutes_of(cells: list[Cell]) -> dict[str, Any]:
    fold = ConversationFold()
    minutes = fold.add_up(fold.add_cells(as_cells(cells)).groups)
    return minute_columns(minutes, np.ones(len(minutes), np.bool_), final=True)


def _fake() -> Made:
    shelf = Shelf()
    store = FakeConversations(shelf)

    def put(cells: list[Cell]) -> None:
        for each in cells:
            shelf.put(each)
        store.upsert("conversation_minutes", minutes_of(list(shelf.cells.values())))

    return Made(store, put, lambda day: setattr(shelf, "whole_from", day), lambda: shelf.days)


def _real(settings: Settings, client: ClickHouse) -> Made:
    known = Shelf()

    def put(cells: list[Cell]) -> None:
        insert_cells(client, cells)
        for each in cells:
            known.put(each)
        client.insert("conversation_minutes", minutes_of(list(known.cells.values())))

    def raise_floor(day: int) -> None:
        client.insert("retention_floors", {"kind": ["posts"], "floor": [day * 86_400 - 60]})

    return Made(ClickHouseDays(client), put, raise_floor, lambda: _stored(client))


def _stored(client: ClickHouse) -> dict[PaneKey, dict[str, Any]]:
    names = CONVERSATION_DAYS.sent
    shown = [f"toUnixTimestamp({name})" if name.endswith("_minute") else name for name in names]
    shown[names.index("day")] = "toUInt16(day)"
    columns = client.select(f"SELECT {', '.join(shown)} FROM conversation_days FINAL")
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return {(row["conversation"], row["day"]): row for row in rows}


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    if request.param == "fake":
        yield _fake()
        return
    settings: Settings = request.getfixturevalue("settings")
    migrate(settings)
    with ClickHouse(settings) as client:
        yield _real(settings, client)


def truth_of_days(cells: list[Cell], *days: int) -> dict[PaneKey, dict[str, Any]]:
    """Days from plain Python over the cells."""
    shelf = Shelf()
    for each in cells:
        shelf.put(each)
    FakeConversations(shelf).upsert("conversation_minutes", minutes_of(list(shelf.cells.values())))
    keys = {(each.conversation, each.minute // 1440) for each in cells}
    return {key: day_of(shelf, *key) for key in keys if key[1] in days}


def test_a_day_is_the_sum_of_its_minutes_and_the_union_of_its_voices(made: Made) -> None:
    made.put(CELLS)
    made.store.roll(range(OF), OF, DayPart(DAY, DAY + 2))
    rows = made.rows()
    assert rows == truth_of_days(CELLS, DAY, DAY + 1)
    first = rows[NAMES[0], DAY]
    assert (first["posts"], first["likes"], first["shares"], first["comments"]) == (1, -2, -2, -2)
    assert (first["first_minute"], first["last_minute"]) == (DAY * 86_400, DAY * 86_400 + 1439 * 60)
    assert (first["minutes"], first["voices"], first["channels"]) == (2, [1, 7, 2**63 + 5], ["x", "y"])
    assert rows[NAMES[1], DAY]["minutes"] == 1
    assert rows[NAMES[1], DAY]["version"] == 1 << 56 | 2, "the oldest code that had a part in it"
    assert (len(rows[NAMES[2], DAY]["voices"]), rows[NAMES[2], DAY]["voices_below"]) == (4096, 4101)
    sketch = rows[NAMES[3], DAY + 1]
    assert sketch["voices_below"] == max(CELLS[6].voices)
    assert sketch["voices"] == sorted({8, *CELLS[6].voices[:-1]}), "none above what the sketch knows all of"


def test_each_day_has_its_partition_and_its_part(made: Made) -> None:
    made.put(CELLS)
    owner = dict(zip(NAMES, partitions_of(NAMES, OF).tolist(), strict=True))
    days, sizes = made.store.day_sizes(range(OF), OF, 0, DAY + 2)
    assert (days.tolist(), sizes.tolist()) == ([DAY, DAY + 1], [5, 3])
    assert [len(column) for column in made.store.day_sizes(range(OF), OF, 0, DAY)] == [0, 0]
    for partition in range(OF):
        made.store.roll([partition], OF, DayPart(DAY, DAY + 1))
        assert made.rows().keys() == {(name, DAY) for name in NAMES[:3] if owner[name] <= partition}
    for after, upto in pairwise(("", "author:x/1", NAMES[0], "")):
        made.store.roll(range(OF), OF, DayPart(DAY + 1, DAY + 9, after, upto))
    assert made.rows() == truth_of_days(CELLS, *range(DAY, DAY + 9))


def test_a_day_is_split_where_half_of_its_minutes_lie_before(made: Made) -> None:
    made.put(CELLS)
    assert made.store.day_bounds(range(OF), OF, DAY, DAY + 1, 2) == [NAMES[0]]
    assert made.store.day_bounds(range(OF), OF, DAY + 1, DAY + 2, 9) == [NAMES[3], NAMES[0]]
    assert made.store.day_bounds(range(OF), OF, DAY + 5, DAY + 6, 3) == []
    owner = dict(zip(NAMES, partitions_of(NAMES, OF).tolist(), strict=True))
    assert made.store.day_bounds([owner[NAMES[1]]], OF, DAY, DAY + 1, 1) == []


def test_a_plan_names_each_day_and_conversation_once(made: Made) -> None:
    made.put(CELLS)
    plan = plan_parts(made.store, range(OF), OF, span=(DAY - 2, DAY + 9), at_once=3)
    assert [tuple(part)[:4] for part in plan] == [
        (DAY - 2, DAY + 1, "", NAMES[0]),
        (DAY - 2, DAY + 1, NAMES[0], ""),
        (DAY + 1, DAY + 9, "", NAMES[4]),
        (DAY + 1, DAY + 9, NAMES[4], ""),
    ]
    assert not any(part.is_empty for part in plan)
    assert plan_parts(made.store, range(OF), OF, span=(0, DAY), at_once=3) == [DayPart(0, DAY, is_empty=True)]
    for part in plan:
        made.store.roll(range(OF), OF, part)
    assert made.rows() == truth_of_days(CELLS, *range(DAY, DAY + 9))


def test_a_day_with_more_events_wins_whoever_writes_it(made: Made) -> None:
    made.put(CELLS)
    later = [replace(CELLS[0], events=3, counts=(1, 9, 3, 4, 5, 6, 7))]
    made.store.roll_again([(NAMES[0], DAY), ("hashtag:none", DAY)])
    assert made.rows() == truth_of_days(CELLS[:2], DAY)
    made.put(later)
    made.store.roll_again([(NAMES[0], DAY), (NAMES[4], DAY + 3)])
    assert made.rows() == truth_of_days([*CELLS[:2], *later, CELLS[8]], DAY, DAY + 3)
    assert made.rows()[NAMES[0], DAY]["likes"] == 5


def test_days_that_retention_has_touched_stay_as_they_were_rolled_up(made: Made) -> None:
    made.put(CELLS)
    made.raise_floor(DAY + 1)
    made.store.roll_again([(NAMES[0], DAY), (NAMES[0], DAY + 1)])
    assert made.rows() == truth_of_days(CELLS[2:3], DAY + 1)
    # A database of before may have had retention: what is left of a day is better than nothing.
    made.store.roll(range(OF), OF, DayPart(0, DAY + 9))
    rows = truth_of_days(CELLS, *range(DAY, DAY + 9))
    assert made.rows() == rows
    later = [cell(NAMES[0], day, 7, "r", voices=(77,)) for day in (DAY, DAY + 1)]
    made.put(later)
    made.store.roll(range(OF), OF, DayPart(0, DAY + 9))
    made.store.roll_again([(NAMES[0], DAY)])
    assert made.rows() == rows | truth_of_days([CELLS[2], later[1]], DAY + 1)


def test_marks_only_rise(made: Made) -> None:
    assert made.store.rolled([0, 1], OF) == {}
    made.store.mark([0, 1], OF, DAY)
    made.store.mark([1], OF, DAY + 1)
    made.store.mark([1], OF, DAY - 1)
    assert made.store.rolled([0, 1, 2], OF) == {0: DAY, 1: DAY + 1}
    assert made.store.rolled([0, 1, 2], OF + 1) == {}, "other conversations belonged to these partitions"


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    with ClickHouse(tables) as client:
        yield client


def recounted(client: ClickHouse, check: bool = True, floor: int = 0) -> list[str]:
    return [str(each) for some in recount_days(client, check, floor) for each in some]


@pytest.mark.stack
def test_recount_finds_what_happened_to_days_and_rolls_them_up_anew(client: ClickHouse, tables: Settings) -> None:
    made = _real(tables, client)
    made.put(CELLS)
    made.store.roll(range(OF), OF, DayPart(0, DAY + 9))
    client.execute("ALTER TABLE conversation_days DELETE WHERE conversation = 'brand:acme' SETTINGS mutations_sync = 2")
    assert recounted(client) == [], "no day lies before a mark"
    made.store.mark(range(OF - 1), OF, DAY + 9)
    assert recounted(client) == [], "a partition has no mark yet"
    made.store.mark([OF - 1], OF, DAY + 2)
    assert recounted(client) == [], "the day that is missing lies behind that mark"
    made.store.mark([OF - 1], OF, DAY + 4)
    missing = "conversation_days brand:acme 2024-10-07 row: stored None, the log says a row"
    assert recounted(client) == [missing]
    client.execute(
        "INSERT INTO conversation_days (conversation, day, likes, version) "
        "SELECT conversation, day + ghost, 99, version + 1 FROM conversation_days FINAL "
        "ARRAY JOIN [0, 1] AS ghost WHERE conversation = 'thread:p'"
    )
    client.execute(
        "ALTER TABLE conversation_days UPDATE voices = [5] WHERE conversation = 'hashtag:ä\\'\\\\' "
        "AND day = '2024-10-04' SETTINGS mutations_sync = 2"
    )
    found = recounted(client)
    assert missing in found
    assert (
        f"conversation_days {NAMES[0]} 2024-10-04 voices: stored [5], the log says [1,7,9223372036854775813]" in found
    )
    assert "conversation_days thread:p 2024-10-04 likes: stored 99, the log says 1" in found
    assert "conversation_days thread:p 2024-10-05 row: stored a row, the log says None" in found
    assert len(found) == 9
    assert recounted(client, floor=(DAY + 1) * 86_400 - 1) == [found[0], found[-1]]
    assert recounted(client, check=False) == found
    assert recounted(client) == []
    assert made.rows() == truth_of_days(CELLS, *range(DAY, DAY + 9))


@pytest.mark.stack
@pytest.mark.parametrize(("channel", "stays"), [(None, []), ("y", [1])])
def test_an_erased_person_leaves_days_whose_minutes_are_gone(
    client: ClickHouse, tables: Settings, channel: str | None, stays: list[int]
) -> None:
    made, deletion = _real(tables, client), Deletion(client, tables)
    [bob] = Hasher().actors(["bob"]).tolist()
    cells = [
        cell(NAMES[0], DAY, 5, voices=tuple(sorted((3, bob))), channels=("x", "y")),
        cell(NAMES[1], DAY, 5, voices=(bob,), channels=("x",)),
        cell(NAMES[2], DAY, 5, voices=(3,), channels=("y",)),
        cell(NAMES[2], DAY + 1, 5, voices=(bob,), channels=("y",)),
    ]
    made.put(cells)
    made.store.roll(range(OF), OF, DayPart(0, DAY + 9))
    before = made.rows()
    days = ErasedDays(client, deletion)
    for _ in range(2):  # the second finishes what a crash has left
        deletion.begin()
        days.take_voices_out(People.of(["bob"], channel), (DAY + 1) * 86_400 - 60)
    deletion.end()
    after = made.rows()
    assert [after[NAMES[number], DAY]["voices"] for number in range(3)] == [[3], [bob] * len(stays), [3]]
    assert after[NAMES[2], DAY] == before[NAMES[2], DAY]
    assert after[NAMES[2], DAY + 1] == before[NAMES[2], DAY + 1], "the floor is the business of minutes"
    left = client.select(f"SELECT count() FROM conversation_days WHERE day = toDate({DAY}) AND has(voices, {bob})")
    assert left == [[len(stays)]]


@pytest.mark.stack
def test_days_with_fewer_events_than_before_are_rolled_up_after_an_erasure(
    client: ClickHouse, tables: Settings
) -> None:
    made, deletion = _real(tables, client), Deletion(client, tables)
    made.put(CELLS)
    made.store.roll(range(OF), OF, DayPart(0, DAY + 9))
    made.store.mark(range(OF), OF, DAY + 9)
    for table in ("conversation_minutes", "conversation_posts"):
        gone = "minute = toDateTime(20000 * 86400 + 1439 * 60, 'UTC')"
        client.execute(f"ALTER TABLE {table} DELETE WHERE {gone} SETTINGS mutations_sync = 2")
    assert len(recounted(client)) == 8
    deletion.begin()
    ErasedDays(client, deletion).roll_anew([(NAMES[0], DAY * 1440 + 1439)])
    deletion.end()
    assert recounted(client) == []
    assert made.rows() == truth_of_days([*CELLS[:1], *CELLS[2:]], *range(DAY, DAY + 9))

"""What conversations ask of ClickHouse: the fake and the real thing answer alike."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.settings import Settings
from processors.columnar.partitioning import partitions_of
from processors.conversation.cells import CellArrays, join
from processors.conversation.fold import ConversationFold
from processors.conversation.rows import closing_columns, minute_columns
from processors.conversation.store import ClickHouseConversations
from schemas.conversations import CELL_COUNTS
from tests.fakes_conversations import Cell, FakeConversations, Shelf, as_cells
from tests.test_conversation_fold import rows_of, truth_of

OF = 3
CELLS = [
    Cell("hashtag:ä'\\", 29_000_000, "p", 1, (1, 2, 3, 4, 5, 6, 7), (1, 2**63 + 5, 2**64 - 1), ("x", "y")),
    Cell("hashtag:ä'\\", 29_000_000, "p", 2, (1, 3, 3, 4, 5, 6, 7), (1, 2**63 + 5), ("x",)),
    Cell("hashtag:ä'\\", 29_000_000, "q", 1, (0, 0, 0, 1, 0, 0, 0), (7,)),
    Cell("thread:p", 29_000_001, "p", 9),
    Cell("author:x/1", 29_000_007, "p", 3, voices=tuple(range(5, 300)), exact=False),
]
PANE_KEYS = [("hashtag:ä'\\", 29_000_000), ("author:x/1", 29_000_007), ("hashtag:none", 29_000_000)]

Made = tuple[Any, Callable[[list[Cell]], None]]


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
def made(request: pytest.FixtureRequest) -> Iterable[Made]:
    """A store, and what puts cells there as the engagement agent does."""
    if request.param == "fake":
        shelf = Shelf()
        yield FakeConversations(shelf), lambda cells: [shelf.put(cell) for cell in cells] and None
        return
    settings: Settings = request.getfixturevalue("settings")
    migrate(settings)
    store = ClickHouseConversations(lambda numpy: ClickHouse(settings, numpy=numpy))
    with ClickHouse(settings) as client:
        yield store, lambda cells: insert_cells(client, cells)
    store.close()


def test_cells_come_back_as_they_were(made: Made) -> None:
    store, put = made
    put(CELLS)
    everything = range(OF)
    assert _known(store.window(everything, OF, 0, 1 << 30)) == truth_of(CELLS[:-1]) | _sketched()
    assert _known(store.window(everything, OF, 29_000_001, 29_000_007)) == truth_of(CELLS[3:4])
    assert _known(store.of_panes(PANE_KEYS[:1])) == truth_of(CELLS[:3])
    assert _known(store.of_panes(PANE_KEYS[2:])) == {}
    place = int(partitions_of(["thread:p"], OF)[0])
    ours = [cell for cell in CELLS[:4] if partitions_of([cell.conversation], OF)[0] == place]
    assert _known(store.window([place], OF, 29_000_000, 29_000_007)) == truth_of(ours)
    minutes, sizes = store.sizes(everything, OF, 29_000_001)
    assert (minutes.tolist(), sizes.tolist()) == ([29_000_001, 29_000_007], [1, 1])
    assert [len(column) for column in store.sizes(everything, OF, 29_000_008)] == [0, 0]


def test_what_was_closed_is_found(made: Made) -> None:
    store, _ = made
    assert (store.watermarks(), store.floors([0, 1]), store.counts(PANE_KEYS)) == ({}, {}, {})
    fold = ConversationFold()
    minutes = fold.add_up(fold.add_cells(as_cells(CELLS[1:3])).groups)
    every = np.ones(1, np.bool_)
    store.upsert("conversation_minutes", minute_columns(minutes, every, final=True))
    store.close_missing(closing_columns(minutes, every, 1_790_000_000_000))
    store.upsert("conversation_marks", {"partition": [0, 1], "closed_until": [29_000_001 * 60, 60]})
    store.upsert("conversation_marks", {"partition": [0], "closed_until": [28_000_001 * 60]})
    store.upsert("source_marks", {"partition": [2], "watermark": [1_790_000_000_123_456], "idle": [0]})
    assert store.counts(PANE_KEYS) == {PANE_KEYS[0]: 0}
    assert store.since([int(partitions_of([PANE_KEYS[0][0]], OF)[0])], OF, PANE_KEYS[0][1], 9) == {PANE_KEYS[0]: 0}
    assert store.since([int(partitions_of([PANE_KEYS[0][0]], OF)[0])], OF, PANE_KEYS[0][1] + 1, 9) == {}
    assert store.since([int(partitions_of([PANE_KEYS[0][0]], OF)[0]) ^ 1], OF, PANE_KEYS[0][1], 9) == {}
    assert store.floors([0]) == {0: 29_000_001}
    assert store.floors([0, 1, 2]) == {0: 29_000_001, 1: 1}
    store.upsert("source_marks", {"partition": [3], "watermark": [4_102_444_800_000_000], "idle": [1]})
    assert store.watermarks() == {2: 1_790_000_000_123_456}, "nothing is known of the year 2100"


def test_what_is_closed_stays_as_it_was_and_the_rest_is_closed(made: Made) -> None:
    store, _ = made
    pane_keys = [
        ("thread:it's \\ closed", 29_100_000),
        ("thread:it's \\ closed", 29_100_001),
        ("hashtag:ä", 29_100_000),
    ]
    store.close_missing(_closing(pane_keys[:1], [3]))
    store.close_missing(_closing(pane_keys, [7, 8, 9]))
    store.close_missing(_closing(pane_keys[1:], [1, 1]))
    store.close_missing(_closing([], []))
    assert store.counts(pane_keys) == dict(zip(pane_keys, [3, 8, 9], strict=True))


def _closing(pane_keys: list[tuple[str, int]], counts: list[int]) -> dict[str, Any]:
    return {
        "conversation": [conversation for conversation, _ in pane_keys],
        "minute": np.array([minute * 60 for _, minute in pane_keys], np.int64),
        "count": np.array(counts, np.int64),
        "closed_at": np.full(len(pane_keys), 1_790_000_000_000),
    }


def _known(blocks: Iterable[CellArrays]) -> dict[Any, Any]:
    fold = ConversationFold()
    fold.add_cells(join(list(blocks)))
    return rows_of(fold.add_up(fold.since(0)))


def _sketched() -> dict[Any, Any]:
    return rows_of((fold := ConversationFold()).add_up(fold.add_cells(as_cells(CELLS[-1:])).groups))


def insert_cells(client: ClickHouse, cells: list[Cell]) -> None:
    client.insert(
        "conversation_posts",
        {
            "conversation": [cell.conversation for cell in cells],
            "minute": [cell.minute * 60 for cell in cells],
            "post_id": [cell.post_id for cell in cells],
            **{name: [cell.counts[number] for cell in cells] for number, name in enumerate(CELL_COUNTS)},
            "channels": [list(cell.channels) for cell in cells],
            "voices": [sorted(cell.voices) for cell in cells],
            "voices_exact": [int(cell.exact) for cell in cells],
            "version": [cell.version for cell in cells],
        },
    )

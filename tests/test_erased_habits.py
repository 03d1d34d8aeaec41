"""What the forecast has learned of an author goes when he is erased, on his channel or on all."""

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from processors.calibration.store import CalibrationStore, StoredVersion
from processors.erasure.deletion import Deletion, noted
from processors.erasure.log import ERASED_POSTS
from processors.erasure.others import NamingRows
from processors.erasure.people import People
from processors.erasure.tombstones import Eraser


@pytest.mark.parametrize(
    ("channel", "left"), [("one", [("one", "bob"), ("two", "ann")]), (None, [("one", "bob")])], ids=["channel", "all"]
)
def test_habits_leave_with_their_author(tables: Settings, channel: str | None, left: list[tuple[str, str]]) -> None:
    with ClickHouse(tables) as client:
        client.insert(
            "forecast_habits",
            {
                "channel": ["one", "one", "two", "one"],
                "author_id": ["ann", "ann", "ann", "bob"],
                "holds_from": [60, 120, 60, 60],
                "habit": [0.5, 0.25, 1.0, -1.0],
            },
        )
        deletion = Deletion(client, tables)
        deletion.begin()
        eraser = Eraser(People.of(["ann"], channel), frozenset(), frozenset(), lambda text: text, 1)
        gone = NamingRows(client, deletion, eraser).delete_habits()
        deletion.end()
        rows = client.select("SELECT toString(channel), author_id FROM forecast_habits ORDER BY 1, 2")
    assert list(zip(*rows, strict=True)) == left
    assert gone == 4 - len(left)


def test_a_calibration_that_read_the_posts_before_brings_no_habit_back(tables: Settings) -> None:
    version = StoredVersion(60, 100, 7, "test", ((1.0,), (2.0,)))
    with ClickHouse(tables) as client:
        client.insert("posts", {"post_id": ["p", "q"], "author_id": ["ann", "bob"], "channel": ["one", "one"]})
        # The erasure of ann ends while the calibration computes.
        deletion = Deletion(client, tables)
        deletion.begin()
        deletion.add(ERASED_POSTS, [("p", "")])
        deletion.delete("posts", noted(ERASED_POSTS, ["post_id"]))
        eraser = Eraser(People.of(["ann"], None), frozenset(), frozenset(), lambda text: text, 1)
        assert NamingRows(client, deletion, eraser).delete_habits() == 0
        deletion.end()
        store = CalibrationStore(client)
        for _ in range(2):
            store.write("one", version, (1.0, 2.0), {"ann": 0.5, "bob": -0.5})
        assert client.select("SELECT author_id, habit FROM forecast_habits") == [["bob"], [-0.5]]
        assert [stored.finished for stored in store.versions("one")] == [100]

"""What the job relies on, of the fake store and of the real ClickHouse alike (processors/engagement/ports.py)."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from processors.columnar.hashing import Hasher
from processors.columnar.partitioning import partitions_of
from processors.columnar.sets import Sets
from processors.engagement.cells.cells import Cells, conversation_posts
from processors.engagement.fold.columns import KIND_NUMBER, EventColumns
from processors.engagement.fold.fold import Fold
from processors.engagement.rows import post_rows
from processors.engagement.rows.post_facts import Facts, PostEvent
from processors.engagement.store import ClickHouseLog
from schemas.conversations import CELL_COUNTS
from schemas.labels import flat_labels
from schemas.tables import TABLES
from tests.fakes_store import Database, FakeStore
from tests.folding import HASHER, Event, assert_true, learn, like, metrics_of, take, undo
from tests.truth import microseconds, truth_of


class Bench(NamedTuple):
    """A store, and what stands in its tables."""

    store: Any
    rows: Callable[[str], list[dict[str, Any]]]


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "fake":
        database = Database()
        yield Bench(FakeStore(database, HASHER), database.rows)
        return
    settings: Settings = request.getfixturevalue("tables")
    store = ClickHouseLog(lambda arrays: ClickHouse(settings, numpy=arrays), HASHER)
    reader = ClickHouse(settings)

    def standing(name: str) -> list[dict[str, Any]]:
        sent = next(table for table in TABLES if table.name == name).sent
        columns = reader.select(f"SELECT {', '.join(f'`{column}`' for column in sent)} FROM {name} FINAL")
        return [dict(zip(sent, row, strict=True)) for row in zip(*columns, strict=True)]

    yield Bench(store, standing)
    store.close()
    reader.close()


def columns_of(events: Sequence[Event], first_offset: int = 0) -> EventColumns:
    """What decoding makes of these events, all on partition 1."""

    def text(name: str) -> list[str]:
        return [event.get(name) or "" for event in events]

    count = len(events)
    return EventColumns(
        topic=[f"engagement.{event['kind']}s" for event in events],
        partition=np.ones(count, np.uint16),
        offset=np.arange(first_offset, first_offset + count),
        received_ms=np.full(count, 1_780_000_000_123),
        kind=np.array([KIND_NUMBER[event["kind"]] for event in events], np.int8),
        action=np.array([event.get("action") == "retract" for event in events], np.int8),
        occurred_us=np.array([microseconds(event["occurred_at"]) for event in events], np.int64),
        event_id=text("event_id"),
        post_id=text("post_id"),
        actor_id=text("actor_id"),
        parent_id=text("parent_id"),
        target_id=text("target_id"),
        channel=text("channel"),
        url=text("url"),
        conversations=[[f"hashtag:{tag}" for tag in event.get("hashtags", [])] for event in events],
        links=[event.get("links", []) for event in events],
        quotes=text("quotes"),
        author_id=text("author_id"),
        followers=[event.get("followers") for event in events],
        labels=[flat_labels(event.get("labels")) for event in events],
        text=text("text"),
    )


EVENTS: list[Event] = [
    like("a", "1970-01-01T00:00:00Z", channel="x", actor_id="ü 👩‍👧"),
    like("b", "2026-03-01T10:00:00.123456Z", channel="y", parent_id="a", post_id="q"),
    undo("a", "2026-03-01T10:01:00Z"),
    like("c", kind="share", post_id="o'clock \\ \t\n"),
    like("c", kind="comment", post_id="é" * 512),
    like("p", kind="post", author_id="ann", url="u", hashtags=["one", "two"], followers=2**39),
    like("a", "2031-01-01T00:00:00Z"),
]


def test_what_was_appended_is_read_as_the_fold_takes_it(bench: Bench) -> None:
    bench.store.append(columns_of(EVENTS[:3]))
    bench.store.append(columns_of(EVENTS[3:6], 3))
    posts = list(dict.fromkeys(event["post_id"] for event in EVENTS[:6]))
    read, straight = Fold(), Fold()
    place = {int(number): row for row, number in enumerate(HASHER.hashes(posts))}
    read.add(posts, np.zeros(len(posts), np.uint16))
    for block in bench.store.read(posts):
        read.add_events(np.array([place[int(number)] for number in block.posts]), block.events)
    assert_true(read, truth_of(EVENTS[:6]))
    # The same numbers as from the events themselves, the check of content included: nothing is new or in conflict.
    take(straight, EVENTS[:6])
    for block in bench.store.read(posts):
        found = straight.find([posts[place[int(number)]] for number in block.posts])
        assert set(straight.add_events(found, block.events).outcomes.tolist()) == {2}
    learn(straight, truth_of(EVENTS[:6]))
    assert metrics_of(read) == metrics_of(straight)


def test_only_the_posts_that_are_asked_for_are_read(bench: Bench) -> None:
    bench.store.append(columns_of(EVENTS))
    assert {int(n) for block in bench.store.read(["q", "never"]) for n in block.posts} == set(
        HASHER.hashes(["q"]).tolist()
    )
    assert sum(len(block.posts) for block in bench.store.read(["never"])) == 0


def test_an_event_appended_again_counts_once_and_many_posts_are_read(bench: Bench) -> None:
    events = [like(f"l{number}", post_id=f"post-{number % 300}") for number in range(900)]
    for _ in range(2):
        bench.store.append(columns_of(events))
    fold, posts = Fold(), [f"post-{number}" for number in range(300)]
    fold.add(posts, np.zeros(300, np.uint16))
    order = np.argsort(HASHER.hashes(posts))
    for block in bench.store.read(posts):
        fold.add_events(order[np.searchsorted(HASHER.hashes(posts), block.posts, sorter=order)], block.events)
    assert (fold.snapshot(np.arange(300)).net[:, 0] == 3).all()


def test_known_posts_are_those_of_the_partitions(bench: Bench) -> None:
    assert not any(map(len, bench.store.known([0, 1], 2)))
    posts = [f"post-{number}" for number in range(500)] + ["é" * 9, "o'clock"]
    bench.store.append(columns_of([like("l", post_id=post) for post in posts]))
    bench.store.append(columns_of([like("l2", post_id=post) for post in posts[:9]]))
    for of, wanted in ((12, [3, 7]), (12, []), (1, [0]), (7, list(range(7)))):
        mine = [post for post, at in zip(posts, partitions_of(posts, of), strict=True) if at in wanted]
        known = {hash_ for block in bench.store.known(wanted, of) for hash_ in block.tolist()}
        assert known == set(HASHER.hashes(mine).tolist()), (of, wanted)


def test_post_events_come_in_the_order_of_the_log(bench: Bench) -> None:
    events = [
        like(
            "p",
            kind="post",
            author_id="first",
            hashtags=["one"],
            followers=7,
            url="u",
            channel="x",
            links=["https://a", "b"],
            quotes="other",
            labels={"Product": "é 'x' \\", "campaign": "spring"},
            text="Hello\n'you' \\ é",
        ),
        like("p9", "2026-03-02T00:00:00.000001Z", kind="post"),
        undo("p", kind="post"),
        like("l"),
    ]
    bench.store.append(columns_of(events[1:], 1))
    bench.store.append(columns_of(events[:1]))
    found = list(dict.fromkeys(map(str, bench.store.read_posts(["p", "q"]))))
    at = microseconds(events[0]["occurred_at"])
    told = PostEvent("p", "p", "", at, "first", "x", "u", ["hashtag:one"], ["https://a", "b"], "other", 7)
    labels = ["campaign", "spring", "product", "é 'x' \\"]
    later = microseconds(events[1]["occurred_at"])
    assert found == [
        str(told._replace(labels=labels, text="Hello\n'you' \\ é")),
        str(PostEvent("p", "p9", "", later, "p9", "", "", [], [], "", None, [])),
        str(PostEvent("p", "p#undo", "p", at, "p#undo", "", "", [], [], "", None, [])),
    ]
    assert bench.store.read_posts(["never"]) == []


def test_what_shares_and_comments_name_is_that_of_the_first_in_the_log(bench: Bench) -> None:
    assert list(bench.store.read_tagged(["p"])) == list(bench.store.read_channels(["p"])) == []
    events = [
        like("c", kind="comment", hashtags=["one", "two"], channel="x"),
        like("c", kind="comment", hashtags=["other"], channel="y"),
        like("d", kind="comment"),
        like("d", kind="comment", hashtags=["late"]),
        like("c", kind="share", hashtags=["three"]),
        undo("c", kind="comment", hashtags=["no"]),
        like("l", hashtags=["no"]),
        like("e", kind="share", post_id="q", hashtags=["no"], channel="z"),
    ]
    bench.store.append(columns_of(events[1:], 1))
    bench.store.append(columns_of(events[:1]))
    assert sorted(bench.store.read_tagged(["p", "never"])) == [
        ("p", KIND_NUMBER["share"], "c", ["hashtag:three"]),
        ("p", KIND_NUMBER["comment"], "c", ["hashtag:one", "hashtag:two"]),
    ]
    assert sorted(bench.store.read_channels(["p"])) == ["", "x", "y"]


def _minute(version: int, likes: int) -> dict[str, Any]:
    row = {"post_id": ["p"], "minute": [600], "likes": [likes], "shares": [0], "comments": [0]}
    row |= {"likes_retracted": [0], "shares_retracted": [0], "comments_retracted": [0], "version": [version]}
    text = {"post_id": np.array(["p"], object)}
    return {name: np.array(value, np.int64) for name, value in row.items() if name != "post_id"} | text


def test_the_highest_version_stands_and_the_last_among_equals(bench: Bench) -> None:
    for version, likes in ((5, 1), (4, 2), (5, 3), (1, 4)):
        bench.store.upsert("post_minutes", _minute(version, likes))
    assert [row["likes"] for row in bench.rows("post_minutes")] == [3]
    bench.store.upsert("post_minutes", _minute(1 << 62, 9))
    assert [row["likes"] for row in bench.rows("post_minutes")] == [9]


def test_rows_of_the_fold_are_stored_as_they_are(bench: Bench) -> None:
    fold = Fold()
    take(fold, EVENTS + [like(f"n{number}", channel="ab"[number % 2]) for number in range(30)])
    every = np.arange(len(fold))
    for table, columns in (
        ("post_metrics", post_rows.of_posts(fold, every)),
        ("post_minutes", post_rows.of_panes(fold, fold.panes_of(every))),
    ):
        bench.store.upsert(table, columns)
        sent = [
            dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)
        ]
        found = bench.rows(table)
        assert len(found) == len(sent)
        for row in sent:
            key = ("post_id", "minute") if "minute" in row else ("post_id",)
            stored = next(other for other in found if all(_same(other[name], row[name]) for name in key))
            assert {name: value for name, value in row.items() if not _same(stored[name], value)} == {}


def test_rows_of_posts_are_stored_as_they_are(bench: Bench) -> None:
    at = 1_772_359_200_123_456
    known = Facts("ann", "x", at, "u", ["hashtag:é", "mention:b"], ["b"], ["l"], "q", 7, None, ["a", "1"], "said")
    gone = Facts("bob", "", 0, "", [], [], [], "", None, at + 1, [], "")
    bench.store.upsert("posts", post_rows.posts(["p", "q"], [known, gone], np.array([1, 2], np.uint64)))
    found = {row["post_id"]: row for row in bench.rows("posts")}
    for post_id, facts in (("p", known), ("q", gone)):
        assert {name: _ticks(found[post_id][name]) for name in Facts._fields} == facts._asdict()


def test_cells_are_stored_as_they_are(bench: Bench) -> None:
    heard = np.array([1, 2**63 + 5, 2**64 - 1], np.uint64)
    counts = np.array([[1, 2, 3, 4, 5, 6, 7], [0] * 7], np.uint32)
    one_each = np.arange(2)
    cells = Cells(
        conversations=one_each,
        spots=one_each,
        partitions=np.zeros(2, np.uint16),
        minutes=np.array([29_500_000, 1], np.uint32),
        posts=one_each,
        counts=counts,
        channels=one_each,
        voices=Sets(heard, np.array([len(heard), 0])),
        exact=np.array([0, 1], np.uint8),
        names=_texts("hashtag:é", "thread:o'clock"),
        post_ids=_texts("p", "q"),
        versions=np.array([1 << 63, 2], np.uint64),
        channel_texts=_texts("x\0ü\\y", ""),
    )
    bench.store.upsert("conversation_posts", conversation_posts(cells))
    found = {row["post_id"]: row for row in bench.rows("conversation_posts")}
    assert [found["p"][name] for name in CELL_COUNTS] == counts[0].tolist()
    assert [list(found["p"][name]) for name in ("channels", "voices")] == [["x", "ü\\y"], [1, 2**63 + 5, 2**64 - 1]]
    assert [list(found["q"][name]) for name in ("channels", "voices")] == [[], []]
    assert (found["p"]["conversation"], found["p"]["voices_exact"], found["p"]["version"]) == ("hashtag:é", 0, 1 << 63)


def _texts(*values: Any) -> Any:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def test_a_hash_is_the_same_here_and_there(bench: Bench) -> None:
    other = Hasher()
    if isinstance(bench.store, FakeStore):
        pytest.skip("of ClickHouse only")
    texts = ["", "a", "é" * 512, "x" * 7, "x" * 8, "x" * 9, "\N{WOMAN}"]
    reader = bench.store._arrays
    literals = ", ".join("'" + text + "'" for text in texts)
    (raw,) = reader.select(f"SELECT {other.sql('text')} FROM (SELECT arrayJoin([{literals}]) AS text)")
    assert other.adopt(raw).tolist() == other.hashes(texts).tolist()


def _same(stored: Any, sent: Any) -> bool:
    if isinstance(sent, float) and sent != sent:
        return stored is None or stored != stored
    if isinstance(stored, list | tuple):
        return bool(list(stored) == json.loads(sent))
    return bool((round(stored.timestamp()) if isinstance(stored, datetime) else stored) == sent)


def _ticks(value: Any) -> Any:
    """A time of microseconds as the number that was sent."""
    if isinstance(value, datetime):
        return microseconds(value)
    if isinstance(value, dict):
        return [part for pair in sorted(value.items()) for part in pair]
    return list(value) if isinstance(value, tuple) else value


def test_retired_posts_are_those_that_were_not_kept(bench: Bench) -> None:
    store = bench.store
    assert store.retired(["a"]) == {}
    post_ids, version = store.retired_since(7)
    assert (list(post_ids), version) == ([], 7)
    states = [("a", 60, "marked", 10), ("b", 120, "marked", 10), ("b", 120, "kept", 20), ("c", 180, "gone", 30)]
    for post_id, as_of, state, version in states:
        row = {"post_id": [post_id], "as_of": [as_of], "state": [state], "version": [version]}
        store.upsert("retired_posts", row)
    assert store.retired(["a", "b", "c", "d"]) == {"a": 60, "c": 180}
    post_ids, version = store.retired_since(10)
    assert {"a", "c"} <= set(post_ids) <= {"a", "b", "c"}
    assert version == 30
    assert store.retired_since(30) == (["c"], 30)
    assert list(store.retired_since(31)[0]) == []

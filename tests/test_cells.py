"""What posts add to minutes of conversations: rows of conversation_posts and what is sent on are one, and the truth."""

import json
from collections.abc import Iterable, Sequence
from threading import Event
from typing import Any

import numpy as np
import pytest

from pipeline.brands import Brand, brands_of
from pipeline.errors import Unavailable
from pipeline.observability.metrics import WorkerMetrics
from pipeline.topic_producer import PartitionProducer
from processors.columnar.hashing import Hasher
from processors.columnar.partitioning import partitions_of
from processors.columnar.sets import Sets
from processors.engagement.cells import cell_kernels
from processors.engagement.cells.cells import Cells
from processors.engagement.cells.records import RECORD_BYTES, records_of
from processors.engagement.job import EngagementJob, JobPolicy
from processors.engagement.ports import EngagementPorts
from processors.engagement.warmup import load_engagement_kernels
from processors.runtime.records import Run
from schemas.conversations import CELL_COUNTS, CONVERSATION_RUN
from schemas.topics import KINDS
from tests.cells_truth import Cell, carried_by, cells_of
from tests.fakes_conversations import said_by
from tests.fakes_store import Database, FakeStore
from tests.folding import HASHER, like, undo
from tests.truth import microseconds

Event_ = dict[str, Any]
OF = 3
AT = "2026-03-01T10:00:30Z"
MINUTE = microseconds(AT) // 60_000_000
METRICS = WorkerMetrics()


class Record:
    """A record of Kafka, received a minute before noon on the day of AT unless told otherwise."""

    def __init__(self, offset: int, event: Event_, timestamp: int = 1_772_366_340_000) -> None:
        self.offset, self.timestamp = offset, timestamp
        self.key, self.value = event["post_id"].encode(), json.dumps(event).encode()


class Outbox:
    """Keeps of each cell the one with the highest version, as the conversation agent does."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, int, str], dict[str, Any]] = {}
        self.flushed = True

    def send(self, partition: int, value: bytes) -> None:
        self.flushed = False
        run = CONVERSATION_RUN.validate_json(value)
        assert run["cells"] is not None
        for cell in said_by(run["cells"]):
            assert partitions_of([cell["conversation"]], OF).tolist() == [partition]
            key = cell["conversation"], cell["minute"], cell["post_id"]
            if key not in self.cells or self.cells[key]["version"] <= cell["version"]:
                self.cells[key] = cell

    def flush(self) -> None:
        self.flushed = True


class Place:
    """A job and all that it writes to."""

    def __init__(self, database: Database | None = None, **policy: Any) -> None:
        self.database, self.outbox = database or Database(), Outbox()
        self.events: list[Event_] = []
        store, self.offset = FakeStore(self.database, hasher := Hasher()), 0
        ports = EngagementPorts(store, store, lambda letters: None, hasher, METRICS, self.outbox)
        self.job = EngagementJob(ports, JobPolicy(**policy))
        self.job.assign(range(OF), OF)

    def take(self, *events: Event_) -> "Place":
        """One batch of new events."""
        self.events += events
        assert self.job.process(self.runs(events), Event(), lambda: 0.0)
        assert self.outbox.flushed
        return self

    def runs(self, events: Iterable[Event_]) -> list[Run]:
        lanes: dict[tuple[str, int], list[Record]] = {}
        for event in events:
            lane = event["kind"], int(partitions_of([event["post_id"]], OF)[0])
            lanes.setdefault(lane, []).append(Record(self.offset, event))
            self.offset += 1
        order = sorted(lanes, key=lambda lane: KINDS.index(lane[0]))
        return [Run(f"engagement.{kind}s", kind, number, list(lanes[kind, number])) for kind, number in order]

    def rows(self) -> dict[tuple[str, int, str], Cell]:
        """All cells that are stored, which must be those that were sent."""
        rows = {
            (row["conversation"], row["minute"] // 60, row["post_id"]): (_cell(row), row["version"])
            for row in self.database.rows("conversation_posts")
        }
        sent = {key: (_cell(cell), cell["version"]) for key, cell in self.outbox.cells.items()}
        assert rows == sent
        return {key: cell for key, (cell, _) in rows.items()}

    def assert_exact(self) -> None:
        filled = {key: cell for key, cell in self.rows().items() if any(cell.counts) or cell.voices}
        assert filled == cells_of(self.events)
        carried = {(row["message"], row["post_id"]): bool(row["is_current"]) for row in self._rows("carry_over")}
        assert carried == carried_by(self.events)

    def _rows(self, table: str) -> list[dict[str, Any]]:
        return self.database.rows(table)


def _cell(row: dict[str, Any]) -> Cell:
    counts = tuple(row[name] for name in CELL_COUNTS)
    return Cell(counts, tuple(row["channels"]), tuple(row["voices"]), row["voices_exact"])


def post(name: str = "p", at: str = AT, **more: Any) -> Event_:
    return like(name, at, kind="post", **{"post_id": "p", "channel": "x", "actor_id": "ann", **more})


def comment(name: str, at: str = AT, **more: Any) -> Event_:
    return like(name, at, kind="comment", **more)


def share(name: str, at: str = AT, **more: Any) -> Event_:
    return like(name, at, kind="share", **more)


LATER = "2026-03-01T10:05:00Z"
LATEST = "2026-03-01T10:07:00Z"
NOTHING = Cell((0,) * 7, (), (), 1)


def test_a_post_counts_in_its_conversations_with_all_that_happens_under_it() -> None:
    place = Place().take(post(hashtags=["a"], mentions=["b"]), comment("c", channel="y"), like("l"), share("s", LATER))
    place.assert_exact()
    first = Cell((1, 1, 0, 1, 0, 0, 0), ("x", "y"), tuple(sorted(HASHER.actors(["ann", "c"]).tolist())), 1)
    for key in ("hashtag:a", "mention:b", "author:x/ann", "thread:p"):
        assert place.rows()[key, MINUTE, "p"] == first


def test_a_hashtag_edited_out_of_a_post_leaves_zeros() -> None:
    place = Place().take(post(hashtags=["old", "both"]), comment("c"), share("s", LATER))
    place.take(post("edit", LATEST, hashtags=["new", "both"]))
    place.assert_exact()
    left = {minute: cell for (key, minute, _), cell in place.rows().items() if key == "hashtag:old"}
    assert left == {MINUTE: NOTHING, MINUTE + 5: NOTHING, MINUTE + 7: NOTHING}
    # Whoever was slower may have written it in a minute of today: that minute says so too.
    place.take(like("l", "2026-03-01T10:09:00Z"))
    place.assert_exact()
    assert place.rows()["hashtag:old", MINUTE + 9, "p"] == NOTHING


def test_a_hashtag_that_comes_back_counts_again() -> None:
    place = Place().take(post(hashtags=["a"]), comment("c"))
    place.take(post("edit", LATER)).take(post("again", LATEST, hashtags=["a"]))
    place.assert_exact()
    assert place.rows()["hashtag:a", MINUTE, "p"].counts == (1, 0, 0, 1, 0, 0, 0)


def test_a_comment_counts_in_the_conversations_that_it_names_itself() -> None:
    place = Place().take(post(hashtags=["a"]), comment("c", hashtags=["a", "own"], channel="y"), comment("d"))
    place.take(undo("c", LATER, kind="comment"), share("s", LATER, hashtags=["own"]))
    place.assert_exact()
    assert place.rows()["hashtag:own", MINUTE, "p"].counts == (0, 0, 0, 1, 0, 0, 0)
    assert place.rows()["hashtag:own", MINUTE + 5, "p"].counts == (0, 0, 1, 0, 0, 0, 1)
    assert place.rows()["hashtag:a", MINUTE, "p"].counts == (1, 0, 0, 2, 0, 0, 0)
    # It leaves the post, not the comment.
    place.take(post("edit", LATEST))
    place.assert_exact()
    assert place.rows()["hashtag:a", MINUTE, "p"].counts == (0, 0, 0, 1, 0, 0, 0)


def test_an_earlier_taking_back_moves_it_in_own_conversations_too() -> None:
    place = Place().take(comment("c", hashtags=["own"]), undo("c", LATEST, kind="comment"))
    place.take(undo("c", LATER, kind="comment", event_id="earlier"))
    place.assert_exact()
    assert place.rows()["hashtag:own", MINUTE + 7, "p"] == NOTHING


def test_a_share_without_actor_counts_and_is_no_voice() -> None:
    place = Place().take(
        post(hashtags=["a"]), share("s", actor_id=None, hashtags=["own"]), share("t", hashtags=["own"])
    )
    place.assert_exact()
    for key in ("hashtag:a", "hashtag:own"):
        assert place.rows()[key, MINUTE, "p"].counts[2] == 2
    assert place.rows()["hashtag:own", MINUTE, "p"].voices == tuple(HASHER.actors(["t"]).tolist())
    place.take(undo("s", LATER, kind="share", actor_id=None))
    place.assert_exact()


def test_one_loud_actor_on_forty_posts_is_one_voice() -> None:
    posts = [post(f"p{number}", post_id=f"p{number}", hashtags=["a"]) for number in range(40)]
    said = [
        comment("c", f"2026-03-01T10:03:{number:02}Z", post_id=f"p{number}", actor_id="loud") for number in range(40)
    ]
    place = Place().take(*posts, *said)
    place.assert_exact()
    heard = {
        cell.voices for (key, minute, _), cell in place.rows().items() if (key, minute) == ("hashtag:a", MINUTE + 3)
    }
    assert heard == {tuple(HASHER.actors(["loud"]).tolist())}


def test_a_post_that_comes_after_its_engagement_sends_all_its_minutes() -> None:
    place = Place().take(comment("c"), like("l", LATER), share("s", LATEST))
    assert {key for key, _, _ in place.rows()} == {"thread:p"}
    place.take(post(at="2026-03-01T09:00:00Z", hashtags=["a"]))
    place.assert_exact()
    assert {minute for key, minute, _ in place.rows() if key == "hashtag:a"} == {
        MINUTE - 60,
        MINUTE,
        MINUTE + 5,
        MINUTE + 7,
    }


def test_an_older_event_of_a_post_moves_the_minute_in_which_it_was_made() -> None:
    place = Place().take(post("edit", LATER, hashtags=["a"])).take(post(hashtags=["a"]))
    place.assert_exact()
    assert place.rows()["hashtag:a", MINUTE + 5, "p"] == NOTHING


def test_a_deleted_post_is_none_any_more_and_carries_nothing() -> None:
    place = Place().take(post(hashtags=["a"], url="https://u.example/1"), comment("c"), undo("p", LATER, kind="post"))
    place.assert_exact()
    assert place.rows()["hashtag:a", MINUTE, "p"].counts == (0, 0, 0, 1, 0, 0, 0)
    assert [row["is_current"] for row in place.database.rows("carry_over")] == [0]


@pytest.mark.parametrize("count", [255, 256, 700])
def test_beyond_256_voices_the_smallest_are_kept_and_it_says_so(count: int) -> None:
    names = [f"c{number}" for number in range(count)]
    place = Place().take(post(), *(comment(name, hashtags=["own"]) for name in names))
    place.assert_exact()
    thread, own = (place.rows()[key, MINUTE, "p"] for key in ("thread:p", "hashtag:own"))
    assert (thread.exact, own.exact) == (int(count + 1 <= 256), int(count <= 256))
    assert own.voices == tuple(sorted(HASHER.actors(names).tolist())[:256])


def test_an_event_nine_minutes_ahead_counts_in_its_own_minute() -> None:
    place = Place().take(post(hashtags=["a"]), comment("c", "2026-03-01T12:08:00Z"))
    place.assert_exact()
    assert place.rows()["hashtag:a", microseconds("2026-03-01T12:08:00Z") // 60_000_000, "p"].counts[3] == 1


def test_labels_of_some_keys_are_conversations_of_posts_and_all_that_happens_under_them() -> None:
    place = Place(label_keys=frozenset({"campaign"})).take(
        post(labels={"Campaign": "Spring Sale", "format": "video"}),
        post("q", post_id="q", actor_id="bob", labels={"campaign": "spring sale"}),
        post("r", post_id="r", actor_id="cat", labels={"campaign": "", "format": "text"}),
        comment("c"),
        comment("d", post_id="q", actor_id="dan"),
        comment("e", post_id="r"),
        like("l"),
        like("m", post_id="r"),
        share("s", LATER),
        undo("l", LATER),
    )
    rows = place.rows()
    keys = {key for key, _, _ in rows if key.startswith("label:")}
    assert keys == {"label:campaign=spring sale"}
    [key] = keys
    net: dict[tuple[int, str], tuple[int, ...]] = {
        (minute, post_id): cell.counts for (at, minute, post_id), cell in rows.items() if at == key
    }
    assert net == {
        (MINUTE, "p"): rows["author:x/ann", MINUTE, "p"].counts,
        (MINUTE + 5, "p"): rows["author:x/ann", MINUTE + 5, "p"].counts,
        (MINUTE, "q"): (1, 0, 0, 1, 0, 0, 0),
    }
    assert net[MINUTE, "p"][:4] == (1, 1, 0, 1), "a post, its like and its comment"
    assert rows[key, MINUTE, "q"].voices == tuple(sorted(HASHER.actors(["bob", "dan"]).tolist()))


def test_a_post_whose_label_changes_leaves_the_conversation_of_the_old_one() -> None:
    place = Place(label_keys=frozenset({"campaign"})).take(post(labels={"campaign": "spring"}), comment("c"))
    place.take(post("p2", LATER, labels={"campaign": "autumn"}))
    said = {key: cell.counts[3] for (key, minute, _), cell in place.rows().items() if minute == MINUTE}
    assert said["label:campaign=spring"] == 0
    assert said["label:campaign=autumn"] == 1


def test_brands_are_conversations_of_posts_and_comments() -> None:
    brands = brands_of({"acme": Brand(side="own", accounts=["ann"], hashtags=["acme"], domains=["acme.example"])})
    place = Place(brands=brands).take(
        post(),
        post("q", post_id="q", actor_id="bob", links=["https://www.acme.example/x"]),
        comment("c", post_id="r", hashtags=["acme"]),
        comment("d", post_id="r"),
    )
    of_brand = {post_id: cell.counts for (key, _, post_id), cell in place.rows().items() if key == "brand:acme"}
    assert of_brand == {"p": (1, 0, 0, 0, 0, 0, 0), "q": (1, 0, 0, 0, 0, 0, 0), "r": (0, 0, 0, 1, 0, 0, 0)}
    stored = {row["post_id"]: row["conversations"] for row in place.database.rows("posts")}
    assert stored == {"p": ["brand:acme", "author:x/ann"], "q": ["brand:acme", "author:x/bob"]}


STORY = [
    post(hashtags=["a", "b"], url="https://u.example/1", quotes="z"),
    comment("c", hashtags=["own"], channel="y"),
    share("s", LATER, mentions=["own"]),
    like("l", LATER, channel="only of likes"),
    post("edit", LATEST, hashtags=["b"], links=["https://v.example"]),
    undo("c", LATER, kind="comment"),
    undo("c", LATEST, kind="comment", event_id="again"),
    comment("c", hashtags=["conflicting"], channel="z"),
    comment("other", post_id="q", hashtags=["a"]),
]


@pytest.mark.parametrize("memory", [1, 1 << 30])
def test_whatever_leaves_memory_comes_back_with_its_conversations(memory: int) -> None:
    place = Place(memory_bytes=memory)
    for event in STORY:
        place.take(event)
        place.assert_exact()


def test_duplicates_write_all_that_they_wrote_as_new() -> None:
    place = Place().take(*STORY)
    written = set(place.rows())
    for table in ("conversation_posts", "carry_over", "posts"):
        place.database.tables.pop(table)
    place.outbox.cells.clear()
    again = Place(place.database)
    again.take(*STORY)
    again.assert_exact()
    assert again.rows().keys() == written


def test_what_was_reached_is_what_is_stored() -> None:
    place = Place()
    place.take(post(), comment("c", LATER), comment("d", AT))
    lane = int(partitions_of(["p"], OF)[0])
    reached = {("engagement.posts", lane): (microseconds(AT), 1_772_366_340_000)}
    reached["engagement.comments", lane] = (microseconds(LATER), 1_772_366_340_000)
    assert place.job.reached() == reached
    given_up = Event()
    given_up.set()
    assert not place.job.process(place.runs([comment("e", LATEST)]), given_up, lambda: 0.0)
    assert place.job.reached() == reached
    place.job.assign(range(OF), OF)
    assert place.job.reached() == {}


def test_dead_records_move_what_was_received() -> None:
    place = Place()
    run = place.runs([comment("e", LATEST)])[0]
    run.records[0].value = b"{"
    assert place.job.process([run], Event(), lambda: 0.0)
    assert place.job.reached() == {(run.topic, run.partition): (0, 1_772_366_340_000)}


def test_spread_is_written_again_as_the_age_doubles() -> None:
    place = Place().take(post(), share("s", LATER), post("q", post_id="q"), like("l", post_id="q"))

    def shown() -> dict[str, tuple[int, bool]]:
        rows = place.database.rows("post_metrics")
        return {
            row["post_id"]: (row["spread_as_of"] // 60 - MINUTE, row["forecast_shares_next_1h"] > 0) for row in rows
        }

    assert shown() == {"p": (6, True), "q": (1, False)}
    before = {row["post_id"]: row["forecast_shares_next_1h"] for row in place.database.rows("post_metrics")}
    for age, expected in ((9, 6), (10, 10), (19, 10), (45, 40), (45, 40)):
        place.job.advance((MINUTE + age) * 60_000_000 + 59)
        assert shown() == {"p": (expected, True), "q": (1, False)}
    after = {row["post_id"]: row["forecast_shares_next_1h"] for row in place.database.rows("post_metrics")}
    assert after["p"] < before["p"]
    # A later event finds the watermark where it is.
    place.take(share("t", LATEST))
    assert shown()["p"] == (40, True)


class Failing:
    """An outbox whose every second call fails."""

    def __init__(self) -> None:
        self.calls, self.sent = 0, 0

    def send(self, partition: int, value: bytes) -> None:
        self._fail()
        self.sent += 1

    def flush(self) -> None:
        self._fail()

    def _fail(self) -> None:
        self.calls += 1
        if self.calls % 2:
            raise Unavailable("away")


def test_the_job_waits_for_an_outbox_that_is_away() -> None:
    store = FakeStore(Database(), hasher := Hasher())
    outbox = Failing()
    ports = EngagementPorts(store, store, lambda letters: None, hasher, METRICS, outbox)
    job = EngagementJob(ports, JobPolicy(first_wait=0, longest_wait=0))
    job.assign(range(OF), OF)
    assert job.process(Place().runs([post(hashtags=["a"])]), Event(), lambda: 0.0)
    assert outbox.sent >= 1
    assert outbox.calls == 2 * (outbox.sent + 1)


def _texts(values: Sequence[Any]) -> Any:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def test_records_are_of_one_partition_and_bounded() -> None:
    count = 5000
    each, zeros = np.arange(count), np.zeros(count, np.uint32)
    heard = np.tile(np.arange(256, dtype=np.uint64), count)
    cells = Cells(
        conversations=each,
        spots=each,
        partitions=each.astype(np.uint16) % 7,
        minutes=zeros + MINUTE,
        posts=each,
        counts=np.ones((count, len(CELL_COUNTS)), np.uint32),
        channels=zeros,
        voices=Sets(heard, zeros.astype(np.int64) + 256),
        exact=np.ones(count, np.uint8),
        names=_texts([f"hashtag:{number}" for number in range(count)]),
        post_ids=_texts(["é" * 500 + str(number) for number in range(count)]),
        versions=each.astype(np.uint64),
        channel_texts=_texts(["x"]),
    )
    found = list(records_of(cells))
    assert max(len(value) for _, value in found) <= RECORD_BYTES
    seen = []
    for partition, value in found:
        run = CONVERSATION_RUN.validate_json(value)
        assert run["cells"] is not None
        for cell in said_by(run["cells"]):
            assert cell["version"] % 7 == partition
            assert cell["conversation"] == f"hashtag:{cell['version']}"
            assert cell["post_id"].endswith(f"é{cell['version']}")
            assert cell["voices"] == list(range(256))
            seen.append(cell["version"])
    assert sorted(seen) == list(range(count))


def test_the_outbox_opens_its_connection_when_there_is_something_to_send() -> None:
    class Sent(list[Any]):
        def send(self, *arguments: Any, **more: Any) -> None:
            self.append((arguments, more))

        def flush(self, seconds: float | None = None) -> None:
            self.append(seconds)

        def close(self) -> None:
            self.append("closed")

    opened: list[Sent] = []

    def connect() -> Any:
        opened.append(Sent())
        return opened[-1]

    outbox = PartitionProducer("topic", connect)
    outbox.flush()
    outbox.close()
    assert opened == []
    outbox.send(3, b"v")
    outbox.flush()
    outbox.close()
    assert opened[0][0] == (("topic", None, b"v"), {"partition": 3})
    assert opened[0][-1] == "closed"


def test_all_loops_of_a_job_are_compiled_before_it_joins_a_group() -> None:
    load_engagement_kernels()
    for name in ("panes_of", "count_spots", "listen", "own_conversations", "present", "speakers"):
        # In a run of several files others have compiled some already.
        assert getattr(cell_kernels, name).signatures, name

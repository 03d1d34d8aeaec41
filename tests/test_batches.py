"""One batch after the other through the job: what is stored, in which order, and what stays in memory."""

import json
from collections.abc import Iterable
from threading import Event
from typing import Any

import pytest

from pipeline.dead_letters import DeadLetter
from pipeline.errors import Refused, Unavailable
from pipeline.observability.metrics import WorkerMetrics
from processors.columnar.hashing import Hasher
from processors.columnar.partitioning import partitions_of
from processors.engagement.fold import hash_index, tables
from processors.engagement.job import EngagementJob, JobPolicy
from processors.engagement.ports import EngagementPorts
from processors.runtime.records import Run
from tests.fakes_store import Database, FakeStore, Faults
from tests.folding import like, undo
from tests.test_job import NOW_MS, Record
from tests.truth import truth_of

OF = 3
P = int(partitions_of(["p"], OF)[0])


class Bench:
    """A job with all partitions on a database, and a list of what it did."""

    def __init__(self, database: Database | None = None, faults: Faults | None = None, **policy: Any) -> None:
        self.database = database or Database()
        self.letters: list[DeadLetter] = []
        self.did: list[str] = []
        self.metrics = WorkerMetrics()
        self.given_up = Event()
        self.offset = 0
        hasher = Hasher()
        self.store = FakeStore(self.database, hasher, faults, self.did.append)
        waits = JobPolicy(first_wait=0.0, longest_wait=0.0, **policy)
        ports = EngagementPorts(self.store, self.store, self.bury, hasher, self.metrics, after_step=self.did.append)
        self.job = EngagementJob(ports, waits)
        self.job.assign(range(OF), OF)

    def bury(self, letters: Iterable[DeadLetter]) -> None:
        self.did.append("bury")
        self.letters.extend(letters)

    def run(self, events: Iterable[dict[str, Any]], partition: int = P, kind: str = "like") -> Run:
        records = []
        for event in events:
            records.append(Record(self.offset, event["post_id"].encode(), json.dumps(event).encode()))
            self.offset += 1
        return Run(f"engagement.{kind}s", kind, partition, records)

    def take(self, *runs: Run) -> bool:
        return self.job.process(runs, self.given_up, lambda: NOW_MS / 1000)

    def row(self, table: str, post_id: str = "p") -> dict[str, Any]:
        return next(row for row in self.database.rows(table) if row["post_id"] == post_id)


def test_steps_in_the_order_of_the_law() -> None:
    bench = Bench()
    assert bench.take(bench.run([like("a"), {"post_id": "p", "no": "event"}]))
    assert bench.did == [
        "retired_since",
        "known",
        "append",
        "bury",
        "events",
        "upsert",
        "upsert",
        "upsert",
        "rows",
        "messages",
    ]
    assert bench.job.judged == (2, 1)


def test_a_brand_new_post_is_never_looked_up_and_a_known_one_once() -> None:
    first = Bench()
    first.take(first.run([like("a")]))
    first.take(first.run([like("b")]))
    second = Bench(first.database)
    second.take(second.run([like("c")]))
    second.take(second.run([like("d")]))
    assert (first.did.count("read"), second.did.count("read")) == (0, 1)
    assert (first.did.count("known"), second.did.count("known")) == (1, 1)
    assert second.row("post_metrics")["likes"] == 4


def test_a_batch_that_is_given_up_leaves_memory_and_can_be_taken_again() -> None:
    bench = Bench()
    bench.take(bench.run([like("a", post_id="p")]))
    run = bench.run([like("b"), like("c")])
    bench.given_up.set()
    assert not bench.take(run)
    assert len(bench.job._state.fold) == 0
    assert bench.row("post_metrics")["likes"] == 1
    bench.given_up.clear()
    assert bench.take(run)
    assert bench.row("post_metrics")["likes"] == 3


def test_a_store_that_is_away_is_asked_again() -> None:
    bench = Bench(faults=Faults({1: "before", 3: "partly", 4: "after", 6: "before", 8: "partly"}))
    bench.take(bench.run([like("a"), like("b"), undo("a")]))
    assert bench.row("post_metrics")["likes"] == 1
    assert bench.metrics.snapshot()["engagement_clickhouse_retries_total"] == 5


def test_what_is_refused_ends_the_batch() -> None:
    bench = Bench()
    bench.bury = lambda letters: (_ for _ in ()).throw(Refused("no"))  # type: ignore[method-assign]
    bench.job._write_dead_letters = bench.bury
    with pytest.raises(Refused):
        bench.take(bench.run([{"post_id": "p"}]))


def test_dead_letters_wait_for_their_store() -> None:
    bench = Bench()
    failures = [Unavailable("away"), Unavailable("away")]

    def bury(letters: Iterable[DeadLetter]) -> None:
        if failures:
            raise failures.pop()
        bench.letters.extend(letters)

    bench.job._write_dead_letters = bury
    assert bench.take(bench.run([{"post_id": "p"}]))
    assert len(bench.letters) == 1


def test_a_record_on_the_wrong_partition_is_dead_and_names_the_cure() -> None:
    bench = Bench()
    wrong = (P + 1) % OF
    bench.take(bench.run([like("a")], wrong))
    assert [letter.field for letter in bench.letters] == ["post_id"]
    assert f"on partition {wrong}, its key belongs on {P} of {OF}" in bench.letters[0].reason
    assert "murmur2" in bench.letters[0].reason
    assert (bench.database.events, len(bench.job._state.fold)) == ([], 0)


@pytest.mark.parametrize("right_first", [True, False])
def test_good_events_of_the_same_post_beside_a_misplaced_one_are_counted(right_first: bool) -> None:
    bench = Bench()
    runs = [bench.run([like("right")]), bench.run([like("wrong")], (P + 1) % OF)]
    bench.take(*(runs if right_first else reversed(runs)))
    assert [letter.value for letter in bench.letters] == [runs[1].records[0].value]
    assert bench.row("post_metrics")["likes"] == 1
    bench.take(bench.run([like("later")], (P + 1) % OF), bench.run([like("later right")]))
    assert (len(bench.letters), bench.row("post_metrics")["likes"]) == (2, 2)


def test_of_two_post_events_of_one_identity_the_first_one_counts() -> None:
    bench = Bench()
    events = [like("p", kind="post", author_id=name, url=name) for name in ("first", "second")]
    for event in events:
        bench.take(bench.run([event], kind="post"))
    assert (bench.row("posts")["author_id"], bench.row("posts")["url"]) == ("first", "first")
    bench.take(bench.run([events[1], like("p2", "2026-03-01T11:00:00Z", kind="post", author_id="third")], kind="post"))
    assert bench.row("posts")["author_id"] == "third"


def test_memory_stays_within_its_budget_and_the_rows_exact() -> None:
    bench = Bench(memory_bytes=200_000)
    events = [like(f"{number}-{n}", post_id=f"p{number}") for n in range(3) for number in range(600)]
    for start in range(0, len(events), 300):
        part = events[start : start + 300]
        owner = partitions_of([event["post_id"] for event in part], OF)
        bench.take(*(bench.run([e for e, o in zip(part, owner, strict=True) if o == n], n) for n in range(OF)))
        assert bench.job._state.fold.bytes <= 200_000
    assert {row["post_id"]: row["likes"] for row in bench.database.rows("post_metrics")} == {
        f"p{n}": 3 for n in range(600)
    }
    assert bench.metrics.snapshot()["engagement_evicted_posts_total"] > 600


def test_a_viral_post_stays_in_memory_while_others_leave_it() -> None:
    bench = Bench(memory_bytes=400_000)
    post_ids = [f"p{number}" for number in range(3_000)]
    place = {post_id: int(n) for post_id, n in zip(post_ids, partitions_of(post_ids, OF), strict=True)}
    viral = next(post_id for post_id in post_ids if place[post_id] == 0)
    bench.take(bench.run([like(f"v{n}", post_id=viral, actor_id=f"a{n}") for n in range(1_600)], 0))
    reads = bench.did.count("read")
    for start in range(0, 3_000, 200):
        part = [like("l", post_id=post_id) for post_id in post_ids[start : start + 200]]
        part.append(like(f"w{start}", post_id=viral))
        bench.take(*(bench.run([e for e in part if place[e["post_id"]] == n], n) for n in range(OF)))
        assert bench.job.memory[0] <= 400_000
    assert bench.metrics.snapshot()["engagement_evicted_posts_total"] > 1_000
    assert bench.did.count("read") == reads, "it was read again"
    found = {row["post_id"]: row["likes"] for row in bench.database.rows("post_metrics")}
    assert found == {**dict.fromkeys(post_ids, 1), viral: 1_616}


def test_a_long_run_is_folded_in_parts() -> None:
    bench = Bench()
    events = [like(f"l{number}", actor_id=f"a{number % 1000}") for number in range(45_000)]
    bench.take(bench.run(events), bench.run(events[:10]))
    row, true = bench.row("post_metrics"), truth_of(events)["p"].metrics()
    assert (row["likes"], row["actors"], bench.did.count("append")) == (true["likes"], true["actors"], 1)


def test_a_full_index_evicts_before_it_overflows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_index, "MOST_ROWS", 2000)
    monkeypatch.setattr(tables, "MOST_ROWS", 2000)
    bench = Bench()
    for number in range(30):
        post_id = f"p{number}"
        owner = int(partitions_of([post_id], OF)[0])
        bench.take(bench.run([like(f"l{n}", post_id=post_id) for n in range(100)], owner))
    assert {row["likes"] for row in bench.database.rows("post_metrics")} == {100}
    assert bench.job._state.fold.events <= 1000

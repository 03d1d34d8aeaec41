"""Retention: whole posts go, at any crash, and never start again from nothing."""

import json
import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.exclusive import exclusive
from pipeline.dead_letters import DeadLetter
from pipeline.errors import CheckFailed, SettingsError, Unavailable
from pipeline.observability.metrics import WorkerMetrics
from pipeline.privacy.erased_hashes import ErasureKey
from pipeline.settings import Settings
from pipeline.topic_reader import TopicRecord
from processors.columnar.hashing import Hasher
from processors.commands import recount
from processors.conversation.days.store import ClickHouseDays
from processors.engagement.job import EngagementJob
from processors.engagement.ports import EngagementPorts
from processors.engagement.read_through import RETIRED_LEASE_SECONDS, RETIRED_LOOK_SECONDS
from processors.engagement.store import ClickHouseLog
from processors.erasure.check import look_for_leftovers
from processors.erasure.command import open_erasure
from processors.erasure.people import People
from processors.retention import hourly
from processors.retention.commands import retain
from processors.retention.hourly import HourlyRetention
from processors.retention.policy import RetentionPolicy
from processors.retention.retention import RETENTION_STEPS, Retention, Retired
from processors.runtime.records import Run
from tests.end_to_end.checks import environment_of
from tests.rolled_days import roll_days

DAY = 86_400
NOW = int(time.time())
OF_POSTS = ("events", "post_minutes", "conversation_posts", "post_history")
AT_ONCE = RetentionPolicy(posts_days=30, quiet_seconds=0, grace_seconds=0)


class House:
    """A database, and the jobs of its workers."""

    def __init__(self, settings: Settings, client: ClickHouse) -> None:
        self.settings, self.client = settings, client
        self.dead: list[DeadLetter] = []
        self.metrics = WorkerMetrics()
        self._offset = 0
        self._logs: list[ClickHouseLog] = []

    def job(self) -> EngagementJob:
        hasher = Hasher()
        log = ClickHouseLog(lambda numpy: ClickHouse(self.settings, numpy=numpy), hasher)
        self._logs.append(log)
        job = EngagementJob(EngagementPorts(log, log, self.dead.extend, hasher, self.metrics))
        job.assign([0], 1)
        return job

    def close(self) -> None:
        for log in self._logs:
            log.close()

    def feed(
        self,
        job: EngagementJob,
        *events: dict[str, Any],
        after: float = 0,
        now: Callable[[], float] | None = None,
    ) -> None:
        """Has the job process these events `after` seconds, or by a clock of the test; in one batch with a clock."""
        runs = []
        for event in events:
            self._offset += 1
            value = json.dumps(event).encode()
            record = TopicRecord("x", 0, self._offset, NOW * 1000, event["post_id"].encode(), value, ())
            runs.append(Run(f"x.{event['kind']}s", event["kind"], 0, [record]))
        for batch in [runs] if now else [[run] for run in runs]:
            assert job.process(batch, Event(), now or (lambda: time.time() + after))

    def rows(self, table: str, post_id: str) -> int:
        found = self.client.select(f"SELECT count() FROM {table} FINAL WHERE post_id = '{post_id}'")
        return int(found[0][0])

    def of(self, post_id: str) -> list[bool]:
        """Whether each of OF_POSTS has rows of the post."""
        return [self.rows(table, post_id) > 0 for table in OF_POSTS]

    def states(self) -> dict[str, str]:
        columns = self.client.select("SELECT post_id, state FROM retired_posts FINAL")
        return dict(zip(*columns, strict=True))

    def retention(self, policy: RetentionPolicy = AT_ONCE, **more: Any) -> Retention:
        return Retention(self.client, self.settings, policy, **more)

    def run(self, wait: Callable[[float], bool] = lambda seconds: True) -> Retired:
        return self.retention().run(NOW, wait)

    def roll_days(self) -> None:
        """Rolls all days before today up."""
        roll_days(self.client, NOW // DAY)

    def recount(self, *arguments: str) -> int:
        result = CliRunner().invoke(recount, [*arguments, "--json"])
        assert result.stdout, result.exception
        found: int = json.loads(result.stdout.splitlines()[0])["differences"]
        if "--check" in arguments:
            assert isinstance(result.exception, CheckFailed) if found else result.exit_code == 0, result.stdout
        return found


def event(post_id: str, kind: str, number: int, days_ago: float, **more: Any) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - days_ago * DAY))
    event_id = post_id if kind == "post" else f"{kind}{number}"
    common = {"event_id": event_id, "kind": kind, "post_id": post_id, "actor_id": f"a{number}", "occurred_at": at}
    return common | {"channel": "bluesky"} | ({"hashtags": ["tag"]} if kind == "post" else {}) | more


OLD = [event("old", "post", 0, 50), event("old", "comment", 1, 49), event("old", "like", 2, 40)]
FRESH = [event("fresh", "post", 0, 49), event("fresh", "comment", 1, 49), event("fresh", "like", 2, 1)]
"""Both have said something in the same minute, under the same hashtag."""

LATE = event("old", "like", 9, 0.5)


@pytest.fixture
def house(tables: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    for name, value in environment_of(tables, {}).items():
        monkeypatch.setenv(name, value)
    with ClickHouse(tables) as client:
        house = House(tables, client)
        house.feed(house.job(), *OLD, *FRESH)
        house.recount()  # adds up the minutes of conversations
        house.roll_days()
        yield house
        house.close()


def assert_gone(house: House) -> None:
    assert house.states() == {"old": "gone"}
    assert house.of("old") == [False] * len(OF_POSTS)
    assert [house.rows(table, "old") for table in ("post_metrics", "posts", "known_posts")] == [1, 1, 1]
    assert house.client.select("SELECT likes, comments FROM post_metrics_v WHERE post_id = 'old'") == [[1], [1]]
    assert house.of("fresh") == [True] * len(OF_POSTS)
    assert house.recount("--check") == 0


def test_whole_posts_go_and_all_else_stays(house: House) -> None:
    minutes = "SELECT conversation, minute, comments, voices FROM conversation_minutes_v ORDER BY ALL"
    days = "SELECT * FROM conversation_days_v ORDER BY conversation, day"
    before, before_days = house.client.select(minutes), house.client.select(days)
    assert house.retention().preview(NOW) == Retired(marked=1, gone=1)
    assert house.states() == {}
    assert house.run() == Retired(marked=1, gone=1)
    assert_gone(house)
    assert house.run() == Retired()
    assert house.recount() == 0
    assert house.client.select(minutes) == before
    assert house.client.select(days) == before_days


def test_days_that_nobody_has_rolled_up_keep_their_rows(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGEMENT_RETENTION_POSTS_DAYS", "30")
    house.client.execute("TRUNCATE TABLE conversation_day_marks")
    ClickHouseDays(house.client).mark([0], 1, NOW // DAY - 45)
    assert house.run() == Retired()
    said = CliRunner().invoke(retain, ["--dry-run"]).stderr
    until = time.strftime("%Y-%m-%d", time.gmtime(NOW - 45 * DAY))
    assert said == f"rows from {until} on stay until workers have rolled the days of conversations up\n"
    house.roll_days()
    assert house.run() == Retired(marked=1, gone=1)
    assert_gone(house)
    assert_gone(house)


def test_a_late_event_is_a_dead_letter_that_says_so(house: House) -> None:
    house.run()
    job = house.job()
    house.feed(job, LATE, event("never seen", "like", 1, 60), event("fresh", "like", 3, 0))
    [letter] = house.dead
    assert (letter.field, letter.offset) == ("post_id", len(OLD) + len(FRESH) + 1)
    assert "the post has gone" in letter.reason
    assert "ENGAGEMENT_RETENTION_POSTS_DAYS" in letter.reason
    assert house.metrics.snapshot()['engagement_events_total{kind="like",outcome="retired"}'] == 1
    assert house.metrics.snapshot()['engagement_events_total{kind="like",outcome="dead"}'] == 0
    assert job.judged[1] == 0
    assert house.rows("events", "never seen") == 1
    house.recount()
    assert_gone(house)


def test_a_worker_that_has_the_post_in_memory_forgets_it(house: House) -> None:
    job = house.job()
    house.feed(job, event("old", "like", 2, 40))  # a duplicate, which brings the post into memory
    house.run()
    house.feed(job, LATE, after=RETIRED_LOOK_SECONDS + 1)
    assert len(house.dead) == 1
    assert_gone(house)


@pytest.mark.parametrize("step", RETENTION_STEPS)
def test_a_run_that_was_killed_is_finished_by_the_next(house: House, step: str) -> None:
    def die(done: str) -> None:
        if done == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        house.retention(after_step=die).run(NOW, lambda seconds: True)
    assert house.recount("--check") == 0
    if step != "floors":
        house.feed(house.job(), LATE)
        assert len(house.dead) == 1
    house.run()
    assert_gone(house)


def test_an_event_that_is_stored_while_the_post_is_marked_keeps_it(house: House) -> None:
    job = house.job()
    house.feed(job, event("old", "like", 2, 40))

    def meanwhile(seconds: float) -> bool:
        house.feed(job, LATE)  # by a worker that has not looked yet
        return True

    assert house.run(meanwhile) == Retired(marked=1, kept=1)
    assert house.states() == {"old": "kept"}
    assert house.rows("events", "old") == len(OLD) + 1
    house.recount()
    house.feed(house.job(), event("old", "like", 10, 0))
    assert not house.dead
    assert house.client.select("SELECT likes FROM post_metrics FINAL WHERE post_id = 'old'") == [[3]]


def test_what_a_cut_off_owner_stores_later_goes_with_the_next_run(house: House) -> None:
    zombie = house.job()
    house.feed(zombie, event("old", "like", 2, 40))
    house.run()
    house.feed(zombie, LATE)  # it does not know
    assert house.rows("events", "old") == 1
    house.feed(house.job(), event("old", "like", 10, 0))
    assert len(house.dead) == 1
    house.recount()
    assert house.recount("--check") == 0
    house.run()
    assert house.states() == {"old": "gone"}
    assert house.of("old") == [False] * len(OF_POSTS)
    assert house.recount("--check") == 0
    assert house.client.select("SELECT likes FROM post_metrics FINAL WHERE post_id = 'old'") == [[2]]


def test_an_owner_that_was_stopped_looks_before_it_stores(house: House) -> None:
    job = house.job()
    house.feed(job, event("old", "like", 2, 40))  # a duplicate, which brings the post into memory
    house.run()
    # The process is stopped between the look at the beginning of a batch and the first row that is stored.
    begun = time.time()
    moments = iter([begun, begun + RETIRED_LEASE_SECONDS + 1])
    house.feed(job, LATE, event("fresh", "like", 3, 0), now=lambda: next(moments, begun + 1000))
    [letter] = house.dead
    assert "the post has gone" in letter.reason
    assert house.client.select("SELECT likes FROM post_metrics FINAL WHERE post_id = 'fresh'") == [[2]]
    house.recount()
    assert_gone(house)


def test_names_leave_the_last_row_of_a_post_that_has_gone(house: House) -> None:
    who = "did:plc:forgotten7xyz"
    naming = {"mentions": [who, "acme"], "links": [f"https://bsky.app/profile/{who}", "https://example.com/kept"]}
    house.feed(house.job(), event("naming", "post", 3, 45, **naming), event("naming", "like", 4, 45))
    house.recount()
    assert house.run().gone == 2
    people, key = People.of([who], None), ErasureKey("0123456789abcdef" * 2)
    for _ in range(2):
        with open_erasure(house.settings, key, people, 30, lambda line: None) as erasure:
            assert erasure.run().refolded == 0
    facts = "SELECT mentions, links FROM posts FINAL WHERE post_id = 'naming'"
    assert house.client.select(facts) == [[["acme"]], [["https://example.com/kept"]]]
    assert house.client.select("SELECT DISTINCT message FROM carry_over") == [["url:https://example.com/kept"]]
    assert house.client.select("SELECT likes FROM post_metrics FINAL WHERE post_id = 'naming'") == [[1]]
    assert look_for_leftovers(house.settings, key, people).flaws == []


def test_old_posts_stay_while_people_are_erased(house: House) -> None:
    with exclusive(house.settings, 0, lambda seconds: False):
        with pytest.raises(Unavailable, match="another program erases people"):
            house.run(lambda seconds: seconds > 1)
        assert house.of("old") == [True] * len(OF_POSTS)
    house.run()
    assert_gone(house)


def test_posts_whose_rows_were_just_written_are_left_alone(house: House) -> None:
    quiet = RetentionPolicy(posts_days=30, grace_seconds=0)
    assert house.retention(quiet).run(NOW, lambda seconds: True) == Retired()
    assert house.retention(quiet).preview(NOW) == Retired()


def test_minutes_and_history_go_by_their_own_age(house: House) -> None:
    policy = RetentionPolicy(conversations_days=45, history_days=45)
    before = house.client.select("SELECT count() FROM conversation_minutes FINAL WHERE minute >= now() - 45 * 86400")
    found = house.retention(policy).run(NOW, lambda seconds: True)
    assert found.conversation_minutes > 0
    assert found.history_rows > 0
    assert found == house.retention(policy).preview(NOW).plus(found)
    assert house.client.select("SELECT count() FROM conversation_minutes FINAL") == before
    assert house.client.select("SELECT count() FROM post_history WHERE as_of < now() - 46 * 86400") == [[0]]
    assert house.recount("--check") == 0
    house.recount()
    assert house.client.select("SELECT count() FROM conversation_minutes FINAL") == before


def test_the_command_says_what_it_would_do_and_needs_a_setting(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CliRunner()
    assert isinstance(runner.invoke(retain).exception, SettingsError)
    monkeypatch.setenv("ENGAGEMENT_RETENTION_POSTS_DAYS", "30")
    monkeypatch.setattr("processors.retention.commands.retention_policy", lambda settings: AT_ONCE)
    assert runner.invoke(retain, ["--dry-run"]).output.startswith("1 posts to be deleted")
    assert house.of("old") == [True] * len(OF_POSTS)
    assert json.loads(runner.invoke(retain, ["--json"]).stdout)["gone"] == 1
    assert_gone(house)


def test_the_owner_of_partition_0_runs_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hourly, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(hourly, "EACH_SECONDS", 0.05)
    runs: list[Retired] = []

    def connect() -> tuple[ClickHouse, Retention]:
        client = ClickHouse(house.settings)
        return client, Retention(client, house.settings, AT_ONCE)

    other, leader = (HourlyRetention(connect, runs.append) for _ in range(2))
    other.assign([1, 2])
    time.sleep(0.3)
    assert not runs
    leader.assign([0, 3])
    until = time.monotonic() + 60
    while len(runs) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    leader.close()
    other.close()
    assert sum(run.gone for run in runs) == 1
    assert_gone(house)


def test_many_retired_posts_are_compared_slice_by_slice(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.retention.retention._SLICE_POSTS", 10)
    house.client.execute(
        "INSERT INTO retired_posts (post_id, as_of, state) "
        "SELECT toString(number), toDateTime(60), 'gone' FROM numbers(35)"
    )
    assert house.retention().preview(NOW).marked == 1
    assert house.run() == Retired(marked=1, gone=1)
    house.client.execute("DELETE FROM retired_posts WHERE post_id != 'old'")
    assert_gone(house)

"""The Mastodon source against a local server that answers as Mastodon does, also badly."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mastodon_server import MastodonWorld, mastodon_server
from mutations import mutated

from pipeline.errors import Refused, SettingsError, Unavailable
from producers.mastodon.api import MastodonApi
from producers.mastodon.counters import CounterState
from producers.mastodon.polling import MastodonSource, PollPolicy
from producers.mastodon.streaming import StreamItem
from producers.mastodon.tracked import TrackedStatuses
from producers.source import IDLE, BadInput, SourceRecord

PUBLIC = PollPolicy(("public",), interval=60, rounds=1)
NOW = 1_767_300_000.0
"""Some hours after the first statuses of a world."""

Event = dict[str, Any]
Run = Callable[..., list[Event]]


@pytest.fixture
def world() -> MastodonWorld:
    return MastodonWorld()


@pytest.fixture
def server(world: MastodonWorld) -> Iterator[str]:
    with mastodon_server(world) as address:
        yield address


@pytest.fixture
def run(server: str, tmp_path: Path) -> Run:
    """Runs one round at a time, and returns its events; bad inputs only with `bad`."""

    def round_at(now: float = NOW, policy: PollPolicy = PUBLIC, saves: bool = True, bad: Any = None) -> list[Event]:
        tracked = TrackedStatuses(tmp_path / "state.sqlite")
        source = MastodonSource(MastodonApi(server), tracked, policy, clock=lambda: now, sleep=lambda _: None)
        items = list(source.items())
        if saves:
            source.save_position()
        tracked.close()
        flaws = [item for item in items if isinstance(item, BadInput)]
        assert bad is not None or not flaws, flaws
        if bad is not None:
            bad += flaws
        return [json.loads(item.value or b"") for item in items if isinstance(item, SourceRecord)]

    return round_at


def live(events: list[Event], kind: str) -> Counter[str]:
    """Returns how many events of a kind count, by post."""
    there = {(event["post_id"], event["event_id"]) for event in events if event["kind"] == kind and "event_id" in event}
    gone = {
        (event["post_id"], event["target_id"]) for event in events if event["kind"] == kind and "target_id" in event
    }
    return Counter(post for post, _ in there - gone)


def test_a_status_is_a_post_and_an_answer_a_comment(world: MastodonWorld, run: Run) -> None:
    first = world.write("ana", tags=[{"name": "Acme"}], card={"url": "https://acme.example/x"})
    answer = world.write("bob", answers=first, mentions=[{"acct": "ana"}])
    world.write("eve", answers=answer)
    post, comment, deeper = run()
    base = "https://server.example"
    assert post == {
        "kind": "post",
        "event_id": f"{base}/users/ana/statuses/1",
        "post_id": f"{base}/users/ana/statuses/1",
        "actor_id": f"{base}/users/ana",
        "occurred_at": "2026-01-01T00:01:00.000000Z",
        "channel": "mastodon",
        "url": f"{base}/@ana/1",
        "hashtags": ["Acme"],
        "followers": 10,
        "links": ["https://acme.example/x"],
    }
    assert (comment["kind"], comment["post_id"], comment.get("parent_id")) == ("comment", post["post_id"], None)
    assert comment["mentions"] == ["ana"]
    assert (deeper["post_id"], deeper["parent_id"]) == (post["post_id"], comment["event_id"])


def test_counters_become_likes_and_shares_without_actor(world: MastodonWorld, run: Run) -> None:
    status = world.write(favourites_count=3, reblogs_count=1)
    uri = world.statuses[status]["uri"]
    events = run()
    assert live(events, "like") == {uri: 3}
    assert live(events, "share") == {uri: 1}
    assert all(event["actor_id"] is None for event in events if event["kind"] in ("like", "share"))
    for minutes, likes in ((70, 5), (200, 2), (500, 4), (900, 4), (1500, 0)):
        world.statuses[status]["favourites_count"] = likes
        events += run(NOW + minutes * 60)
        assert live(events, "like") == ({uri: likes} if likes else {})
    names = [event["event_id"] for event in events if event["kind"] == "like" and "event_id" in event]
    assert len(names) == len(set(names)) == 3 + 2 + 2


def test_a_run_that_was_cut_off_makes_the_same_events_again(world: MastodonWorld, run: Run) -> None:
    first = world.write(favourites_count=2)
    world.write("bob", answers=first)
    lost = run(saves=False)
    assert run() == lost
    assert run() == []


def test_what_was_sent_before_a_crash_is_taken_back_although_the_server_forgot(world: MastodonWorld, run: Run) -> None:
    first = world.write(favourites_count=5)
    gone = world.write("bob", answers=first)
    sent = run(saves=False)  # killed behind the last record, before its ack was noted
    world.statuses[first]["favourites_count"] = 2
    del world.statuses[gone]
    again = run(NOW + 7200)
    assert again[: len(sent)] == sent, "the outbox is sent again"
    assert live(again, "like") == {world.statuses[first]["uri"]: 2}
    assert live(again, "comment") == {}
    assert run(NOW + 7200) == []


@pytest.mark.parametrize("sent", range(8))
def test_a_record_leaves_the_outbox_with_its_ack(world: MastodonWorld, server: str, tmp_path: Path, sent: int) -> None:
    world.write(favourites_count=3)
    world.write(favourites_count=2)
    runs = []
    for number in range(2):
        tracked = TrackedStatuses(tmp_path / "state.sqlite")
        source = MastodonSource(MastodonApi(server), tracked, PUBLIC, clock=lambda: NOW, sleep=lambda _: None)
        records = []
        for item in source.items():
            records.append(item)
            if number == 0 and len(records) == sent:
                source.save_position()
                break
        runs.append(records)
        tracked.close()
    assert len(runs[0][:sent] + runs[1]) == 7


def test_answers_are_read_where_their_number_grows(world: MastodonWorld, run: Run) -> None:
    first = world.write()
    run(policy=PollPolicy(("account/ana",), rounds=1))
    answer = world.write("bob", answers=first)
    world.write("eve", answers=answer, visibility="private")
    world.write("kim", answers=answer)
    [one, other] = run(NOW + 7200, PollPolicy(("account/ana",), rounds=1))
    assert [one["actor_id"][-3:], other["actor_id"][-3:]] == ["bob", "kim"]
    assert "parent_id" not in one
    assert other["parent_id"] == one["event_id"]
    assert run(NOW + 7200, PollPolicy(("public",), rounds=1)) == []


def test_a_deleted_status_is_taken_back(world: MastodonWorld, run: Run) -> None:
    first = world.write()
    answer = world.write("bob", answers=first)
    _, comment = run()
    del world.statuses[answer]
    [gone] = run(NOW + 7200)
    assert (gone["action"], gone["kind"], gone["target_id"]) == ("retract", "comment", comment["event_id"])
    assert gone["post_id"] == comment["post_id"]


def test_only_what_everybody_may_see_is_read(world: MastodonWorld, run: Run) -> None:
    for visibility in ("private", "direct", "unlisted"):
        world.write(visibility=visibility)
    assert [event["post_id"][-1] for event in run()] == ["3"]


def test_a_boost_is_left_to_the_counter(world: MastodonWorld, run: Run) -> None:
    first = world.write(reblogs_count=1)
    world.write("bob", reblog=world.statuses[first])
    events = run()
    assert [event["kind"] for event in events] == ["post", "share"]


@pytest.mark.parametrize("knows_batches", [True, False])
def test_servers_of_before_and_after_batches(world: MastodonWorld, run: Run, knows_batches: bool) -> None:
    world.knows_batches = knows_batches
    statuses = [world.write() for _ in range(45)]
    assert len(run(policy=PollPolicy(("public",), rounds=1))) == 40, "the newest page"
    for status in statuses:
        world.statuses[status]["favourites_count"] = 1
    assert len(live(run(NOW + 9000), "like")) == 40


def test_pages_are_read_until_the_newest(world: MastodonWorld, run: Run) -> None:
    world.write()
    run()
    for _ in range(95):
        world.write()
    assert Counter(event["kind"] for event in run(NOW + 9000)) == {"post": 95}


@pytest.mark.parametrize("failure", [(500, b"x"), (503, b"{}"), (200, b'{"a": 1}'), (200, b"[1]"), (200, b"<html>")])
def test_an_answer_that_fails_loses_nothing(
    world: MastodonWorld, server: str, tmp_path: Path, failure: tuple[int, bytes]
) -> None:
    world.write(favourites_count=2)
    tracked = TrackedStatuses(tmp_path / "state.sqlite")
    api = MastodonApi(server)
    api.timeline("public", None)
    world.failures = [failure]
    now = [NOW]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    source = MastodonSource(api, tracked, PUBLIC, clock=lambda: now[0], sleep=sleep)
    events = [json.loads(item.value or b"") for item in source.items() if isinstance(item, SourceRecord)]
    tracked.close()
    assert [event["kind"] for event in events] == ["post", "like", "like"]
    assert source.notes["failed_rounds"] == 1
    assert now[0] >= NOW + 120, "it waits longer than a round"


def test_a_refusal_ends_the_run(world: MastodonWorld, server: str) -> None:
    api = MastodonApi(server)
    api.timeline("public", None)
    world.failures = [(403, b'{"error": "This method requires an authenticated user"}')]
    with pytest.raises(Refused, match="token"):
        api.timeline("public", None)


def test_the_server_is_told_who_asks_and_its_robots_txt_is_honoured(world: MastodonWorld, server: str) -> None:
    MastodonApi(server).timeline("public", None)
    assert all(agent.startswith("engagement-pipeline/") for agent in world.agents)
    world.robots = "User-agent: *\nDisallow: /api/\n"
    with pytest.raises(Refused, match=r"robots\.txt"):
        MastodonApi(server)
    world.robots = "User-agent: engagement-pipeline\nDisallow: /\n\nUser-agent: *\nAllow: /\n"
    with pytest.raises(Refused, match=r"robots\.txt"):
        MastodonApi(server)


@pytest.mark.parametrize("name", ["", "ftp://x.example", "https://user:secret@x.example"])
def test_a_server_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="--server"):
        MastodonApi(name)


def test_a_server_that_is_away_is_named() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        MastodonApi("http://127.0.0.1:9")


def test_a_state_file_in_use_is_refused(tmp_path: Path) -> None:
    first, second = (TrackedStatuses(tmp_path / "state.sqlite") for _ in range(2))
    first.begin()
    with pytest.raises(Refused, match="--state"):
        second.begin()
    first.close()
    second.begin()
    second.close()


def test_watched_statuses_are_bounded(tmp_path: Path, world: MastodonWorld, server: str) -> None:
    for _ in range(30):
        world.write()
    tracked = TrackedStatuses(tmp_path / "state.sqlite")
    policy = PollPolicy(("public",), most=10, rounds=1)
    list(MastodonSource(MastodonApi(server), tracked, policy, clock=lambda: NOW, sleep=lambda _: None).items())
    assert sorted(int(status.id) for status in tracked) == list(range(21, 31))
    tracked.prune(NOW * 2, 10)
    assert list(tracked) == []
    tracked.close()


@pytest.mark.parametrize("seed", range(20))
def test_a_counter_counts_what_it_was_told(seed: int) -> None:
    chance = random.Random(seed)
    state, counted = CounterState(), set[int]()
    for _ in range(100):
        count = chance.choice((0, chance.randint(0, 5), chance.randint(0, 50)))
        for is_new, number in state.move_to(count):
            assert (number in counted) != is_new
            (counted.add if is_new else counted.remove)(number)
        state = CounterState.load(state.dump())
        assert len(counted) == count == state.count


@pytest.mark.parametrize("seed", range(4))
def test_no_status_ends_a_run(world: MastodonWorld, server: str, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    first = world.write()
    valid = world.statuses[world.write("bob", answers=first, tags=[{"name": "a"}], mentions=[{"acct": "x"}])]
    tracked = TrackedStatuses(tmp_path / "state.sqlite")
    api = MastodonApi(server)

    class Mutated:
        def timeline(self, name: str, after: str | None) -> list[Any]:
            page = [mutated(dict(valid), chance) for _ in range(200 if after is None else 0)]
            return [
                (status if isinstance(status, dict) else {}) | {"id": str(100 + place)}
                for place, status in enumerate(page)
            ]

        def statuses(self, ids: Any) -> Any:
            return []

        context = staticmethod(api.context)

    source = MastodonSource(Mutated(), tracked, PUBLIC, clock=lambda: NOW, sleep=lambda _: None)  # type: ignore[arg-type]
    items = list(source.items())
    assert any(isinstance(item, BadInput) for item in items)
    assert all(item.reason for item in items if isinstance(item, BadInput))
    tracked.close()


class Waiting:
    """A stream whose items are there from the beginning."""

    dropped = 0

    def __init__(self, *items: StreamItem) -> None:
        self._items = list(items)

    def take(self, seconds: float) -> list[StreamItem]:
        taken, self._items = self._items, []
        return taken


def test_what_the_stream_brings_is_sent_at_once(world: MastodonWorld, server: str, tmp_path: Path) -> None:
    first = world.write()
    new = dict(world.statuses[world.write("bob", answers=first)])
    edited = world.statuses[first] | {"favourites_count": 2}
    del world.statuses[new["id"]]
    good: list[StreamItem] = [("update", new), ("edit", edited), ("delete", new["id"]), ("delete", "999")]
    stream = Waiting(*good, ("update", {"visibility": "public"}), ("edit", []))
    now = [NOW]

    def clock() -> float:
        now[0] += 1
        return now[0]

    tracked = TrackedStatuses(tmp_path / "state.sqlite")
    source = MastodonSource(MastodonApi(server), tracked, PollPolicy(("public",), rounds=2), stream, clock)
    world.statuses[new["id"]] = new
    items = [item for item in source.items() if item is not IDLE]
    tracked.close()
    events = [json.loads(item.value or b"") for item in items if isinstance(item, SourceRecord)]
    assert [(event["kind"], event.get("action")) for event in events[-3:]] == [
        ("like", None),
        ("like", None),
        ("comment", "retract"),
    ]
    assert len([item for item in items if isinstance(item, BadInput)]) == 2


def test_the_stream_of_a_server_is_read_and_read_again_after_a_cut(world: MastodonWorld, server: str) -> None:
    status = world.statuses[world.write()]
    said = json.dumps(status).encode()
    world.stream = [b"event: update\ndata: " + said + b"\n\n", b"event: delete\ndata: 7\n\n"]
    world.stream.append(b"event: status.update\ndata: " + said + b"\n\n")
    stream = MastodonApi(server, "token").stream(is_local=False)
    items: list[StreamItem] = []
    end = time.monotonic() + 60
    while len(items) < 3 and time.monotonic() < end:
        items += stream.take(1.0)
    assert [name for name, _ in items] == ["update", "delete", "edit"]
    assert (str(items[0][1]["uri"]), items[1][1]) == (status["uri"], "7")
    assert stream.dropped == 0
    stream.close()
    assert "/api/v1/streaming/public" in world.asked

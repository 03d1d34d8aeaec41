"""The simulation, judged from its records alone by plain Python: repeatable, a social network, and as untidy as
asked."""

import json
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from statistics import mean, median, pvariance
from typing import Any

import pytest
from click.testing import CliRunner
from fakes_kafka import FakeRecordProducer

from pipeline.canonical_url import canonical_url
from pipeline.cli import engagement
from pipeline.errors import SettingsError
from pipeline.kafka.topics import ensure_topics, partition_of
from pipeline.settings import Settings
from pipeline.topic_reader import read_topic
from producers.destinations import FileDestination, KafkaDestination
from producers.sending import SendPolicy, send_all
from producers.simulation.malformed import SPOILERS
from producers.simulation.policy import SHARE_FIELDS, PlantedSpike, SimulationPolicy
from producers.simulation.records import simulated_records
from producers.source import SourceRecord
from producers.sources.replay import ReplaySource
from producers.sources.simulate import SimulationSource
from schemas.events import InvalidEvent, parse_event
from schemas.topics import Topics

CLEAN = SimulationPolicy(events=20_000, posts=300, seed=7, hours=72)
TOPICS = Topics()


@cache
def records_of(policy: SimulationPolicy) -> tuple[SourceRecord, ...]:
    return tuple(simulated_records(policy))


def events_of(policy: SimulationPolicy) -> list[dict[str, Any]]:
    """The good records as JSON, in the order of sending, with `at` as a datetime."""
    events = [json.loads(record.value or b"") for record in records_of(policy) if record.is_event]
    return [{**event, "at": datetime.fromisoformat(event["occurred_at"])} for event in events]


def without_prefix(policy: SimulationPolicy) -> list[str]:
    """The values of the good records in the order of sending, without the prefix of ids, which differs by policy."""
    values = [(record.value or b"").decode() for record in records_of(policy) if record.is_event]
    assert all(policy.name in value for value in values)
    return [value.replace(policy.name, "sim") for value in values]


def adds(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event.get("action") != "retract"]


def test_the_same_seed_gives_the_same_bytes() -> None:
    untidy = replace(CLEAN, events=3000, duplicates=0.05, late=0.02, malformed=0.05, awkward=0.05, out_of_order=0.1)
    assert list(simulated_records(untidy)) == list(simulated_records(untidy))
    assert list(simulated_records(untidy)) != list(simulated_records(replace(untidy, seed=8)))


def test_as_many_events_as_asked_each_once_each_valid() -> None:
    events = events_of(CLEAN)
    assert Counter(event["kind"] == "post" for event in events) == {True: 300, False: 20_000}
    assert (
        len({(event["post_id"], event["kind"], event.get("action"), event["event_id"]) for event in events}) == 20_300
    )
    assert sum(event.get("action") == "retract" for event in events) == 400
    for record, event in zip(records_of(CLEAN), events, strict=True):
        assert parse_event(record.value or b"")["post_id"].encode() == record.key
        assert record.kind == event["kind"]


def test_all_happens_in_its_time_and_is_sent_in_order() -> None:
    times = [event["at"] for event in events_of(CLEAN)]
    assert times == sorted(times)
    assert CLEAN.start <= times[0]
    assert times[-1] <= CLEAN.start + timedelta(hours=CLEAN.hours)


def test_trees_are_trees() -> None:
    events = events_of(CLEAN)
    by_id = {event["event_id"]: event for event in adds(events)}
    depth: dict[str, int] = {}
    for event in adds(events):
        if parent := event.get("parent_id"):
            assert by_id[parent]["post_id"] == event["post_id"]
            assert by_id[parent]["kind"] in ("share", "comment")
            assert by_id[parent]["at"] <= event["at"]
            assert event["kind"] in ("share", "comment")
            depth[event["event_id"]] = depth.get(parent, 1) + 1
    assert max(depth.values()) >= 5
    assert 0.2 < len(depth) / sum(event["kind"] in ("share", "comment") for event in adds(events)) < 0.9


def test_retractions_take_back_what_was_there_by_its_own_actor() -> None:
    events = events_of(CLEAN)
    by_id = {event["event_id"]: event for event in adds(events)}
    for event in events:
        if event.get("action") == "retract":
            target = by_id[event["target_id"]]
            assert [target[name] for name in ("post_id", "kind", "actor_id")] == [
                event[name] for name in ("post_id", "kind", "actor_id")
            ]
            assert event["event_id"] == event["target_id"] + "#undo"
            assert target["at"] <= event["at"]


def test_tails_are_heavy_in_posts_and_in_actors() -> None:
    events = [event for event in events_of(CLEAN) if event["kind"] != "post"]
    for name in ("post_id", "actor_id"):
        sizes = sorted(Counter(event[name] for event in events).values())
        assert sizes[-1] > 12 * median(sizes), name


def test_reactions_excite_one_another() -> None:
    """Of one post, counts per ten minutes vary far more than a Poisson process of the same rate would (variance =
    mean)."""
    minutes: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for event in events_of(CLEAN):
        minutes[event["post_id"]][int(event["at"].timestamp()) // 600] += 1
    largest = max(minutes.values(), key=lambda counts: counts.total())
    counts = [largest[slot] for slot in range(min(largest), max(largest) + 1)]
    assert pvariance(counts) > 3 * mean(counts)


def test_the_evening_is_busier_than_the_morning() -> None:
    flat = replace(CLEAN, events=40_000, posts=2000, hours=24 * 7)
    hours = Counter(event["at"].hour for event in events_of(flat))
    assert sum(hours[hour] for hour in (19, 20, 21)) > 2 * sum(hours[hour] for hour in (7, 8, 9))


def test_there_are_brands_channels_hashtags_and_followers() -> None:
    events = events_of(CLEAN)
    posts = [event for event in events if event["kind"] == "post"]
    assert {"acme", "globex", "initech"} <= {post["actor_id"] for post in posts}
    assert len({event["channel"] for event in events}) >= 4
    assert len({tag for post in posts for tag in post["hashtags"]}) > 20
    assert all(post["followers"] >= 0 and post["url"].startswith("https://") for post in posts)
    assert any(post["mentions"] for post in posts)
    assert any(event.get("hashtags") for event in events if event["kind"] == "comment")


def test_duplicates_are_the_same_bytes_again() -> None:
    found = Counter(record.value for record in records_of(replace(CLEAN, duplicates=0.05)))
    assert Counter(found.values()) == {1: 19_300, 2: 1000}


def test_late_and_out_of_order_ones_come_after_newer_ones() -> None:
    def behind(policy: SimulationPolicy, by: timedelta) -> int:
        newest, count = CLEAN.start, 0
        for event in events_of(policy):
            count += event["at"] < newest - by
            newest = max(newest, event["at"])
        return count

    assert behind(CLEAN, timedelta(0)) == 0
    # Late ones whose hour comes after the end have no newer ones before them by as much.
    assert 250 < behind(replace(CLEAN, late=0.02), timedelta(minutes=59)) <= 400
    assert 1000 < behind(replace(CLEAN, out_of_order=0.1), timedelta(seconds=30)) <= 2000
    assert sorted(without_prefix(replace(CLEAN, late=0.02))) == sorted(without_prefix(CLEAN))


def test_future_ones_are_ahead_of_every_clock() -> None:
    events = events_of(replace(CLEAN, future=0.01))
    assert sum(event["at"] > datetime(2099, 1, 1, tzinfo=UTC) for event in events) == 200


def is_bad(record: SourceRecord) -> bool:
    try:
        event = parse_event(record.value or b"")
    except InvalidEvent:
        return True
    wrong_place = event["post_id"].encode() != record.key or event["kind"] != record.kind
    return wrong_place or bool(record.partition_shift)


def test_each_malformed_one_is_bad_and_the_others_are_not() -> None:
    policy = replace(CLEAN, malformed=0.02)
    bad = [record for record in records_of(policy) if not record.is_event]
    assert len(bad) == 400
    assert all(map(is_bad, bad))
    assert not any(is_bad(record) for record in records_of(policy) if record.is_event)
    assert without_prefix(policy) == without_prefix(CLEAN)


def test_every_flaw_is_one() -> None:
    good = records_of(CLEAN)[400]
    assert not is_bad(good)
    assert [place for place, spoil in enumerate(SPOILERS) if not is_bad(spoil(good, place))] == []


def test_a_planted_spike_stands_out_and_only_there() -> None:
    policy = replace(
        CLEAN, spikes=(PlantedSpike.parse("hashtag:planted@1200x20"), PlantedSpike.parse("mention:acme@900x5"))
    )
    start = int(CLEAN.start.timestamp()) // 60
    planted: Counter[int] = Counter()
    for event in events_of(policy):
        if "planted" in (event.get("hashtags") or ()):
            assert event["kind"] == "comment"
            planted[int(event["at"].timestamp()) // 60 - start] += 1
    assert min(planted) >= 1200
    assert max(planted) < 1230
    assert planted.total() > 80
    assert sum(planted[minute] for minute in range(1200, 1210)) > 0.5 * planted.total()


def test_a_spike_ends_with_the_simulation() -> None:
    last = int(CLEAN.hours * 60) - 1
    policy = replace(CLEAN, spikes=(PlantedSpike.parse(f"hashtag:planted@{last}x90"),))
    minutes = Counter(
        int((event["at"] - CLEAN.start).total_seconds()) // 60
        for event in events_of(policy)
        if "planted" in (event.get("hashtags") or ())
    )
    assert minutes.keys() == {last}
    assert minutes[last] > 60


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"hours": 2.0, "spikes": ("hashtag:x@120x9",)}, "the last minute is 119"),
        ({"hours": 0.01, "spikes": ("hashtag:x@1x9",)}, "the last minute is 0"),
        ({"spikes": ("hashtag:x@5x1.0001",)}, "give a larger FACTOR"),
        ({"events": 0, "late": 0.5}, "--late is a share of --events"),
        ({"events": 0, "out_of_order": 0.5}, "--out-of-order is a share of --events"),
        ({"events": 0, "awkward": 1.0}, "--awkward"),
        ({"retractions": 0.51}, "--retractions 0.51: an event is taken back once"),
        ({"hours": 1e9}, "--hours 1e\\+09 is above 87,660"),
        (
            {"start": datetime(1969, 12, 31, 23, tzinfo=UTC)},
            "--start 1969-12-31T23:00:00.00:00: all of it must lie from",
        ),
        ({"start": datetime(2099, 12, 31, 23, tzinfo=UTC)}, "must lie from 1970 to 2100, or events are dead letters"),
        ({"posts": 0}, "at least one post"),
    ],
)
def test_what_would_do_nothing_is_refused(changes: dict[str, Any], cure: str) -> None:
    spikes = tuple(map(PlantedSpike.parse, changes.pop("spikes", ())))
    with pytest.raises(SettingsError, match=cure):
        list(simulated_records(replace(CLEAN, spikes=spikes, **changes)))


@pytest.mark.parametrize(("events", "retractions"), [(1, 0.02), (2, 0.02), (100, 0.5), (101, 0.5)])
def test_with_any_share_of_retractions_there_are_as_many_events_as_asked(events: int, retractions: float) -> None:
    policy = SimulationPolicy(events=events, posts=3, retractions=retractions)
    assert len(list(simulated_records(policy))) == events + 3


def test_a_spike_that_plants_nothing_says_so() -> None:
    for factor in ("1", "0.5", "0"):
        with pytest.raises(SettingsError, match="above 1"):
            PlantedSpike.parse(f"hashtag:x@5x{factor}")


@pytest.mark.parametrize("share", ["retractions", "duplicates", "late", "future", "malformed"])
def test_the_smallest_share_is_one_event(share: str) -> None:
    few = SimulationPolicy(events=60, posts=5, retractions=0.0)
    changed = [record.value for record in simulated_records(replace(few, **{share: 0.001}))]
    plain = [record.value for record in simulated_records(few)]
    prefixes = replace(few, **{share: 0.001}).name.encode(), few.name.encode()
    assert [value and value.replace(prefixes[0], prefixes[1]) for value in changed] != plain


def test_ids_follow_from_every_option() -> None:
    other: dict[str, Any] = {
        "events": 20_001,
        "posts": 301,
        "seed": 8,
        "start": CLEAN.start + timedelta(seconds=1),
        "hours": 72.5,
        "spikes": (PlantedSpike.parse("hashtag:x@5x9"),),
    } | dict.fromkeys((*SHARE_FIELDS, "retractions"), 0.01)
    assert other.keys() == SimulationPolicy.__dataclass_fields__.keys()
    names = {CLEAN.name, *(replace(CLEAN, **{name: value}).name for name, value in other.items())}
    assert len(names) == 1 + len(other)
    assert replace(CLEAN, hours=72.0, start=CLEAN.start.astimezone(timezone(timedelta(hours=2)))).name == CLEAN.name
    untidy = replace(CLEAN, awkward=0.03, events=2000)
    for record in records_of(untidy):
        event = json.loads(record.value or b"")
        assert event["post_id"].startswith(untidy.name + "-")
        assert event["kind"] != "post" or event["event_id"] == event["post_id"] + "#post"


def test_posts_carry_links_and_quotes_and_authors_come_back() -> None:
    posts = [event for event in events_of(SimulationPolicy()) if event["kind"] == "post"]
    at = {post["post_id"]: post["at"] for post in posts}
    stories: defaultdict[str, set[str]] = defaultdict(set)
    for post in posts:
        for link in post.get("links", ()):
            assert link.startswith("https://")
            stories[canonical_url(link) or ""].add(post["channel"])
        if "quotes" in post:
            assert at[post["quotes"]] <= post["at"]
    assert 0.35 < sum("links" in post for post in posts) / len(posts) < 0.65
    assert sum("quotes" in post for post in posts) >= 5
    assert sum(len(channels) > 1 for channels in stories.values()) >= 5, "carried over to other channels"
    by_author = Counter((post["actor_id"], post["channel"]) for post in posts)
    assert sum(count > 10 for count in by_author.values()) >= 2, "enough posts to compare with"
    followers = {(post["actor_id"], post["followers"]) for post in posts}
    assert len(followers) == len({author for author, _ in followers})


def test_there_is_no_rush_at_the_end() -> None:
    """The last minutes before "now" are no spike of their own making."""
    minutes = Counter(int((event["at"] - CLEAN.start).total_seconds()) // 60 for event in events_of(CLEAN))
    last, ends = int(CLEAN.hours * 60), [minutes[minute] for minute in range(int(CLEAN.hours * 60) - 5, 4321)]
    before = mean(minutes[minute] for minute in range(last - 180, last - 5))
    assert sum(ends) / 5 < 2 * before
    assert sum(ends) > 0


@pytest.mark.parametrize("said", ["planted@1x2", "hashtag:x", "hashtag:x@5", "hashtag:@5x2", 'hashtag:a"b@5x2'])
def test_a_spike_that_cannot_be_read_says_how(said: str) -> None:
    with pytest.raises(SettingsError, match="hashtag:NAME@MINUTExFACTOR"):
        PlantedSpike.parse(said)


def test_awkward_ones_of_every_sort() -> None:
    events = events_of(replace(CLEAN, awkward=0.03))
    first: dict[tuple[str, str, str], datetime] = {}
    for event in adds(events):
        first.setdefault((event["post_id"], event["kind"], event["event_id"]), event["at"])
    retractions = [event for event in events if event.get("action") == "retract"]
    early, lost, targets = 0, 0, Counter[tuple[str, str, str]]()
    ids = {event["event_id"] for event in adds(events)}
    astray = 0
    for event in retractions:
        target = (event["post_id"], event["kind"], event["target_id"])
        targets[target] += 1
        lost += event["target_id"] not in ids
        astray += target not in first and event["target_id"] in ids
        early += target in first and event["at"] < first[target]
    places = defaultdict(set)
    for event in adds(events):
        places[event["event_id"]].add((event["post_id"], event["kind"]))
    two_kinds = sum(len({kind for _, kind in found}) > len({post for post, _ in found}) for found in places.values())
    two_posts = sum(len({post for post, _ in found}) > 1 for found in places.values())
    assert early >= 90
    assert lost == 100
    assert astray >= 90
    assert sum(count > 1 for count in targets.values()) >= 90
    assert two_kinds >= 80
    assert two_posts >= 80
    assert all(parse_event(record.value or b"") for record in records_of(replace(CLEAN, awkward=0.03)))


def test_a_file_is_replayed_as_it_would_have_been_sent(tmp_path: Path) -> None:
    policy = replace(CLEAN, events=2000, duplicates=0.05, malformed=0.02)
    file = tmp_path / "sim.ndjson"
    with FileDestination(file) as destination:
        written = send_all(SimulationSource(policy), destination)
    direct, replayed = FakeRecordProducer(), FakeRecordProducer()
    for record in records_of(policy):
        if record.is_event:
            to_kafka(direct).add(record)
    summary = send_all(ReplaySource((str(file),)), to_kafka(replayed), SendPolicy(strict=True))
    assert summary.sent == written.sent == Counter(record.kind for record in records_of(policy) if record.is_event)
    assert replayed.sent == direct.sent
    spoilt = [json.loads(line) for line in (tmp_path / "sim.ndjson.malformed").read_text().splitlines()]
    assert len(spoilt) == written.malformed > 10


def to_kafka(producer: FakeRecordProducer) -> KafkaDestination:
    return KafkaDestination(producer, TOPICS, producer.partitions)


def test_a_record_for_the_wrong_partition_lies_there() -> None:
    producer = FakeRecordProducer()
    to_kafka(producer).add(SourceRecord("like", b"p", b"{}", partition_shift=1, is_event=False))
    assert producer.sent[0][1] == (partition_of(b"p", producer.partitions) + 1) % producer.partitions


def test_the_command_writes_ndjson_to_stdout() -> None:
    done = CliRunner().invoke(engagement, ["simulate", "--events", "50", "--posts", "3", "--out", "-"])
    assert done.exit_code == 0, done.output
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 53


@pytest.mark.parametrize(
    "option",
    [
        ["--start", "2026-01-01T00:00:00"],
        ["--start", "2026-01-01T00:00:60Z"],
        ["--late", "2"],
        ["--posts", "0"],
        ["--hours", "nan"],
        ["--hours", "inf"],
        ["--live", "nan"],
        ["--rate", "inf"],
        ["--late", "nan"],
        ["--retractions", "1"],
    ],
)
def test_wrong_use_exits_2(option: list[str]) -> None:
    assert CliRunner().invoke(engagement, ["simulate", "--out", "-", *option]).exit_code == 2


@pytest.mark.stack
def test_into_kafka_and_back(settings: Settings, environment: dict[str, str]) -> None:
    ensure_topics(settings)
    words = ["simulate", "--events", "3000", "--posts", "50", "--seed", "5", "--malformed", "0.02", "--json"]
    words += ["--start", "2026-01-01T00:00:00Z"]
    done = CliRunner(env=environment).invoke(engagement, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    wanted = Counter(
        (record.kind, record.key, record.value)
        for record in simulated_records(SimulationPolicy(3000, 50, 5, malformed=0.02))
    )
    found = Counter(
        (kind, record.key, record.value)
        for kind in ("post", "like", "share", "comment")
        for record in read_topic(settings, settings.topics.of(kind))
    )
    assert found == wanted
    assert json.loads(done.stdout)["total"] == 3050

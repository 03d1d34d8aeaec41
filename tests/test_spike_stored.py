"""The ports of the spike monitor on the real ClickHouse: history, rows, and evidence that proves the numbers of an
alert."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.settings import Settings
from processors.alerts.delivery_store import ClickHouseDeliveryStore
from processors.alerts.ports import GroupRow
from processors.spikes.alert_message import alert_of
from processors.spikes.detection.life import RANKS, Change, open_early
from processors.spikes.evidence import BUSY_RATE, ClickHouseEvidence
from processors.spikes.ports import Evidence
from processors.spikes.store import ClickHouseSpikeStore
from tests.fakes_spikes import START, FakeSpikes, SpikeShelf, monitor_on
from tests.test_spike_state import AT, FIRED, NAME, QUIET

UGLY = "hashtag:it's \\ a\ttest\n"
UNTIL = START + 1500


class StoreFixture(NamedTuple):
    client: ClickHouse
    database: str
    spikes: ClickHouseSpikeStore
    source: ClickHouseEvidence

    def evidence(self, change: Change) -> Evidence:
        [evidence] = self.source.collect([change])
        return evidence

    def post(self, post_id: str, minute: int, comments: int, **other: Any) -> None:
        """Inserts a cell of conversation_posts, by default with a voice per comment."""
        conversation = other.pop("conversation", UGLY)
        voices = other.pop("voices", range(comments))
        row = {
            "conversation": conversation,
            "minute": minute * 60,
            "post_id": post_id,
            "comments": comments,
            "channels": ["x"],
            "voices": sorted(voices),
            "voices_exact": 1,
            "version": 1,
        } | other
        self.client.insert("conversation_posts", {name: [value] for name, value in row.items()})


@pytest.fixture
def store(settings: Settings) -> Iterator[StoreFixture]:
    migrate(settings)
    database = settings.clickhouse_url.database
    with ClickHouse(settings) as client, ClickHouse(settings) as other:
        yield StoreFixture(client, database, ClickHouseSpikeStore(other), ClickHouseEvidence(other, database))


def change_of(state: Any = "opened", scale: int = 5, until: int = UNTIL) -> Change:
    opened = open_early(UGLY, until - 1, 60, 50, FIRED._replace(scale=scale, expected=2.0 * scale))
    ended = None if state != "resolved" else until
    return opened._replace(state=state, rank=RANKS[state], ended=ended)


@pytest.mark.stack
def test_the_evidence_returns_what_the_alert_says(store: StoreFixture, settings: Settings) -> None:
    """Pasted anywhere: without the database of the connection."""
    for number in range(5):
        store.post("p1", UNTIL - 5 + number, 20 + number, comments_retracted=1, posts=1)
        store.post("p2", UNTIL - 5 + number, 3)
    store.post("p1", UNTIL - 2, 50, comments_retracted=1, posts=1, version=2)
    store.post("p1", UNTIL - 6, 999)
    store.post("p1", UNTIL, 999)
    store.post("p1", UNTIL - 1, 999, conversation="hashtag:other")
    alert = alert_of(change_of(), store.evidence(change_of()))
    total = 20 + 21 + 22 + 50 + 24 + 5 * 3
    assert alert["observed"] == pytest.approx(total / 5)
    assert alert["ratio"] == pytest.approx(total / 10)
    assert alert["concentration"] == pytest.approx((total - 15) / total)
    with ClickHouse(settings, database="default") as anywhere:
        assert anywhere.select(alert["evidence"]) == [[alert["observed"]]]
    store.post("p1", UNTIL - 3, 0, comments_retracted=900, version=3)
    less = store.evidence(change_of())
    assert less.observed == pytest.approx((total - 22 - 3) / 5), "no minute counts less than nothing"


@pytest.mark.stack
def test_voices_and_channels_against_the_day_before(store: StoreFixture) -> None:
    """288 spans of 5 minutes: 10 voices in one of them, 20 in another that two posts share."""
    store.post("p", UNTIL - 3, 9, voices=range(100, 109), channels=["x", "y"])
    store.post("q", UNTIL - 2, 9, voices=range(105, 115), channels=["x"])
    store.post("p", UNTIL - 10, 10, voices=range(10))
    store.post("p", UNTIL - 5 - 1440, 15, voices=range(15), channels=["x"])
    store.post("q", UNTIL - 5 - 1440, 15, voices=range(5, 20), channels=["x", "z"])
    store.post("q", UNTIL - 6 - 1440, 15, voices=range(999), channels=["zzz"])
    evidence = store.evidence(change_of())
    assert (evidence.voices, evidence.channels) == (15, 2)
    assert evidence.voices_usual == pytest.approx((10 + 20) / 288)
    assert evidence.channels_usual == pytest.approx((1 + 2) / 288)
    hour = store.evidence(change_of(scale=60))
    assert hour.voices == 25
    assert hour.voices_usual == pytest.approx(999 / 24), "its day began an hour before the spike"


@pytest.mark.stack
def test_voices_of_sketches_are_estimated(store: StoreFixture) -> None:
    """256 smallest of some 5,000 even hashes."""
    step = 2**64 // 5000
    store.post("p", UNTIL - 1, 5000, voices=[step * (n + 1) for n in range(256)], voices_exact=0)
    assert store.evidence(change_of()).voices == pytest.approx(5000, rel=0.15)


@pytest.mark.stack
def test_the_posts_that_made_it_and_their_authors(store: StoreFixture) -> None:
    for number in range(8):
        store.post(f"p{number}", UNTIL - 1, 10 + number)
    store.post("many", UNTIL - 2, 0, posts=90)
    columns = {
        "post_id": ["p7", "p6", "p5"],
        "author_id": ["Ana", "Ana", "Bo"],
        "channel": ["x"] * 3,
        "url": ["https://example.org/7", "", ""],
        "conversations": [["hashtag:a", "author:x/Ana"], ["author:x/Ana"], ["author:x/Bo"]],
        "created_at": [0] * 3,
        "version": [1] * 3,
    }
    store.client.insert("posts", columns)
    evidence = store.evidence(change_of())
    assert evidence.top_posts == ("p7", "p6", "p5", "p4", "p3", "p2", "p1", "p0", "many")
    assert evidence.top_counts == (17, 16, 15, 14, 13, 12, 11, 10, 90)
    assert evidence.top_urls == ("https://example.org/7", "", "", "", "", "", "", "", "")
    assert evidence.top_authors == ("author:x/Ana", "author:x/Bo"), "of the first five"
    assert (evidence.most, evidence.total) == (90, sum(range(10, 18)) + 90)


@pytest.mark.stack
@pytest.mark.parametrize(
    ("posts", "voices", "said"),
    [
        (1, [7], "one loud account: 1 person for 100 comments and posts"),
        (2, [7, 8], "few loud accounts: 2 people for 100 comments and posts"),
        (50, range(100), "many voices: 100 people wrote or shared, usually none"),
    ],
)
def test_one_loud_account_or_many_voices(store: StoreFixture, posts: int, voices: Sequence[int], said: str) -> None:
    for number in range(posts):
        store.post(f"p{number}", UNTIL - 1, 100 // posts, voices=voices)
    reasons = alert_of(change_of(), store.evidence(change_of()))["reasons"]
    assert any(reason.startswith(said) for reason in reasons)
    assert ("one post has 100% of them" in reasons) == (posts == 1)
    assert reasons[0].startswith("100 comments and posts in the 5 minutes up to ")
    assert reasons[0].endswith(" UTC, usually 2 a minute")


@pytest.mark.stack
def test_many_are_asked_about_together_and_each_gets_its_own(store: StoreFixture) -> None:
    """Also two of one conversation, and one whose usual day is looked at in parts: a span an hour."""
    for number in range(3):
        store.post(f"p{number}", UNTIL - 1, 20 + number, conversation=f"hashtag:{number}")
        store.post(f"p{number}", UNTIL - 61, 12, conversation=f"hashtag:{number}")
        store.post(f"p{number}", UNTIL - 90, 12, conversation=f"hashtag:{number}", voices=range(100, 112))
    changes = [change_of()._replace(conversation=f"hashtag:{number}") for number in range(3)]
    changes += [changes[1]._replace(seen_until=UNTIL - 60), changes[2]._replace(expected=BUSY_RATE)]
    together = store.source.collect(changes)
    assert together == [store.evidence(change) for change in changes]
    assert [evidence.observed * 5 for evidence in together] == [20, 21, 22, 12, 22]
    assert [evidence.top_posts for evidence in together] == [("p0",), ("p1",), ("p2",), ("p1",), ("p2",)]
    usual = [evidence.voices_usual for evidence in together]
    assert usual == pytest.approx([24 / 288, 24 / 288, 24 / 288, 12 / 288, 12 / 24])
    assert store.source.collect([]) == []


@pytest.mark.stack
def test_what_is_too_much_for_the_server_is_left_out_with_a_reason(store: StoreFixture, settings: Settings) -> None:
    """The day before it takes more memory than there may be; the alert says all but that. Nothing is tried for ever."""
    for number in range(200):
        store.post("p", UNTIL - 10 - number, 0, voices=range(number << 32, (number << 32) + 4000))
    store.post("p", UNTIL - 1, 30)
    store.post("p", UNTIL - 1, 30, conversation="hashtag:small")
    changes = [change_of(), change_of()._replace(conversation="hashtag:small")]
    with ClickHouse(settings) as client:
        large, small = ClickHouseEvidence(client, store.database, (2, 15_000_000)).collect(changes)
        alert = alert_of(changes[0], large)
        assert (large.observed, large.voices, large.top_posts) == (6.0, 30, ("p",))
        assert large.voices_usual is None
        assert "many voices: 30 people wrote or shared" in alert["reasons"]
        assert "how many voices are usual is not known: ClickHouse ran out of memory or time" in alert["reasons"]
        assert small == store.evidence(changes[1]), "nobody else's fault"
        [nothing] = ClickHouseEvidence(client, store.database, (2, 1)).collect([change_of()])
    alert = alert_of(change_of(), nothing)
    assert alert["observed"] == change_of().seen / 5
    assert len(nothing.missing) == 4
    assert set(nothing.missing) < set(alert["reasons"])
    assert not any("voices:" in reason or "account" in reason for reason in alert["reasons"])


@pytest.mark.stack
def test_of_nothing_there_are_no_facts(store: StoreFixture) -> None:
    alert = alert_of(change_of("resolved"), store.evidence(change_of("resolved")))
    assert (alert["observed"], alert["voices"], alert["concentration"], alert["top_posts"]) == (0.0, 0, 0.0, [])


@pytest.mark.stack
def test_a_conversation_without_a_usual_count_says_what_was_seen_before(store: StoreFixture) -> None:
    """Two comments 27 days ago and 40 now; none at all; a usual of one a day is a usual."""
    store.post("p", UNTIL - 1, 40)
    day = UNTIL - 5 - 27 * 1440
    closed = {"minute": [day * 60, (day + 5) * 60, (UNTIL - 2) * 60, (day - 3 * 1440) * 60], "count": [1, 1, 40, 99]}
    store.client.insert("conversation_closed", {"conversation": [UGLY] * 4, "closed_at": [0] * 4, **closed})
    change = change_of()._replace(started=UNTIL - 5, expected=4.18e-08)
    alert = alert_of(change, store.evidence(change))
    assert (alert["ratio"], alert["seen_before"], alert["seen_days"]) == (None, 2, 27.0)
    assert alert["reasons"][0].endswith(", usually none: 2 in the last 27 days")
    new = change._replace(conversation="hashtag:new")
    alert = alert_of(new, store.evidence(new))
    assert (alert["ratio"], alert["seen_before"], alert["seen_days"]) == (None, 0, 28.0)
    daily = alert_of(change._replace(expected=1 / 1440), store.evidence(change._replace(expected=1 / 1440)))
    assert (daily["ratio"], daily["seen_before"]) == (pytest.approx(8 * 1440), None)
    assert daily["reasons"][0].endswith(", usually 1 a day")


@pytest.mark.stack
def test_rows_are_read_as_they_were_saved_also_by_the_alert_agent(store: StoreFixture) -> None:
    change = change_of()
    alert = alert_of(change, store.evidence(change))
    resolved = change_of("resolved")._replace(as_of=UNTIL + 20)
    last = alert_of(resolved, store.evidence(resolved))
    store.spikes.save([alert], [change.version])
    [stored] = store.spikes.spikes({0: UNTIL}, 1, UNTIL)
    assert (stored.spike_id, stored.conversation, stored.version) == (change.spike_id, UGLY, change.version)
    assert (stored.started, stored.as_of, stored.order) == (change.started, change.as_of, change.order)
    assert (stored.state, stored.is_sent, stored.scale) == ("opened", False, 5)
    assert stored.expected == change.expected
    store.spikes.save([last, alert], [resolved.version | 1, change.version | 1])
    assert store.spikes.spikes({0: UNTIL}, 1, UNTIL + 21) == []
    assert [(each.state, each.is_sent) for each in store.spikes.spikes({0: UNTIL}, 1, 0)] == [("resolved", True)]
    assert store.spikes.spikes({1: UNTIL}, 2, 0) + store.spikes.spikes({0: UNTIL}, 2, 0) != []
    assert ClickHouseDeliveryStore(store.client).spikes(0) == [last]


@pytest.mark.stack
def test_the_past_comes_minute_by_minute_until_each_floor(store: StoreFixture) -> None:
    """And a monitor that loads it from here knows what one knows that loads it from a fake."""
    closings = {(NAME, START + number): count for number, count in enumerate([*QUIET, 60, 60, 60])}
    closings |= {(f"hashtag:{n}", START + AT - n): 1 for n in range(40)} | {("thread:1", START + AT): 7}
    columns = list(zip(*((name, minute * 60, count, 0) for (name, minute), count in closings.items()), strict=True))
    names = ("conversation", "minute", "count", "closed_at")
    store.client.insert("conversation_closed", dict(zip(names, map(list, columns), strict=True)))
    store.client.insert("conversation_closed", dict(zip(names, [[x] for x in (NAME, START * 60, 2, 1)], strict=True)))
    fake = FakeSpikes(SpikeShelf(closings=closings))
    kinds = ("hashtag",)
    for floors in ({0: START + AT + 2}, {0: START + AT - 5, 2: START + AT - 9, 3: 0}, {1: START + 10}):
        for minutes in (10**6, 30):
            found = list(store.spikes.closings(floors, 4, minutes, kinds))
            assert found == list(fake.closings(floors, 4, minutes, kinds))
        assert store.spikes.oldest(floors, 4) == fake.oldest(floors, 4)
    states = []
    for past in (store.spikes, fake):
        monitor = monitor_on(FakeSpikes(SpikeShelf()))
        monitor._history = past
        monitor.load(dict.fromkeys(range(4), START + AT + 2), 4)
        states.append(monitor.state.state())
        assert monitor.state.open_spikes == 1
    assert states[0] == states[1]


@pytest.mark.stack
def test_people_see_the_group_of_each_spike(store: StoreFixture) -> None:
    names = {"a": "hashtag:a", "b": "brand:a", "c": "hashtag:c"}
    changes = [change_of()._replace(spike_id=spike_id, conversation=name) for spike_id, name in names.items()]
    alerts = [alert_of(change, store.evidence(change)) for change in changes]
    store.spikes.save(alerts, [change.version for change in changes])
    deliveries = ClickHouseDeliveryStore(store.client)
    deliveries.save_groups([GroupRow("a", "b", 2), GroupRow("b", "b", 2)])
    rows = store.client.select(
        "SELECT spike_id, conversation, group_id, severity FROM conversation_spikes_v ORDER BY 1"
    )
    assert [list(column) for column in rows][:3] == [["a", "b", "c"], [*names.values()], ["b", "b", "c"]]

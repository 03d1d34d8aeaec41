"""Marks and watermarks (law 8), by hand and by any course of events."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.engagement.watermarks.publisher import WatermarkPublisher
from processors.engagement.watermarks.watermarks import WatermarkPolicy, WatermarkState
from schemas.conversations import CONVERSATION_RUN
from schemas.metrics import MINUTE_US

POLICY = WatermarkPolicy(lateness_seconds=60, idle_seconds=30)
LIKES, SHARES, POSTS = ("likes", 0), ("shares", 0), ("posts", 0)
NOW = 1_000_000.0
NONE = {LIKES: 0, SHARES: 0, POSTS: 0}


def us(seconds: float) -> int:
    return int(seconds * 1e6)


def at(occurred: float, received: float) -> tuple[int, int]:
    return us(occurred), int(received * 1000)


def watermark(state: WatermarkState) -> float | None:
    return state.marks[0]["watermark"] / 1e6 if state.marks else None


def begun(known: float = 0) -> WatermarkState:
    return WatermarkState(POLICY, {0: us(known)}, NOW)


def test_the_least_of_topics_that_have_lag_the_largest_where_none_has() -> None:
    state = begun()
    reached = {LIKES: at(900_000, NOW), SHARES: at(800_000, NOW)}
    state.note(reached, {LIKES: 5, SHARES: 1, POSTS: 0}, NOW)
    assert watermark(state) == 800_000 - 60
    state.note(reached, {LIKES: 5, SHARES: 0, POSTS: 0}, NOW)
    assert watermark(state) == 900_000 - 60
    state.note(reached | {SHARES: at(950_000, NOW)}, NONE, NOW)
    assert watermark(state) == 950_000 - 60


def test_a_topic_with_lag_that_was_not_read_yet_holds_everything() -> None:
    state = begun(known=500)
    state.note({LIKES: at(900_000, NOW)}, {LIKES: 0, SHARES: 7}, NOW)
    assert watermark(state) == 500
    state.note({LIKES: at(900_000, NOW)}, {LIKES: 0, SHARES: None}, NOW + 100)
    assert watermark(state) == 500, "what is not known may be lag"
    state.note({}, {}, NOW + 200)
    assert watermark(state) == 500, "nothing is known of the partition"


def test_an_event_dated_nine_minutes_ahead_counts_as_its_receipt() -> None:
    state = begun()
    state.note({LIKES: at(NOW + 540, NOW)}, NONE, NOW)
    assert watermark(state) == NOW - 60


def test_idle_after_a_while_without_lag_or_record_and_not_before() -> None:
    state = begun()
    state.note({LIKES: at(900_000, NOW)}, NONE, NOW)
    state.note({LIKES: at(900_000, NOW)}, NONE, NOW + 29)
    assert (watermark(state), state.marks[0]["idle"]) == (900_000 - 60, False)
    state.note({LIKES: at(900_000, NOW)}, NONE, NOW + 30)
    assert (watermark(state), state.marks[0]["idle"]) == (NOW + 30 - 60, True)
    state.note({LIKES: at(900_001, NOW + 31)}, NONE, NOW + 31)
    assert (watermark(state), state.marks[0]["idle"]) == (NOW + 30 - 60, False), "it never goes back"
    state.note({}, {LIKES: 1}, NOW + 70)
    state.note({}, NONE, NOW + 99)
    assert not state.marks[0]["idle"], "lag is no rest"


def test_all_read_is_idle_at_once_and_stays_so_until_something_comes() -> None:
    state = begun()
    state.note({LIKES: at(900_000, NOW)}, NONE, NOW, all_read=True)
    assert (watermark(state), state.marks[0]["idle"]) == (NOW - 60, True)
    state.note({LIKES: at(900_000, NOW)}, NONE, NOW + 1)
    assert state.marks[0]["idle"]
    state.note({LIKES: at(900_001, NOW + 2)}, NONE, NOW + 2)
    assert not state.marks[0]["idle"]


def test_partitions_of_others_are_not_ours() -> None:
    state = WatermarkState(POLICY, {0: 0, 3: us(77)}, NOW)
    assert state.least is None
    state.note({("likes", 1): at(900_000, NOW)}, {("likes", 1): 0}, NOW + 100)
    assert state.marks == [{"partition": 3, "watermark": us(77), "idle": False}]
    state.note({}, NONE, NOW + 100)
    assert state.least == us(77)


PLACES = st.sampled_from([(topic, number) for topic in ("likes", "shares") for number in (0, 1)])
STEP = st.tuples(
    st.dictionaries(PLACES, st.tuples(st.integers(0, us(2 * NOW)), st.integers(0, int(2000 * NOW)))),
    st.dictionaries(PLACES, st.sampled_from([None, 0, 0, 0, 3])),
    st.floats(-5, 60),
    st.booleans(),
)


@given(st.lists(STEP, max_size=25))
def test_watermarks_never_go_back(steps: list[Any]) -> None:
    state, now, before = WatermarkState(POLICY, {0: 5, 1: 0}, NOW), NOW, {0: 5, 1: 0}
    for reached, lags, passed, all_read in steps:
        now += passed
        state.note(reached, lags, now, all_read)
        after = {mark["partition"]: mark["watermark"] for mark in state.marks}
        assert all(after.get(number, 0) >= before.get(number, 0) for number in (0, 1))
        assert all(mark < us(now) or mark < us(2 * NOW) for mark in after.values())
        before = after


class FakeOutbox:
    """Acks with the time of its broker."""

    def __init__(self, broker_now: float = NOW) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.flushed = 0
        self.broker_now = broker_now
        self.broker_ms: int | None = None

    def send(self, partition: int, value: bytes) -> None:
        self.sent.append((partition, value))

    def flush(self) -> None:
        if self.flushed < len(self.sent):
            self.broker_ms = int(self.broker_now * 1000)
        self.flushed = len(self.sent)


class FakeShelf:
    def __init__(self, known: dict[int, int], outbox: FakeOutbox) -> None:
        self.known, self._outbox = known, outbox

    def watermarks(self) -> dict[int, int]:
        return self.known

    def upsert(self, table: str, columns: Any) -> None:
        assert table == "source_marks"
        assert self._outbox.flushed == len(self._outbox.sent), "stored before it was sent"
        self.known |= dict(zip(columns["partition"], columns["watermark"], strict=True))


def told(outbox: FakeOutbox) -> list[tuple[int, list[tuple[int, int, bool]]]]:
    found = []
    for partition, value in outbox.sent:
        run = CONVERSATION_RUN.validate_json(value)
        assert run["cells"] is None
        if not run["marks"]:
            continue
        found.append((partition, [(m["partition"], m["watermark"] // MINUTE_US, m["idle"]) for m in run["marks"]]))
    outbox.sent.clear()
    return found


def test_marks_go_to_every_partition_when_a_minute_is_passed() -> None:
    outbox = FakeOutbox()
    shelf = FakeShelf({0: us(600), 1: us(999_999)}, outbox)
    publisher = WatermarkPublisher(POLICY, shelf, outbox)
    publisher.note({}, {}, NOW, False)
    assert told(outbox) == [], "no partitions are ours"
    publisher.assign([0], 3)
    publisher.note({}, {LIKES: 3}, NOW, False)
    assert told(outbox) == [(number, [(0, 10, False)]) for number in range(3)], "once, whatever was told before"
    publisher.note({LIKES: at(700, NOW)}, {LIKES: 0}, NOW, False)
    publisher.note({LIKES: at(719, NOW)}, {LIKES: 0}, NOW + 1, False)
    assert told(outbox) == [], "the same minute"
    publisher.note({LIKES: at(725, NOW)}, {LIKES: 0}, NOW + 2, False)
    assert told(outbox) == [(number, [(0, 11, False)]) for number in range(3)]
    assert shelf.known == {0: us(665), 1: us(999_999)}
    assert publisher.least == us(665)
    publisher.note({LIKES: at(725, NOW)}, {LIKES: 0}, NOW + 3, True)
    assert [marks[0][2] for _, marks in told(outbox)] == [True] * 3
    publisher.assign([0], 3)
    assert publisher.least is None


def test_the_time_is_the_brokers_whatever_the_clocks_here_say() -> None:
    """Nothing comes, so the partition is idle: its watermark is the brokers' time less the lateness. `now` is monotonic
    and says nothing of the date."""
    outbox = FakeOutbox(broker_now=NOW)
    publisher = WatermarkPublisher(POLICY, FakeShelf({}, outbox), outbox)
    publisher.assign([0], 1)
    publisher.note({}, NONE, 50.0, False)
    assert [value for _, value in outbox.sent] == [b'{"cells":null,"marks":[]}'], "it asks the brokers"
    assert told(outbox) == []
    outbox.broker_now = NOW + 31
    publisher.note({}, NONE, 81.0, False)
    (mark,) = CONVERSATION_RUN.validate_json(outbox.sent[-1][1])["marks"]
    assert mark["idle"]
    assert NOW + 31 - 60 - 1 < mark["watermark"] / 1e6 < NOW + 31 - 60, "behind the brokers, never ahead"
    for second in range(1, 4000):
        outbox.broker_now = NOW + 31 + second * 0.9995  # the brokers' clock is a little slower than ours
        publisher.note({}, NONE, 81.0 + second, False)
        for mark in CONVERSATION_RUN.validate_json(outbox.sent[-1][1])["marks"]:
            assert mark["watermark"] / 1e6 <= outbox.broker_now
    assert mark["watermark"] / 1e6 > NOW + 3800


def test_a_stored_watermark_ahead_of_the_brokers_is_left_out() -> None:
    outbox = FakeOutbox()
    shelf = FakeShelf({0: us(4e9), 1: us(NOW - 1)}, outbox)
    publisher = WatermarkPublisher(POLICY, shelf, outbox)
    publisher.assign([0, 1], 2)
    publisher.note({LIKES: at(700, NOW)}, {LIKES: 0, ("likes", 1): 0}, NOW, False)
    assert {marks[0] for _, found in told(outbox) for marks in found} == {0, 1}
    assert shelf.known == {0: us(640), 1: us(NOW - 1)}


def test_no_mark_is_sent_that_would_be_refused() -> None:
    """The brokers' clock was set back by an hour."""
    outbox = FakeOutbox()
    publisher = WatermarkPublisher(POLICY, FakeShelf({}, outbox), outbox)
    publisher.assign([0], 1)
    publisher.note({LIKES: at(NOW - 5, NOW)}, NONE, 10.0, False)
    assert len(told(outbox)) == 1
    outbox.broker_ms = int((NOW - 3600) * 1000)
    publisher.note({LIKES: at(NOW - 5, NOW - 3600)}, NONE, 20.0, True)
    assert told(outbox) == []
    outbox.broker_ms = int((NOW + 100) * 1000)
    publisher.note({LIKES: at(NOW - 5, NOW - 3600)}, NONE, 30.0, True)
    assert len(told(outbox)) == 1


@pytest.mark.parametrize("fails", ["send", "flush", "upsert"])
def test_what_failed_is_said_again(fails: str) -> None:
    outbox = FakeOutbox()
    shelf = FakeShelf({}, outbox)
    publisher = WatermarkPublisher(POLICY, shelf, outbox)
    publisher.assign([0], 1)
    port: Any = shelf if fails == "upsert" else outbox
    port.__dict__[fails] = lambda *_: (_ for _ in ()).throw(ConnectionError)
    with pytest.raises(ConnectionError):
        publisher.note({LIKES: at(725, NOW)}, {LIKES: 0}, NOW, False)
    del port.__dict__[fails]
    outbox.sent.clear()
    publisher.note({LIKES: at(725, NOW)}, {LIKES: 0}, NOW, False)
    assert told(outbox) == [(0, [(0, 11, False)])]
    assert shelf.known == {0: us(665)}

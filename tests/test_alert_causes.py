"""Spikes that one cause made are one alert: whatever the order in which they arrive, over the whole life, and over
restarts of the agent. Truth is who wrote what, not what the code makes of it."""

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import permutations
from random import Random
from typing import Any

import pytest

from processors.alerts.grouping.causes import Causes
from processors.alerts.grouping.matching import have_one_cause
from schemas.alerts import SpikeAlert
from tests.fakes_alerts import NOON, T0, FakeReceiver, config_of, spike, until
from tests.test_alert_agent import Bench, run
from tests.test_alert_delivery_queue import Bench as QueueBench

POST = {"top_posts": ["p", "old"], "top_counts": [390, 4], "observed": 80.0}
"""A post that takes off: 390 of 400 comments."""

CROWD = {
    "top_posts": [f"q{n}" for n in range(20)],
    "top_counts": [2] * 20,
    "observed": 80.0,
}
"""A hashtag that people use on 200 posts: no post has much of it."""


def made(spike_id: str, conversation: str, posts: dict[str, Any], minute: int = 0, **other: Any) -> SpikeAlert:
    """A spike that opened `minute` minutes after noon."""
    other = posts | other
    state, at = other.pop("state", "opened"), other.pop("at", 0)
    return spike(spike_id, state, at, conversation, NOON + timedelta(minutes=minute), **other)


FAMILY = (
    made("a", "author:bluesky/ana", POST, 2, observed=81.0),
    made("t", "thread:p", POST | {"top_posts": ["p"], "top_counts": [390]}, 0, observed=78.0),
    made("h", "hashtag:cats", POST | {"top_counts": [390, 60]}, 5, observed=100.0),
)
TWINS = (made("x", "hashtag:acme", CROWD), made("y", "brand:acme", CROWD), made("z", "hashtag:other", CROWD, 3))
ALONE = made("s", "hashtag:news", {"top_posts": ["n1", "n2"], "top_counts": [30, 20]}, 1)


def told_by(alerts: list[SpikeAlert]) -> tuple[Causes, list[tuple[SpikeAlert, bool]]]:
    """Returns the alerts of groups after these spikes arrive, a second apart."""
    causes, told = Causes(gather=10.0), list[tuple[SpikeAlert, bool]]()
    for second, alert in enumerate(alerts):
        told += causes.add(alert, T0 + second)
    return causes, told + list(causes.open_gathered(T0 + 1e6))


def test_one_post_that_takes_off_is_one_cause_and_so_is_a_hashtag_with_its_brand() -> None:
    for family in (FAMILY, TWINS):
        assert all(have_one_cause(one, other) for one in family for other in family)
    assert not any(have_one_cause(one, other) for one in FAMILY for other in (*TWINS, ALONE))
    assert not any(have_one_cause(ALONE, other) for other in TWINS), "the same minute is no cause"


@pytest.mark.parametrize(
    "other",
    [
        made("b", "hashtag:big", POST | {"top_counts": [390, 60], "observed": 240.0}),  # a third of it is the post
        made("b", "hashtag:other", POST, 90),
        made("b", "hashtag:other", POST | {"top_posts": ["r", "old"]}),
        made("b", "hashtag:other", {"top_posts": [], "top_counts": []}),
        made("b", "hashtag:crowd", CROWD | {"top_posts": ["p", *(f"q{n}" for n in range(19))]}),
    ],
)
def test_what_other_posts_made_or_another_hour_is_another_cause(other: SpikeAlert) -> None:
    assert not have_one_cause(FAMILY[1], other)
    assert not have_one_cause(other, FAMILY[1])


def test_a_spike_that_was_over_before_is_another_cause() -> None:
    over = {**FAMILY[1], "state": "resolved", "ended_at": NOON + timedelta(minutes=20)}
    later = made("l", "hashtag:later", POST, 40)
    assert not have_one_cause(over, later)  # type: ignore[arg-type]
    assert have_one_cause(FAMILY[1], later)


def test_whatever_the_order_each_cause_is_told_once_and_has_the_same_id_and_names() -> None:
    for order in permutations([*FAMILY, ALONE]):
        causes, told = told_by(list(order))
        assert [(alert["state"], is_news) for alert, is_news in told] == [("opened", True)] * 2
        by_id = {alert["group_id"]: alert for alert, _ in told}
        assert set(by_id) == {"t", "s"}, "the thread was first in event time"
        assert by_id["t"]["conversations"] == ["thread:p", "author:bluesky/ana", "hashtag:cats"]
        assert by_id["s"]["conversations"] == ["hashtag:news"]
        rows = {(row.spike_id, row.group_id, row.members) for row in causes.unsaved_rows()}
        assert rows == {("a", "t", 3), ("h", "t", 3), ("t", "t", 3)}


def test_many_at_once_are_grouped_alike_in_any_order() -> None:
    spikes = [
        made(f"{kind}{n}", f"{kind}:{n}", {"top_posts": [f"post{n}"], "top_counts": [400 - n], "observed": 80.0}, n % 7)
        for n in range(300)
        for kind in ("author", "thread", "hashtag")
    ]
    expected = {f"{kind}{n}": f"hashtag{n}" for n in range(300) for kind in ("author", "thread", "hashtag")}
    for seed in range(3):
        Random(seed).shuffle(spikes)
        causes, told = told_by(spikes)
        assert {row.spike_id: row.group_id for row in causes.unsaved_rows()} == expected
        assert len(told) == 300


def test_one_that_joins_a_group_that_was_told_updates_the_alert_and_is_none_of_its_own() -> None:
    causes, told = Causes(gather=2.0), []
    assert causes.add(FAMILY[0], T0) == []
    assert causes.open_gathered(T0 + 1.9) == []
    [(opened, _)] = causes.open_gathered(T0 + 2.0)
    assert (opened["spike_id"], opened["conversations"]) == ("a", ["author:bluesky/ana"])
    for alert in FAMILY[1:]:
        told += causes.add(alert, 60.0)
    assert [(alert["spike_id"], alert["state"], is_news) for alert, is_news in told] == [("a", "opened", False)] * 2
    assert told[-1][0]["conversations"] == ["author:bluesky/ana", "thread:p", "hashtag:cats"]
    assert told[-1][0]["group_id"] == "t"
    assert told[-1][0]["started_at"] == FAMILY[1]["started_at"]


def test_the_past_does_not_wait_for_company() -> None:
    causes = Causes(gather=2.0)
    assert causes.add(FAMILY[0], T0 + 86_400) == []
    assert len(causes.open_gathered(T0 + 86_400)) == 1


def test_a_group_opens_grows_and_ends_once() -> None:
    causes, told = told_by(list(FAMILY[:2]))
    for factor, at in ((2, 6), (4, 9)):
        for member in (FAMILY[1], FAMILY[0]):
            grown = {**member, "state": "grown", "as_of": NOON + timedelta(minutes=at), "observed": 80.0 * factor}
            told += causes.add(grown, 100.0)  # type: ignore[arg-type]
    for member, minute in ((FAMILY[0], 40), (FAMILY[1], 44)):
        end = NOON + timedelta(minutes=minute)
        told += causes.add({**member, "state": "resolved", "as_of": end, "ended_at": end}, 200.0)  # type: ignore[arg-type]
    news = [(alert["spike_id"], alert["state"]) for alert, is_news in told if is_news]
    assert news == [("t", "opened"), ("t", "grown"), ("t", "grown"), ("t", "resolved")]
    assert told[-1][0]["ended_at"] == NOON + timedelta(minutes=44)


def test_a_severity_that_rises_and_a_level_that_doubles_are_growth() -> None:
    """40 a minute were told while the minute was open; it closed with 131."""
    for change, is_growth in (
        ({"observed": 131.0}, True),
        ({"observed": 79.0}, False),
        ({"observed": 41.0, "severity": "critical"}, True),
        ({"observed": 10.0, "severity": "info"}, False),
    ):
        early = spike(observed=40.0)
        causes, [opened] = told_by([early])
        assert opened[0]["state"] == "opened"
        [(alert, is_news)] = causes.add({**early, **change}, 60.0)  # type: ignore[arg-type]
        assert is_news
        assert (alert["state"] == "grown") is is_growth, change
        assert causes.add({**early, **change}, 61.0)[0].alert == alert, "twice is once"  # type: ignore[arg-type]


def test_receivers_of_any_conversation_are_told_once_and_a_late_one_hears_of_the_opening() -> None:
    bench = QueueBench(
        config_of(
            {"cats": {}, "ana": {}},
            routes=[{"match": "hashtag:cats", "to": "cats"}, {"match": "author:*", "to": "ana"}],
        )
    )
    causes, told = told_by([FAMILY[0]])
    for alert, _ in told:
        bench.add(alert)
    bench.run()
    for alert, _ in causes.add(FAMILY[2], 60.0):
        bench.queue.update(alert, bench.now)
    bench.run()
    assert bench.told == [("ana", "a/opened"), ("cats", "a/opened")]


def test_a_group_is_silent_only_where_each_conversation_is() -> None:
    silence = {"until": NOON + timedelta(hours=9), "comment": "known"}
    _, [(alert, _)] = told_by(list(FAMILY))
    for match, tried in (("thread:*", 1), (["thread:*", "author:*", "hashtag:cats"], 0)):
        bench = QueueBench(config_of(silences=[silence | {"match": match}]))
        bench.add(alert)
        assert len(bench.run()) == tried


def test_a_receiver_that_forgets_hears_of_conversations_that_join_with_the_next_repetition() -> None:
    bench = QueueBench(forgetful=("hook",))
    causes, told = told_by([FAMILY[0]])
    bench.add(*(alert for alert, _ in told))
    bench.run()
    for alert, _ in causes.add(FAMILY[1], T0):
        bench.queue.update(alert, bench.now)
    bench.now += 120
    [repeated] = bench.queue.start_due(bench.now)
    assert repeated.is_refresh
    assert repeated.notice.alert["conversations"] == ["author:bluesky/ana", "thread:p"]


# ---------------------------------------------------------------- severity


def test_a_minor_spike_is_recorded_and_its_growth_to_a_warning_is_its_opening() -> None:
    bench = QueueBench(
        config_of(
            {"all": {}, "few": {}},
            routes=[{"match": "*", "to": "all", "min_severity": "info", "continue": True}, {"match": "*", "to": "few"}],
        )
    )
    states = [
        spike(severity="info"),
        spike(state="grown", minute=3, severity="notice"),
        spike(state="grown", minute=9, severity="critical"),
        spike(state="grown", minute=12, severity="critical"),
        spike(state="resolved", minute=30, severity="critical"),
    ]
    for state in states:
        bench.add(state)
        bench.run()
        bench.add(state)
        bench.run()
    told = {name: [key for receiver, key in bench.told if receiver == name] for name in ("all", "few")}
    assert told["all"] == [
        "5f/opened",
        *(f"5f/grown/2026-03-01T12:{minute}Z" for minute in ("03", "09", "12")),
        "5f/resolved",
    ]
    assert told["few"] == ["5f/opened", "5f/grown/2026-03-01T12:12Z", "5f/resolved"]
    assert bench.outcome("opened", "few") == "delivered"
    bench.restart(states[-1])
    assert bench.run(60) == []


def test_a_spike_that_stays_minor_reaches_nobody_also_after_a_restart() -> None:
    bench = QueueBench()
    bench.add(spike(severity="notice"))
    assert bench.run(60) == []
    assert bench.outcome("opened") == "minor: notice"
    bench.restart(spike(state="resolved", minute=9, severity="notice"))
    assert bench.run(60) == []
    assert bench.outcome("resolved") == "untold"
    assert bench.tally.counts["suppressed minor"] == 0, "it was recorded before"


@pytest.mark.parametrize("least", ["info", "notice", "warning", "critical"])
def test_a_route_delivers_from_its_severity_on_and_by_default_from_warning(least: str) -> None:
    levels = ["info", "notice", "warning", "critical"]
    route = {"match": "*", "to": "hook"} | ({} if least == "warning" else {"min_severity": least})
    for number, severity in enumerate(levels):
        bench = QueueBench(config_of(routes=[route]))
        bench.add(spike(severity=severity))
        assert bool(bench.run()) is (number >= levels.index(least)), severity


# ---------------------------------------------------------------- the agent


def test_one_notice_a_cause_over_kills_in_any_order() -> None:
    """Members arrive before and after kills; each cause is opened once and ended once, under one id."""
    rng = Random(5)
    for _ in range(6):
        receiver = FakeReceiver()
        bench = Bench(config_of(), {"hook": receiver})
        states = [
            (rng.random() + rank, {**member, "state": state, "as_of": end, "ended_at": end if rank else None})
            for member in FAMILY
            for rank, state, end in ((0, "opened", member["as_of"]), (1, "resolved", NOON + timedelta(minutes=30)))
        ]

        async def work(bench: Bench = bench, receiver: FakeReceiver = receiver, states: Any = states) -> None:
            await bench.start()
            for _, state in sorted(states, key=lambda each: each[0]):
                await bench.send(state)
                await asyncio.sleep(rng.choice((0.0, 0.1)))
                if rng.random() < 0.4:
                    await bench.kill()
                    await bench.start()
                    await bench.send(state)  # Kafka repeats what was not committed
            await until(lambda: any(key.endswith("/resolved") for key in receiver.took))
            await bench.stop()

        run(work)
        counted = Counter(key.partition("/")[2] for key in set(receiver.took))
        assert (counted["opened"], counted["resolved"]) == (1, 1), receiver.took
        assert len({key.partition("/")[0] for key in receiver.took}) == 1
        assert {row.group_id for row in bench.deliveries.grouped.values()} == {"t"}
        assert set(bench.deliveries.grouped) == {"a", "t", "h"}

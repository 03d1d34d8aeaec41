"""The delivery queue: which notice is due to which receiver, and when. Pure, with a clock of its own."""

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from processors.alerts.config import AlertsConfig
from processors.alerts.deliveries.delivery_queue import DeliveryQueue
from processors.alerts.deliveries.policy import DeliveryPolicy
from processors.alerts.deliveries.rate_bucket import RateBucket
from processors.alerts.fields import Rate
from processors.alerts.ports import Answer, Delivery
from schemas.alerts import AlertState, SpikeAlert
from tests.fakes_alerts import NOON, T0, Tally, config_of, spike

NO = Answer(False, "no")
YES = Answer(True)


class Bench:
    """A delivery queue, the notices that it delivered, and its stored rows."""

    def __init__(self, config: AlertsConfig | None = None, forgetful: tuple[str, ...] = (), **policy: Any) -> None:
        self.config, self.forgetful = config or config_of(), forgetful
        self.policy = DeliveryPolicy(**policy)
        self.now = T0
        self.rows: dict[tuple[str, str, AlertState], Delivery] = {}
        self.told: list[tuple[str, str]] = []
        self.restart()

    def restart(self, *spikes: SpikeAlert) -> None:
        self.tally = Tally()
        self.queue = DeliveryQueue(self.config, self.forgetful, self.tally, Random(1), self.now, self.policy)
        for each in spikes:
            own = [row for row in self.rows.values() if row.spike_id == each["spike_id"]]
            self.queue.restore(each, own, self.now)
        self.save()

    def add(self, *alerts: SpikeAlert) -> None:
        for alert in alerts:
            if alert["spike_id"] not in self.queue:
                own = [row for row in self.rows.values() if row.spike_id == alert["spike_id"]]
                self.queue.restore(alert, own, self.now, is_new_alert=True)
            self.queue.add_alert(alert, self.now)
        self.save()

    def run(self, seconds: float = 0, answer: Answer = YES, step: float = 1) -> list[str]:
        """Sends whatever becomes due for so long; returns the keys that were tried."""
        tried: list[str] = []
        end = self.now + seconds
        while True:
            while due := self.queue.start_due(self.now):
                for each in due:
                    tried.append(each.notice.key)
                    if answer.is_delivered:
                        self.told.append((each.receiver, each.notice.key))
                    self.queue.record_answer(each, answer, self.now)
            self.save()
            if self.now >= end:
                return tried
            self.now += step

    def save(self) -> None:
        for row in self.queue.ledger.unsaved_rows():
            self.rows[row.spike_id, row.receiver, row.state] = row
            self.queue.ledger.mark_saved([row])

    def outcome(self, state: AlertState, receiver: str = "hook", spike_id: str = "5f") -> str:
        return self.rows[spike_id, receiver, state].outcome


def test_each_state_is_told_once_in_the_order_of_its_life() -> None:
    bench = Bench()
    alerts = [
        spike(),
        spike(state="grown", minute=2),
        spike(state="grown", minute=4),
        spike(state="resolved", minute=9),
    ]
    for alert in alerts:
        bench.add(alert, alert)
        bench.run()
    bench.add(*alerts)
    bench.run(100)
    assert [key for _, key in bench.told] == [
        "5f/opened",
        "5f/grown/2026-03-01T12:02Z",
        "5f/grown/2026-03-01T12:04Z",
        "5f/resolved",
    ]
    assert bench.tally.counts["fired grown"] == 2
    assert {bench.outcome(state) for state in ("opened", "grown", "resolved")} == {"delivered"}


def test_a_failure_is_tried_again_later_and_later_with_jitter() -> None:
    bench = Bench()
    bench.add(spike())
    waits: list[float] = []
    for _ in range(9):
        [sent] = bench.queue.start_due(bench.now)
        bench.queue.record_answer(sent, NO, bench.now)
        assert bench.queue.start_due(sent.due - 0.01) == []
        waits.append(sent.due - bench.now)
        bench.now = sent.due
    for number, wait in enumerate(waits):
        longest = min(2.0**number, 30)
        assert longest / 2 <= wait <= longest
    assert len({round(wait / min(2.0**number, 30), 6) for number, wait in enumerate(waits)}) == 9
    bench.save()
    assert bench.rows["5f", "hook", "opened"] == Delivery("5f", "hook", "opened", int(T0) // 60, 9, "no")
    bench.run(60)
    assert bench.rows["5f", "hook", "opened"].attempts == 10
    assert bench.outcome("opened") == "delivered"


def test_whoever_asks_for_patience_gets_it() -> None:
    bench = Bench()
    bench.add(spike())
    assert bench.run(0, Answer(False, "429", wait=120)) == ["5f/opened"]
    assert bench.run(119) == []
    assert bench.run(2) == ["5f/opened"]


def test_what_comes_later_waits_for_what_came_before() -> None:
    bench = Bench()
    bench.add(spike())
    bench.run(0, NO)
    bench.add(spike(state="resolved", minute=1))
    assert set(bench.run(100, NO)) == {"5f/opened"}
    assert bench.run(60) == ["5f/opened", "5f/resolved"]


def test_nothing_overtakes_what_is_on_its_way() -> None:
    bench = Bench()
    bench.add(spike())
    [opened] = bench.queue.start_due(bench.now)
    bench.add(spike(state="grown", minute=1), spike(state="resolved", minute=2))
    assert bench.queue.start_due(bench.now) == []
    bench.queue.record_answer(opened, YES, bench.now)
    assert bench.run() == ["5f/grown/2026-03-01T12:01Z", "5f/resolved"]


def test_a_receiver_that_fails_or_hangs_holds_up_nobody_but_itself() -> None:
    bench = Bench(config_of({"bad": {}, "good": {}}))
    bench.add(*(spike(f"s{number}") for number in range(20)))
    hanging = 0
    for _ in range(10):
        for each in bench.queue.start_due(bench.now):
            if each.receiver == "good":
                bench.queue.record_answer(each, YES, bench.now)
            else:
                hanging += 1
    assert hanging == bench.policy.at_once
    assert bench.queue.count_pending() == {"bad": 20, "good": 0}


def test_it_gives_up_when_a_state_is_old_and_not_before() -> None:
    bench = Bench(give_up={"opened": 7200.0, "grown": 600.0, "resolved": 7200.0})
    bench.add(spike(), spike(state="resolved", minute=5))
    bench.run(7000, NO, step=30)
    assert bench.outcome("opened") == "no"
    bench.run(300, NO, step=30)
    assert bench.outcome("opened") == "gave up: no"
    assert bench.outcome("resolved") == "untold"
    assert bench.run(1000) == []


def test_growth_that_was_not_told_is_superseded_by_more() -> None:
    bench = Bench()
    bench.add(spike())
    bench.run(0, NO)
    bench.add(spike(state="grown", minute=1), spike(state="grown", minute=3), spike(state="grown", minute=2))
    assert bench.run(60) == ["5f/opened", "5f/grown/2026-03-01T12:03Z"]
    assert bench.tally.counts["suppressed superseded"] == 1


# ---------------------------------------------------------------- old, silenced, unrouted


def test_what_is_old_is_recorded_and_never_told() -> None:
    bench = Bench(oldest_config := config_of(oldest="30m"))
    assert oldest_config.oldest == 1800
    bench.now = T0 + 86_400 * 30
    bench.add(spike(), spike(state="grown", minute=3), spike(state="resolved", minute=9))
    assert bench.run(10) == []
    assert [bench.outcome(state) for state in ("opened", "grown", "resolved")] == ["old", "old", "untold"]
    assert bench.tally.counts["suppressed old"] == 2
    bench.restart()
    bench.add(spike())
    assert bench.run(10) == []


def test_what_is_just_young_enough_is_told() -> None:
    bench = Bench(config_of(oldest="30m"))
    bench.now = T0 + 1800
    bench.add(spike())
    assert bench.run() == ["5f/opened"]


def test_a_resolution_goes_to_whoever_was_told_however_old_it_is() -> None:
    bench = Bench()
    bench.add(spike())
    bench.run()
    bench.now += 5 * 3600
    bench.restart(spike(state="resolved", minute=60))
    assert bench.run() == ["5f/resolved"]


def test_a_silence_holds_back_openings_and_growth_not_what_ends() -> None:
    silences = [{"match": "hashtag:a*", "from": NOON, "until": NOON + timedelta(minutes=10), "comment": "known"}]
    bench = Bench(config_of(silences=silences))
    before = spike("old", since=NOON - timedelta(minutes=5))
    bench.now = T0 - 60
    bench.add(before)
    assert bench.run() == ["old/opened"]
    bench.now = T0
    bench.add(
        spike("new"),
        spike("other", conversation="hashtag:b"),
        {**before, "state": "grown"},
        {**before, "state": "resolved", "ended_at": NOON},
    )
    assert sorted(bench.run()) == ["old/resolved", "other/opened"]
    assert bench.outcome("opened", spike_id="new") == "silenced: known"
    bench.now = T0 + 601
    bench.add(spike("new", "grown", 10), spike("new", "resolved", 11))
    assert bench.run() == ["new/grown/2026-03-01T12:10Z", "new/resolved"]


def test_what_no_route_fits_is_counted() -> None:
    bench = Bench(config_of(routes=[{"match": "brand:*", "to": ["hook"]}]))
    bench.add(spike(), spike("b", conversation="brand:x"))
    assert bench.run() == ["b/opened"]
    assert bench.tally.counts["suppressed unrouted"] == 1


# ---------------------------------------------------------------- rate


def test_what_exceeds_the_rate_comes_later() -> None:
    bench = Bench(config_of({"hook": {"rate": "2/minute"}}))
    bench.add(*(spike(f"s{number}") for number in range(5)))
    assert len(bench.run(0)) == 2
    assert len(bench.run(29)) == 0
    assert len(bench.run(1)) == 1
    assert len(bench.run(65)) == 2


def test_what_waits_for_the_rate_is_told_in_its_latest_state_alone() -> None:
    bench = Bench(config_of({"hook": {"rate": "1/minute"}}))
    bench.add(spike("first"), spike(), spike(state="grown", minute=1), spike(state="resolved", minute=2))
    assert bench.run(200) == ["first/opened", "5f/resolved"]
    assert bench.tally.counts["suppressed superseded"] == 2
    assert bench.outcome("opened") == "superseded"
    bench.restart(spike(state="resolved", minute=2))
    assert bench.run(200) == []


def test_after_a_restart_the_latest_state_is_still_told_where_the_rest_was_left_out() -> None:
    bench = Bench(config_of({"hook": {"rate": "1/minute"}}))
    bench.add(spike("first"), spike(), spike(state="resolved", minute=2))
    assert bench.run(0) == ["first/opened"]
    bench.restart(spike(state="resolved", minute=2))
    assert bench.run(0) == ["5f/resolved"]


@pytest.mark.parametrize(("rate", "most"), [(Rate(1, 1.0), 61), (Rate(30, 60.0), 60), (None, 600)])
def test_a_bucket_gives_no_more_than_it_has(rate: Rate | None, most: int) -> None:
    bucket = RateBucket(rate, 0)
    assert sum(bucket.spend(now / 10) for now in range(600)) == most - (rate is not None)


# ---------------------------------------------------------------- restarts


def test_what_was_told_is_not_told_again_and_what_was_not_is() -> None:
    bench = Bench(config_of({"one": {}, "two": {}}))
    bench.add(spike())
    for each in bench.queue.start_due(bench.now):
        bench.queue.record_answer(each, YES if each.receiver == "one" else NO, bench.now)
    bench.save()
    bench.restart(spike())
    bench.add(spike())  # Kafka repeats what was not committed
    assert bench.run(60) == ["5f/opened"]
    assert bench.told == [("two", "5f/opened")]
    assert bench.rows["5f", "two", "opened"].attempts == 2


def test_an_opening_that_was_never_told_is_told_from_what_is_known_of_the_spike() -> None:
    bench = Bench()
    bench.restart(spike(state="resolved", minute=9))
    [opened] = bench.queue.start_due(bench.now)
    alert = opened.notice.alert
    assert (opened.notice.key, alert["as_of"], alert["ended_at"]) == ("5f/opened", NOON, None)
    bench.queue.record_answer(opened, NO, bench.now)
    assert bench.run(60) == ["5f/opened", "5f/resolved"]


def test_words_that_were_meant_replace_those_that_were_made_up() -> None:
    bench = Bench()
    bench.restart(spike(state="resolved", minute=9))
    bench.add(spike(observed=81.0))
    assert [each.notice.alert["observed"] for each in bench.queue.start_due(bench.now)] == [81.0]


def test_what_was_tried_before_the_restart_is_tried_on_though_it_is_old_by_now() -> None:
    bench = Bench()
    bench.add(spike())
    bench.run(0, NO)
    bench.now += 7200
    bench.restart(spike())
    assert bench.run() == ["5f/opened"]


def test_an_agent_that_was_away_for_hours_pages_nobody_for_what_it_missed() -> None:
    bench = Bench()
    bench.now += 7200
    bench.restart(spike())
    assert bench.run() == []
    assert bench.outcome("opened") == "old"


def test_what_is_read_again_after_a_restart_takes_its_place_in_the_spikes_life() -> None:
    bench = Bench()
    bench.restart(spike(state="resolved", minute=9))
    bench.add(spike(state="grown", minute=4))
    assert bench.run() == ["5f/opened", "5f/grown/2026-03-01T12:04Z", "5f/resolved"]


def test_growth_that_is_read_after_the_end_was_told_is_left_out() -> None:
    bench = Bench()
    bench.restart(spike(state="resolved", minute=9))
    assert bench.run() == ["5f/opened", "5f/resolved"]
    bench.add(spike(state="grown", minute=4))
    assert bench.run() == []
    assert bench.outcome("grown") == "superseded"


def test_a_spike_that_has_left_memory_is_not_news_when_it_comes_again() -> None:
    bench = Bench()
    bench.add(spike())
    bench.run()
    bench.restart()
    bench.add(spike())
    assert bench.run() == []
    assert bench.tally.counts["fired opened"] == 0


def test_rows_only_ever_win_over_what_they_know_more_than() -> None:
    bench = Bench()
    versions = []
    bench.add(spike())
    for answer in (NO, YES):
        bench.run(5, answer)
        versions.append(bench.rows["5f", "hook", "opened"].version)
    for minute in (1, 2):
        bench.add(spike(state="grown", minute=minute))
        bench.run(5)
        versions.append(bench.rows["5f", "hook", "grown"].version)
    assert versions[0] < versions[1] < versions[2] < versions[3]
    replayed = Delivery("5f", "hook", "opened", int(T0) // 60, 0, "old")
    assert replayed.version < versions[1]


# ---------------------------------------------------------------- receivers that forget


def test_an_open_spike_is_told_again_and_again_until_it_is_over() -> None:
    bench = Bench(forgetful=("hook",))
    bench.add(spike())
    assert 10 <= len(bench.run(600)) <= 12
    bench.add(spike(state="resolved", minute=10))
    after = bench.run(3600)
    assert set(after) == {"5f/resolved"}
    assert 15 <= len(after) <= 18
    assert bench.run(3600) == []
    assert bench.tally.counts["delivered hook opened"] == 1
    assert bench.rows["5f", "hook", "opened"].attempts == 1


def test_a_receiver_that_remembers_is_told_once() -> None:
    bench = Bench()
    bench.add(spike())
    assert bench.run(600) == ["5f/opened"]


def test_an_open_spike_is_told_again_at_once_after_a_restart() -> None:
    bench = Bench(forgetful=("hook",))
    bench.add(spike())
    bench.run()
    bench.now += 5 * 3600
    bench.restart(spike())
    assert bench.run() == ["5f/opened"]
    assert bench.tally.counts["delivered hook opened"] == 0


def test_a_silenced_spike_is_not_told_again_either() -> None:
    silences = [{"match": "*", "until": NOON + timedelta(days=1), "comment": "x"}]
    bench = Bench(config_of(silences=silences), forgetful=("hook",))
    bench.add(spike())
    assert bench.run(600) == []


def test_what_is_told_again_never_overtakes_nor_is_overtaken() -> None:
    bench = Bench(forgetful=("hook",))
    bench.add(spike())
    bench.run()
    bench.now += 61
    [again] = bench.queue.start_due(bench.now)
    bench.add(spike(state="resolved", minute=1))
    assert bench.queue.start_due(bench.now) == []
    bench.queue.record_answer(again, YES, bench.now)
    assert bench.run() == ["5f/resolved"]


def test_an_open_spike_that_nobody_judges_any_more_is_let_go() -> None:
    bench = Bench(forgetful=("hook",))
    bench.add(spike())
    bench.run()
    assert "5f" in bench.queue
    bench.now += 8 * 86_400
    bench.run(200)
    bench.queue.sweep(bench.now)
    assert "5f" not in bench.queue
    bench.add(spike(state="resolved", minute=60 * 24 * 8))
    assert bench.run() == ["5f/resolved"]


def test_memory_does_not_grow_with_what_is_over() -> None:
    bench = Bench()
    for number in range(50):
        bench.add(spike(f"s{number}"), spike(f"s{number}", "resolved", 1))
    bench.run()
    bench.now += 2 * 3600
    bench.queue.sweep(bench.now)
    assert not any(f"s{number}" in bench.queue for number in range(50))


@pytest.mark.parametrize("seed", range(40))
def test_random_lives_are_told_in_order_at_least_once(seed: int) -> None:
    """Failures, restarts at any time (rows lost or not), repeated records: whoever counts by key misses nothing."""
    rng = Random(seed)
    bench = Bench(config_of({"one": {}, "two": {}}))
    life = [spike(), *(spike(state="grown", minute=m) for m in (1, 2, 3)), spike(state="resolved", minute=4)]
    stored: SpikeAlert | None = None
    for alert in life:
        stored = alert
        bench.add(*rng.choices(life[: life.index(alert) + 1], k=2), alert)
        for _ in range(rng.randrange(6)):
            for each in bench.queue.start_due(bench.now):
                answer = rng.choice((YES, NO))
                if answer is YES or rng.random() < 0.2:  # it came, and the answer was lost
                    bench.told.append((each.receiver, each.notice.key))
                bench.queue.record_answer(each, answer, bench.now)
            if rng.random() < 0.7:
                bench.save()
            if rng.random() < 0.3:
                bench.restart(stored)
            bench.now += rng.uniform(0, 20)
    bench.run(300)
    for receiver in ("one", "two"):
        keys = list(dict.fromkeys(key for to, key in bench.told if to == receiver))
        assert keys[0] == "5f/opened"
        assert keys[-1] == "5f/resolved"
        assert keys == sorted(keys, key=lambda key: (["opened", "grown", "resolved"].index(key.split("/")[1]), key))

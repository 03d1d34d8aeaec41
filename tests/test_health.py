"""Live, ready, stuck: what the worker says of itself."""

from pipeline.observability.health import HealthPolicy, HealthState, WatchdogPolicy, WatchdogState
from pipeline.observability.metrics import (
    WorkerMetrics,
)


def test_a_new_worker_is_live_and_waits_for_its_partitions() -> None:
    report = HealthState().report(0)
    assert (report.live, report.ready) == (True, False)
    assert "no partitions yet" in report.reasons[0]


def test_a_worker_too_many_stands_by_ready() -> None:
    health = HealthState()
    health.note_assignment(0)
    assert health.report(0).ready


def test_a_store_that_is_away_makes_it_unready_not_dead() -> None:
    health = HealthState()
    health.note_assignment(3)
    health.note_away("clickhouse", "connection refused", 10)
    health.note_away("clickhouse", "timed out", 20)
    report = health.report(40)
    assert (report.live, report.ready) == (True, False)
    assert report.reasons == ("waiting for clickhouse since 30 s: timed out",)
    health.note_back("clickhouse")
    assert health.report(41).ready


def test_a_failure_is_final() -> None:
    health = HealthState()
    health.note_assignment(3)
    health.note_failure("fuse blown")
    health.note_back("kafka")
    health.note_failure("something after")
    report = health.report(0)
    assert (report.live, report.ready, report.reasons) == (False, False, ("fuse blown",))


def test_a_silent_event_loop_is_dead() -> None:
    health = HealthState(HealthPolicy(silent_seconds=60))
    health.note_assignment(1)
    assert health.report(1e6).live, "silence is judged from the first beat on"
    health.beat(100)
    assert health.report(160).live
    report = health.report(161)
    assert not report.live
    assert "event loop" in report.reasons[0]
    health.beat(162)
    assert health.report(163).live


def test_what_is_loaded_first_is_said_in_place_of_the_wait_for_partitions() -> None:
    metrics = WorkerMetrics()
    health = HealthState(on_ready=metrics.set_ready)
    for said in ("compiling kernels, 3 of 77", "compiling kernels, 40 of 77"):
        health.note_loading(said)
        report = health.report(0)
        assert (report.live, report.ready, report.reasons) == (True, False, (said,))
    health.note_assignment(1)
    assert not health.report(0).ready
    assert metrics.snapshot()["engagement_ready"] == 0
    health.note_loading(None)
    assert health.report(0).ready
    assert metrics.snapshot()["engagement_ready"] == 1


def test_the_ready_gauge_follows() -> None:
    metrics = WorkerMetrics()
    health = HealthState(on_ready=metrics.set_ready)
    health.note_assignment(1)
    assert metrics.snapshot()["engagement_ready"] == 1
    health.note_away("kafka", "no broker", 0)
    assert metrics.snapshot()["engagement_ready"] == 0


def _watchdog() -> WatchdogState:
    return WatchdogState(WatchdogPolicy(minutes=5))


def test_lag_without_commits_is_stuck_after_its_minutes() -> None:
    watchdog = _watchdog()
    watchdog.note_lag(10, 0)
    watchdog.note_lag(500, 200)
    assert watchdog.stuck(299) is None
    said = watchdog.stuck(300)
    assert said is not None
    assert "500 records" in said
    assert "ENGAGEMENT_STUCK_MINUTES=5" in said


def test_a_commit_starts_the_count_anew() -> None:
    watchdog = _watchdog()
    watchdog.note_lag(10, 0)
    watchdog.note_commit(299)
    assert watchdog.stuck(598) is None
    assert watchdog.stuck(599)


def test_what_comes_before_a_commit_may_take_long_as_long_as_it_goes_forward() -> None:
    watchdog = _watchdog()
    watchdog.note_lag(10, 0)
    for minute in range(20):
        watchdog.note_progress(minute * 60)
        assert watchdog.stuck(minute * 60 + 59) is None
    assert watchdog.stuck(19 * 60 + 300)


def test_without_lag_nothing_is_stuck() -> None:
    watchdog = _watchdog()
    assert watchdog.stuck(1e6) is None
    watchdog.note_lag(10, 0)
    watchdog.note_lag(0, 299)
    watchdog.note_lag(10, 10_000)
    assert watchdog.stuck(10_299) is None
    assert watchdog.stuck(10_300)


def test_time_without_a_store_does_not_count() -> None:
    watchdog = _watchdog()
    watchdog.note_lag(10, 0)
    watchdog.note_away("clickhouse", 100)
    watchdog.note_lag(10_000, 2_000)
    watchdog.note_away("kafka", 3_000)
    watchdog.note_back("clickhouse", 4_000)
    assert watchdog.stuck(10_000) is None, "Kafka is still away"
    watchdog.note_back("kafka", 10_000)
    assert watchdog.stuck(10_199) is None
    assert watchdog.stuck(10_200), "100 s before the outage and 200 s after it"


def test_flapping_stores_do_not_hide_a_stuck_worker() -> None:
    watchdog = _watchdog()
    watchdog.note_lag(10, 0)
    for turn in range(30):
        watchdog.note_away("clickhouse", turn * 20 + 10)
        watchdog.note_back("clickhouse", turn * 20 + 20)
    assert watchdog.stuck(600), "300 of 600 s counted"


def test_a_worker_that_is_in_no_group_is_unready_not_dead() -> None:
    health = HealthState(groups=("", "conversations"))
    health.note_assignment(2)
    health.note_assignment(2, "conversations")
    health.note_outside("not a member of the consumer group e-conversations", "conversations")
    report = health.report(0)
    assert (report.live, report.ready) == (True, False)
    assert report.reasons == ("not a member of the consumer group e-conversations",)
    health.note_member()
    assert not health.report(0).ready, "another group has it"
    health.note_member("conversations")
    assert health.report(0).ready


def test_the_ready_gauge_follows_the_group() -> None:
    metrics = WorkerMetrics()
    health = HealthState(on_ready=metrics.set_ready)
    health.note_assignment(1)
    health.note_outside("not a member")
    assert metrics.snapshot()["engagement_ready"] == 0
    health.note_member()
    assert metrics.snapshot()["engagement_ready"] == 1


def test_a_worker_that_its_group_does_not_have_for_long_is_stuck_without_lag_too() -> None:
    watchdog = WatchdogState(WatchdogPolicy(minutes=5, outside_seconds=120))
    for second in range(0, 120, 3):
        watchdog.note_outside("e-conversations", second)
        watchdog.note_lag(0, second)
        assert watchdog.stuck(second) is None
    reason = watchdog.stuck(120)
    assert reason is not None
    assert "Kafka answers" in reason
    assert "for 120 s" in reason
    assert "consumer group e-conversations" in reason


def test_a_worker_that_was_let_in_again_begins_anew() -> None:
    watchdog = WatchdogState(WatchdogPolicy(outside_seconds=120))
    watchdog.note_outside("e", 0)
    watchdog.note_member(119)
    assert watchdog.stuck(1_000) is None
    watchdog.note_outside("e", 1_000)
    assert watchdog.stuck(1_119) is None
    assert watchdog.stuck(1_120)


def test_time_without_kafka_does_not_count_outside_and_time_without_clickhouse_does() -> None:
    watchdog = WatchdogState(WatchdogPolicy(outside_seconds=120))
    watchdog.note_outside("e", 0)
    watchdog.note_away("kafka", 50)
    assert watchdog.stuck(10_000) is None
    watchdog.note_back("kafka", 10_000)
    watchdog.note_away("clickhouse", 10_001)
    assert watchdog.stuck(10_069) is None
    assert watchdog.stuck(10_070), "50 s before the outage and 70 s after it"


def test_ready_once_every_group_has_spoken() -> None:
    health = HealthState(groups=("", "conversations"))
    health.note_assignment(2, "conversations")
    assert not health.report(0).ready
    health.note_assignment(0)
    assert health.report(0).ready

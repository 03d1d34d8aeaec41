"""Metrics, health, watchdog, logs and the status server: what an operator relies on."""

import json
import logging
import logging.config
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from pipeline.errors import SettingsError
from pipeline.observability.health import HealthPolicy, HealthState, WatchdogPolicy, WatchdogState
from pipeline.observability.httpd import StatusServer
from pipeline.observability.logs import FLOOD_SECONDS, LineFormatter, RateLimit, Redaction, configure_logs, log_config
from pipeline.observability.metrics import (
    FRESHNESS_BOUNDS,
    OUTCOMES,
    REASON_CLASSES_LIMIT,
    STEPS,
    ProducerMetrics,
    WorkerMetrics,
)
from pipeline.settings import Settings
from schemas.topics import KINDS

# ---------------------------------------------------------------- metrics


def test_two_workers_in_one_process_do_not_share_counts() -> None:
    one, other = WorkerMetrics(), WorkerMetrics()
    one.count_events("like", "new", 7)
    assert one.snapshot()['engagement_events_total{kind="like",outcome="new"}'] == 7
    assert other.snapshot()['engagement_events_total{kind="like",outcome="new"}'] == 0


def test_every_series_is_there_before_the_first_event() -> None:
    seen = WorkerMetrics().snapshot()
    assert {f'engagement_events_total{{kind="{k}",outcome="{o}"}}' for k in KINDS for o in OUTCOMES} <= seen.keys()
    assert {f'engagement_step_duration_seconds_count{{step="{step}"}}' for step in STEPS} <= seen.keys()


def test_names_follow_the_conventions() -> None:
    metrics = WorkerMetrics()
    families = [family for family in metrics.registry.collect() if not family.name.startswith("process_")]
    assert len(families) > 15
    for family in families:
        assert family.name.startswith("engagement_")
        assert family.documentation
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        assert not family.name.endswith(("_ms", "_milliseconds", "_minutes"))


def test_a_dead_record_of_no_known_kind_is_unknown() -> None:
    metrics = WorkerMetrics()
    metrics.count_events("dance", "dead", 2)
    assert metrics.snapshot()['engagement_events_total{kind="unknown",outcome="dead"}'] == 2


def test_classes_of_dead_letters_stay_few() -> None:
    metrics = WorkerMetrics()
    for number in range(REASON_CLASSES_LIMIT + 30):
        metrics.count_dead_letters(f"class {number}")
    counts = {name: n for name, n in metrics.snapshot().items() if name.startswith("engagement_dead_letters_total")}
    assert len(counts) == REASON_CLASSES_LIMIT + 1
    assert sum(counts.values()) == REASON_CLASSES_LIMIT + 30
    assert counts['engagement_dead_letters_total{reason_class="other"}'] == 30


def test_lag_of_a_lost_partition_is_no_longer_shown() -> None:
    metrics = WorkerMetrics()
    metrics.set_lag({("engagement.likes", 0): 10, ("engagement.likes", 1): 20})
    metrics.set_lag({("engagement.likes", 1): 5})
    lags = {name: lag for name, lag in metrics.snapshot().items() if "consumer_lag" in name}
    assert lags == {'engagement_consumer_lag{partition="1",topic="engagement.likes"}': 5}


def test_a_step_is_timed_when_it_fails() -> None:
    metrics = WorkerMetrics()
    with pytest.raises(OSError, match="away"), metrics.time_step("store_events"):
        raise OSError("away")
    assert metrics.snapshot()['engagement_step_duration_seconds_count{step="store_events"}'] == 1


def test_freshness_in_bulk_equals_one_observe_a_value() -> None:
    values = [0.0, 0.05, 0.050001, 0.3, 1.99, 2.0, 2.01, 5000.0, *np.random.default_rng(1).exponential(1.0, 500)]
    metrics, registry = WorkerMetrics(), CollectorRegistry()
    plain = Histogram("engagement_event_to_queryable_seconds", "x", buckets=FRESHNESS_BOUNDS, registry=registry)
    for value in values:
        plain.observe(value)
    metrics.observe_freshness(values[:100])
    metrics.observe_freshness(np.array(values[100:]))
    metrics.observe_freshness([])
    seen = metrics.snapshot()
    samples = [s for family in registry.collect() for s in family.samples if not s.name.endswith("_created")]
    assert len(samples) == len(FRESHNESS_BOUNDS) + 3
    for sample in samples:
        name = sample.name + (f'{{le="{sample.labels["le"]}"}}' if sample.labels else "")
        assert seen[name] == pytest.approx(sample.value), name


def test_freshness_quantiles() -> None:
    metrics = WorkerMetrics()
    assert metrics.freshness_quantile(0.99) is None
    metrics.observe_freshness(np.linspace(0.0, 2.0, 20_001))
    assert metrics.freshness_quantile(0.5) == pytest.approx(1.0, abs=0.01)
    assert metrics.freshness_quantile(0.99) == pytest.approx(1.98, abs=0.01)
    metrics.observe_freshness([1e9] * 100_000)
    assert metrics.freshness_quantile(0.99) == FRESHNESS_BOUNDS[-1]


def test_clocks_that_disagree_do_not_turn_the_sum_back() -> None:
    metrics = WorkerMetrics()
    metrics.observe_freshness([-5.0, float("nan"), 1.0])
    seen = metrics.snapshot()
    assert seen["engagement_event_to_queryable_seconds_sum"] == 1.0
    assert seen["engagement_event_to_queryable_seconds_count"] == 2


def test_producer_metrics_add_up() -> None:
    metrics = ProducerMetrics()
    metrics.count_sent("engagement.likes", 3, 600)
    metrics.count_acked("engagement.likes", 2)
    metrics.count_failed("engagement.likes")
    seen = metrics.snapshot()
    assert seen['engagement_producer_records_total{topic="engagement.likes"}'] == 3
    assert seen['engagement_producer_bytes_total{topic="engagement.likes"}'] == 600
    assert seen['engagement_producer_acked_total{topic="engagement.likes"}'] == 2
    assert seen['engagement_producer_failed_total{topic="engagement.likes"}'] == 1


# ---------------------------------------------------------------- health


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


def test_the_ready_gauge_follows() -> None:
    metrics = WorkerMetrics()
    health = HealthState(on_ready=metrics.set_ready)
    health.note_assignment(1)
    assert metrics.snapshot()["engagement_ready"] == 1
    health.note_away("kafka", "no broker", 0)
    assert metrics.snapshot()["engagement_ready"] == 0


# ---------------------------------------------------------------- watchdog


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


# ---------------------------------------------------------------- status server


@pytest.fixture
def health() -> HealthState:
    return HealthState()


@pytest.fixture
def server(health: HealthState) -> Iterator[StatusServer]:
    metrics = WorkerMetrics()
    metrics.count_events("like", "new", 3)
    status = StatusServer("127.0.0.1", 0, metrics, health.report, clock=lambda: 0.0)
    yield status
    status.close()


def _get(url: str, accept: str = "") -> tuple[int, str, str]:
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_metrics_are_served_in_both_formats(server: StatusServer) -> None:
    status, kind, text = _get(server.url + "/metrics?x=1")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    plain = {f.name: f for f in parse_text(text)}
    status, kind, text = _get(
        server.url + "/metrics", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1"
    )
    assert (status, kind.split(";")[0]) == (200, "application/openmetrics-text")
    assert text.endswith("# EOF\n")
    strict = {f.name: f for f in parse_openmetrics(text)}
    assert strict.keys() == plain.keys()
    for families in (plain, strict):
        likes = [
            s.value for s in families["engagement_events"].samples if s.labels == {"kind": "like", "outcome": "new"}
        ]
        assert likes == [3.0]


def test_health_over_http(server: StatusServer, health: HealthState) -> None:
    assert _get(server.url + "/healthz")[0] == 200
    status, kind, text = _get(server.url + "/readyz")
    assert (status, kind) == (503, "application/json")
    assert json.loads(text)["reasons"] == ["no partitions yet: waiting for the consumer group"]
    health.note_assignment(2)
    assert _get(server.url + "/readyz")[0] == 200
    health.note_failure("stuck: 5 records are left")
    status, _, text = _get(server.url + "/healthz")
    assert status == 503
    assert json.loads(text)["reasons"] == ["stuck: 5 records are left"]
    assert _get(server.url + "/nothing")[0] == 404


def test_it_listens_on_the_given_host_alone(server: StatusServer) -> None:
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", server.port), timeout=1):
        pass


def test_a_taken_port_names_the_setting(server: StatusServer) -> None:
    with pytest.raises(SettingsError, match=r"ENGAGEMENT_METRICS_HOST and _PORT.*0 to take any"):
        StatusServer("127.0.0.1", server.port, WorkerMetrics(), HealthState().report)


def test_a_silent_client_does_not_hold_the_server(server: StatusServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert _get(server.url + "/healthz")[0] == 200


def test_close_frees_the_port() -> None:
    first = StatusServer("127.0.0.1", 0, WorkerMetrics(), HealthState().report)
    first.close()
    StatusServer("127.0.0.1", first.port, WorkerMetrics(), HealthState().report).close()


# ---------------------------------------------------------------- logs


def _record(
    message: str, *args: object, name: str = "processors.x", line: int = 1, **extra: object
) -> logging.LogRecord:
    record = logging.LogRecord(name, logging.INFO, "x.py", line, message, args, None)
    record.created = 1_767_225_600.25
    vars(record).update(extra)
    return record


def test_text_lines() -> None:
    line = LineFormatter(as_json=False, redact=Redaction()).format(_record("took %d", 3, partitions=12, topic="likes"))
    assert line == "2026-01-01T00:00:00.250Z INFO processors.x took 3 partitions=12 topic=likes"


def test_json_lines() -> None:
    line = LineFormatter(as_json=True, redact=Redaction()).format(_record('say "hi"\n', partitions=12, level="mine"))
    assert json.loads(line) == {
        "time": "2026-01-01T00:00:00.250Z",
        "level": "INFO",
        "logger": "processors.x",
        "message": 'say "hi"\n',
        "partitions": 12,
        "level_": "mine",
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_whatever_is_logged_is_one_line(as_json: bool) -> None:
    formatter = LineFormatter(as_json, Redaction())
    record = _record("a\nb\r\x1b[31m\u2028c\x85", note="x\ny")
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    line = formatter.format(record)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert "Traceback" in line
    assert "second" in line


def test_a_message_that_does_not_fit_its_arguments_is_still_logged() -> None:
    assert "took %d ('x',)" in LineFormatter(False, Redaction()).format(_record("took %d", "x"))


SECRET = 'p@ss/wörd"\\'


@pytest.mark.parametrize("as_json", [False, True])
def test_no_secret_in_a_line(as_json: bool) -> None:
    redact = Redaction([SECRET, "abc", ""])
    formatter = LineFormatter(as_json, redact)
    record = _record(
        f"{SECRET} and %s, clickhouse://u:p%40ss%2Fw%C3%B6rd%22%5C@h:9000/x, abc, abcde, kafka://other:hunter2@h",
        SECRET,
        url=f"x {SECRET} y",
        thing={"password": SECRET},
    )
    try:
        raise ValueError(f"cannot log in with {SECRET}")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    line = formatter.format(record)
    for hidden in (SECRET, "p@ss", "p%40ss", "hunter2", " abc,", "rd\\"):
        assert hidden not in line
    assert "abcde" in line, "a short secret hides only where it stands alone"
    assert "clickhouse://u:***@h:9000/x" in line


def test_settings_hand_their_secrets_to_the_formatter(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(
        clickhouse="clickhouse://writer:quer%20tz@127.0.0.1/engagement", kafka_password="kafka-secret", log_json=True
    )
    try:
        configure_logs(settings)
        logging.getLogger("pipeline").info("with %s and %s", "quer tz", "kafka-secret", extra={"settings": settings})
    finally:
        logging.config.dictConfig(
            {"version": 1, "disable_existing_loggers": False, "root": {"level": "WARNING", "handlers": []}}
        )
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["with *** and ***"]
    assert "quer" not in lines[0]


def test_faust_takes_the_configuration() -> None:
    """mode's set-up alters the dictionary and clears the root logger's handlers; a fresh one must survive it."""
    mode_logging = pytest.importorskip("mode.utils.logging")
    try:
        mode_logging.setup_logging(loglevel="INFO", logging_config=log_config(Settings()))
        handlers = logging.root.handlers
        assert [type(handler.formatter) for handler in handlers] == [LineFormatter]
        assert [type(f) for f in handlers[0].filters] == [RateLimit]
    finally:
        logging.config.dictConfig(
            {"version": 1, "disable_existing_loggers": False, "root": {"level": "WARNING", "handlers": []}}
        )


def test_a_flood_of_a_foreign_logger_is_damped_and_counted() -> None:
    now = [0.0]
    limit = RateLimit(clock=lambda: now[0])
    passed = []
    for tick in range(71):
        now[0] = tick / 70 * FLOOD_SECONDS
        record = _record("broker away", name="aiokafka.client")
        if limit.filter(record):
            passed.append(getattr(record, "suppressed", 0))
    assert passed == [0, 69]


def test_other_places_and_our_own_loggers_are_not_damped() -> None:
    limit = RateLimit(clock=lambda: 0.0)
    assert limit.filter(_record("a", name="aiokafka.client", line=1))
    assert limit.filter(_record("b", name="aiokafka.client", line=2))
    assert not limit.filter(_record("a", name="aiokafka.client", line=1))
    assert all(limit.filter(_record("ours", name="processors.x")) for _ in range(3))
    assert limit.filter(_record("a", name="kafkaesque"))
    assert limit.filter(_record("a", name="kafkaesque")), "only the logger `kafka` and those below it"

"""Metrics and the server that shows them."""

import json
import re
import resource
import select
import socket
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from threading import Event, Thread

import numpy as np
import psutil
import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from pipeline.errors import SettingsError
from pipeline.observability.alert_metrics import AlertMetrics
from pipeline.observability.health import HealthState
from pipeline.observability.metrics import (
    BATCH_STEPS,
    EVENT_OUTCOMES,
    FRESHNESS_BOUNDS,
    REASON_CLASSES_LIMIT,
    WorkerMetrics,
)
from pipeline.observability.spike_metrics import SpikeMetrics
from pipeline.observability.status_server import CONNECTION_SECONDS, StatusServer
from schemas.topics import KINDS
from tests.end_to_end.workers import wait_until
from tests.patience import SOON


def test_two_workers_in_one_process_do_not_share_counts() -> None:
    one, other = WorkerMetrics(), WorkerMetrics()
    one.count_events("like", "new", 7)
    assert one.snapshot()['engagement_events_total{kind="like",outcome="new"}'] == 7
    assert other.snapshot()['engagement_events_total{kind="like",outcome="new"}'] == 0


def test_every_series_is_there_before_the_first_event() -> None:
    seen = WorkerMetrics().snapshot()
    assert {
        f'engagement_events_total{{kind="{k}",outcome="{o}"}}' for k in KINDS for o in EVENT_OUTCOMES
    } <= seen.keys()
    assert {f'engagement_step_duration_seconds_count{{step="{step}"}}' for step in BATCH_STEPS} <= seen.keys()


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


def test_two_hundred_idle_connections_do_not_hold_up_healthz(server: StatusServer) -> None:
    """Beside threads that compute, as those of a worker do. The kernel drops what a short backlog has no room for, and
    a dropped connection is tried again after a second at the earliest."""
    is_over = Event()
    for _ in range(2):
        Thread(target=lambda: [sum(range(1000)) for _ in iter(is_over.is_set, True)], daemon=True).start()
    try:
        with ExitStack() as stack:
            idle = [stack.enter_context(socket.socket()) for _ in range(200)]
            for connection in idle:
                connection.setblocking(False)
                with suppress(BlockingIOError):
                    connection.connect(("127.0.0.1", server.port))
            time.sleep(0.5)
            _, connected, _ = select.select([], idle, [], 0)
            assert len(connected) == 200
            assert _get(server.url + "/healthz")[0] == 200
    finally:
        is_over.set()


def _connections(server: StatusServer) -> int:
    """How many connections the server holds."""
    found = psutil.Process().net_connections("tcp")
    return sum(each.laddr.port == server.port and each.status == psutil.CONN_ESTABLISHED for each in found)


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"]
)
def test_hundreds_of_slow_senders_do_not_hold_up_healthz(server: StatusServer, sent: bytes) -> None:
    """Each sends a byte every 50 ms; /healthz is asked all the while, each time on a connection of its own."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, limit[1]), limit[1]))
    waits = []
    try:
        with ExitStack() as stack:
            slow = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(400)]
            for connection in slow:
                connection.sendall(sent)
            for _ in range(20):
                for connection in slow:
                    with suppress(OSError):  # it may have been cut
                        connection.sendall(b"a")
                began = time.monotonic()
                assert _get(server.url + "/healthz")[0] == 200
                waits.append(time.monotonic() - began)
                time.sleep(0.05)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert sorted(waits)[len(waits) // 2] < 1  # not the worst one: a busy machine may stop for as long


def test_the_oldest_of_too_many_connections_are_cut(monkeypatch: pytest.MonkeyPatch, server: StatusServer) -> None:
    monkeypatch.setattr("pipeline.observability.status_server.MOST_CONNECTIONS", 50)
    monkeypatch.setattr("pipeline.observability.status_server.CONNECTION_SECONDS", 60.0)
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert _get(server.url + "/healthz")[0] == 200
        wait_until(lambda: _connections(server) <= 50, 10, "they are not cut")
        assert _get(server.url + "/healthz")[0] == 200


def test_a_client_that_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        def render(self, accept: str = "") -> tuple[bytes, str]:
            return b"x" * 2**26, "text/plain"

    monkeypatch.setattr("pipeline.observability.status_server.CONNECTION_SECONDS", 0.5)
    server = StatusServer("127.0.0.1", 0, Endless(), HealthState().report)
    try:
        with socket.create_connection(("127.0.0.1", server.port)) as deaf:
            deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until(lambda: _connections(server) == 1, 10, "it has not come")
            wait_until(lambda: _connections(server) == 0, 10, "it is not cut")
    finally:
        server.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-A: a\r\n" * 1_000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A" * 100_000,
        b"\x16\x03\x01\x00" + b"\xff" * 100_000,
    ],
)
def test_a_request_beyond_bounds_is_refused(request_: bytes, server: StatusServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=SOON) as client:
        answer = b""
        with suppress(ConnectionError):
            client.sendall(request_)
            while part := client.recv(65_536):
                answer += part
    assert answer == b"" or re.match(rb"HTTP/1.. (400|431)", answer)
    assert _get(server.url + "/healthz")[0] == 200


def test_an_idle_connection_is_closed_in_time(server: StatusServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=3 * CONNECTION_SECONDS) as idle:
        assert idle.recv(1) == b""


def test_close_frees_the_port() -> None:
    first = StatusServer("127.0.0.1", 0, WorkerMetrics(), HealthState().report)
    first.close()
    StatusServer("127.0.0.1", first.port, WorkerMetrics(), HealthState().report).close()


def test_the_lag_of_one_group_leaves_that_of_others() -> None:
    metrics = WorkerMetrics()
    metrics.set_lag({("e.likes", 0): 5, ("e.likes", 1): 6})
    metrics.set_lag({("e.conversations", 0): 7}, "conversations")
    metrics.set_lag({("e.likes", 1): 1})
    found = {name: value for name, value in metrics.snapshot().items() if "consumer_lag" in name}
    assert found == {
        'engagement_consumer_lag{partition="1",topic="e.likes"}': 1,
        'engagement_consumer_lag{partition="0",topic="e.conversations"}': 7,
    }


def test_no_metric_has_the_words_of_another() -> None:
    metrics = WorkerMetrics()
    AlertMetrics(metrics).name_receivers(["team"])
    SpikeMetrics(metrics)
    names = {re.sub(r"\{.*|_(bucket|sum|count|created)$", "", series) for series in metrics.snapshot()}
    assert len(names) > 30
    words = Counter(frozenset(word.removesuffix("s") for word in name.split("_")) for name in names)
    assert [sorted(same) for same, count in words.items() if count > 1] == []


def test_what_is_told_of_conversations() -> None:
    metrics = WorkerMetrics()
    metrics.count_cells("late", 3)
    metrics.count_closed(9)
    metrics.set_conversations(7, 2, 61.5)
    found = metrics.snapshot()
    assert found['engagement_conversation_cells_total{outcome="late"}'] == 3
    assert found['engagement_conversation_cells_total{outcome="new"}'] == 0
    assert found["engagement_conversation_closings_total"] == 9
    assert found["engagement_conversation_cells_open"] == 7
    assert found["engagement_conversation_minutes_open"] == 2
    assert found["engagement_watermark_age_seconds"] == 61.5

"""What tests of alerts share: spikes, a record of deliveries in memory, a receiver that remembers, an HTTP server that
misbehaves when it is told to.

The fakes pass the same contract tests as the real ones: tests/test_alert_delivery_store.py and
tests/test_alert_receivers.py.
"""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipeline.errors import Unavailable
from processors.alerts.config import ALERTS_FILE, AlertsConfig
from processors.alerts.ports import Answer, Delivery, GroupRow, Notice
from schemas.alerts import AlertState, SpikeAlert
from tests.patience import SOON

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
T0 = NOON.timestamp()


def spike(
    spike_id: str = "5f",
    state: AlertState = "opened",
    minute: int = 0,
    conversation: str = "hashtag:acme",
    since: datetime = NOON,
    **other: Any,
) -> SpikeAlert:
    """A spike that opened in the minute before `since`, in a state judged `minute` minutes later. Spikes of different
    ids were made by different posts."""
    as_of = since + timedelta(minutes=minute)
    alert = SpikeAlert(
        spike_id=spike_id,
        conversation=conversation,
        state=state,
        started_at=since - timedelta(minutes=1),
        ended_at=as_of if state == "resolved" else None,
        as_of=as_of,
        severity="warning",
        score=7.5,
        observed=80.0 + minute,
        expected=10.0,
        ratio=8.0,
        scale_minutes=5,
        counted_until=as_of,
        seen_before=None,
        seen_days=None,
        voices=61,
        voices_usual=9.5,
        channels=3,
        channels_usual=1.5,
        concentration=0.25,
        top_posts=["p-1", "p-2"] if spike_id == "5f" else [f"{spike_id}-1", f"{spike_id}-2"],
        top_counts=[100, 90],
        top_urls=["https://example.org/p-1", ""],
        top_authors=["author:bluesky/ana"],
        reasons=["8 times the usual count over 5 minutes", "many voices: 61, usually 9.5"],
        evidence="SELECT sum(count) FROM conversation_closed WHERE conversation = 'hashtag:acme' AND count > 1",
        detector="1",
        group_id=spike_id,
        conversations=[conversation],
    )
    return alert | other  # type: ignore[return-value]


def config_of(receivers: dict[str, Any] | None = None, **other: Any) -> AlertsConfig:
    """A file's content: receivers by name (webhooks nowhere unless told), everything to all of them."""
    named = {
        name: each if "kind" in each else {"kind": "webhook", "url": "http://127.0.0.1:9/", **each}
        for name, each in (receivers or {"hook": {}}).items()
    }
    routes = [{"match": "*", "to": list(named)}]
    return ALERTS_FILE.validate_python({"receivers": named, "routes": routes, **other}, context={"environment": {}})


class Tally:
    """Counts what becomes of alerts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count_fired(self, state: str) -> None:
        self.counts[f"fired {state}"] += 1

    def count_suppressed(self, reason: str) -> None:
        self.counts[f"suppressed {reason}"] += 1

    def count_delivered(self, receiver: str, state: str) -> None:
        self.counts[f"delivered {receiver} {state}"] += 1

    def count_failed(self, receiver: str) -> None:
        self.counts[f"failed {receiver}"] += 1


@dataclass
class FakeDeliveryStore:
    """All tables, which survive every agent. `away`: raises Unavailable."""

    stood: dict[str, SpikeAlert] = field(default_factory=dict)
    grouped: dict[str, GroupRow] = field(default_factory=dict)
    rows: dict[tuple[str, str, AlertState], Delivery] = field(default_factory=dict)
    away: bool = False

    def put(self, alert: SpikeAlert) -> None:
        """What the conversation agent writes before it sends."""
        self.stood[alert["spike_id"]] = alert

    def spikes(self, since: float) -> list[SpikeAlert]:
        self._answer()
        return [
            alert
            for alert in self.stood.values()
            if alert["state"] != "resolved" or alert["as_of"].timestamp() >= int(since)
        ]

    def groups(self, spike_ids: Sequence[str]) -> dict[str, str]:
        self._answer()
        return {spike_id: self.grouped[spike_id].group_id for spike_id in spike_ids if spike_id in self.grouped}

    def save_groups(self, rows: Sequence[GroupRow]) -> None:
        self._answer()
        for row in rows:
            if row.spike_id not in self.grouped or self.grouped[row.spike_id].members <= row.members:
                self.grouped[row.spike_id] = row

    def load(self, spike_ids: Sequence[str]) -> list[Delivery]:
        self._answer()
        return [row for row in self.rows.values() if row.spike_id in spike_ids]

    def save(self, deliveries: Sequence[Delivery]) -> None:
        self._answer()
        for row in deliveries:
            key = (row.spike_id, row.receiver, row.state)
            if key not in self.rows or self.rows[key].version <= row.version:
                self.rows[key] = row

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("the fake store is away")


class FakeReceiver:
    """Remembers the keys of what it took, each time that it came. `answer`: what it says to an attempt; `seconds`: how
    long it takes."""

    def __init__(self, answer: Callable[[Notice], Answer] = lambda notice: Answer(True), seconds: float = 0) -> None:
        self.answer, self.seconds = answer, seconds
        self.attempts: list[str] = []
        self.took: list[str] = []
        self.is_closed = False

    async def send(self, notice: Notice, now: float) -> Answer:
        self.attempts.append(notice.key)
        await asyncio.sleep(self.seconds)
        answer = self.answer(notice)
        if answer.is_delivered:
            self.took.append(notice.key)
        return answer

    async def send_digest(self, notices: Sequence[Notice], now: float) -> Answer:
        """Takes all or none; `took` has the keys in one text."""
        await asyncio.sleep(self.seconds)
        answer = self.answer(notices[0])
        if answer.is_delivered:
            self.took.append(" ".join(sorted(notice.key for notice in notices)))
        return answer

    async def close(self) -> None:
        self.is_closed = True


@dataclass
class Request:
    """What came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Server(ThreadingHTTPServer):
    request_queue_size = 100
    daemon_threads = True


class HttpServer:
    """Answers POSTs on a free port of loopback with `status`, after `seconds`; remembers them. Can be killed and come
    back at the same port."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.status, self.seconds, self.port = 200, 0.0, 0
        self.answer_headers: dict[str, str] = {}
        self.answer_body = b"said by the server"
        self._server: _Server | None = None
        self._released = threading.Event()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def keys(self) -> list[str]:
        """Idempotency keys of all that came, in order."""
        return [request.headers.get("idempotency-key", "") for request in self.requests]

    def start(self) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = server.status
                if server._released.wait(server.seconds):
                    return
                server.requests.append(Request(self.path, headers, body))
                self.send_response(status)
                for name, value in server.answer_headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(server.answer_body)

            def log_message(self, *_: Any) -> None: ...

            def handle(self) -> None:
                with suppress(OSError):  # whoever asked did not wait
                    super().handle()

        self._released.clear()
        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def kill(self) -> None:
        """Nothing listens any more; what hangs is cut off."""
        self._released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


async def until(condition: Callable[[], Any], seconds: float = SOON) -> None:
    """Waits for it. Raises AssertionError when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.02)

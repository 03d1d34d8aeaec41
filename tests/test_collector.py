"""The collector's endpoint for our own events: what is taken, what is named, what is refused as a whole."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pipeline.settings import Settings
from producers.collector.access.origins import OriginPolicy
from producers.collector.reading.body import BodyPolicy
from producers.collector.reading.idempotency import IdempotencyPolicy
from schemas.events import parse_event
from tests.fakes_collector import LIKE, FakeCollector, like
from tests.patience import SOON

NDJSON = {"content-type": "application/x-ndjson"}
JSON = {"content-type": "application/json"}


def lines(*events: Any) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def test_one_object_an_array_and_lines() -> None:
    collector = FakeCollector()
    bodies = [
        (JSON, json.dumps(like(1)).encode()),
        (JSON, json.dumps([like(2), like(3, kind="comment")]).encode()),
        (NDJSON, lines(like(4), like(5, kind="share")) + b"\n\r\n"),
        (JSON, lines(like(6), like(7))),  # lines, whatever they are called
        (JSON, json.dumps(like(8), indent=2).encode()),
        ({**JSON, "content-encoding": "gzip"}, gzip.compress(json.dumps(like(9, hashtags=["ü"])).encode())),
    ]
    for headers, body in bodies:
        answer = collector.post(content=body, headers=headers)
        assert answer.status_code == 202, answer.text
        assert answer.json()["rejected"] == []
    events = [parse_event(record.value) for record in collector.sender.sent]
    assert [event["event_id"] for event in events] == [f"l{number}" for number in range(1, 10)]
    assert [record.key for record in collector.sender.sent] == [b"p1"] * 9
    assert [record.topic for record in collector.sender.sent[2:5]] == [
        "engagement.comments",
        "engagement.likes",
        "engagement.shares",
    ]
    assert events[8]["hashtags"] == ["ü"]


def test_unknown_fields_pass_and_an_empty_array_is_taken() -> None:
    collector = FakeCollector()
    assert collector.post(json=[like(1, colour={"deep": [1, 2]})]).json() == {"accepted": 1, "rejected": []}
    assert json.loads(collector.sender.sent[0].value)["colour"] == {"deep": [1, 2]}
    answer = collector.post(json=[])
    assert (answer.status_code, answer.json()) == (202, {"accepted": 0, "rejected": []})


BAD = [
    ({}, "kind"),
    (7, ""),
    ({**LIKE, "kind": "love"}, "kind"),
    ({**LIKE, "occurred_at": "2026-01-01T00:00:00"}, "occurred_at"),
    ({**LIKE, "occurred_at": "9999-01-01T00:00:00Z"}, "occurred_at"),
    ({**LIKE, "post_id": ""}, "post_id"),
    ({**LIKE, "actor_id": "a\0b"}, "actor_id"),
    ({**LIKE, "hashtags": ["x", 3]}, "hashtags.1"),
    ({name: value for name, value in LIKE.items() if name != "event_id"}, "event_id"),
    ({**LIKE, "action": "retract"}, "target_id"),
]


def test_bad_items_are_named_and_the_good_ones_taken() -> None:
    collector = FakeCollector()
    batch = [like(0), *(item for item, _ in BAD), like(1)]
    answer = collector.post(json=batch)
    assert answer.status_code == 207
    said = answer.json()
    assert said["accepted"] == 2
    assert [(each["index"], each["field"]) for each in said["rejected"]] == [
        (index, field) for index, (_, field) in enumerate(BAD, start=1)
    ]
    assert all(each["reason"] for each in said["rejected"])
    assert len(collector.sender.of("likes")) == 2
    dead = collector.sender.of("dead-letters")
    assert [json.loads(record.value) for record in dead] == [item for item, _ in BAD]
    headers = dict(dead[1].headers or [])
    assert headers["topic"] == b"collector/v1/events"
    assert headers["source"] == b"anybody"
    assert (headers["offset"], headers["field"]) == (b"2", b"")
    assert headers["reason"].decode() == said["rejected"][1]["reason"]


@pytest.mark.parametrize(
    "body",
    [b"", b" \n", b"{", b'{"a":1}}', b"[1,", b"[1 2]", b"\xff\xfe", b"nope", b"[" * 100_000, b'{"a":' * 5000,
     b'["\\ud800", ]', b'["\\ud800" 1]', b'["\\ud800"', b'["\\ud800"] x', b'["\\ud800",' + b"[" * 100_000],
)  # fmt: skip
def test_a_body_that_is_no_json(body: bytes) -> None:
    collector = FakeCollector()
    answer = collector.post(content=body, headers=JSON)
    assert answer.status_code == 422
    [flaw] = answer.json()["rejected"]
    assert (flaw["index"], flaw["field"]) == (0, "")
    [dead] = collector.sender.sent
    assert dead.value == body


def test_a_lone_surrogate_costs_one_item() -> None:
    collector = FakeCollector()
    body = b'[%s , {"event_id": "\\ud800"}\n,%s]' % (json.dumps(like(1)).encode(), json.dumps(like(2)).encode())
    answer = collector.post(content=body, headers=JSON)
    assert answer.status_code == 207
    assert [each["index"] for each in answer.json()["rejected"]] == [1]
    assert len(collector.sender.of("likes")) == 2


def test_media_types_and_encodings() -> None:
    collector = FakeCollector()
    body = json.dumps(LIKE).encode()
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data", None):
        answer = collector.post(content=body, headers={"content-type": kind} if kind else {})
        assert answer.status_code == 415
        assert "application/json" in answer.json()["detail"]
    answer = collector.post(content=body, headers={**JSON, "content-encoding": "br"})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip")
    assert collector.post(content=body, headers={"content-type": "Application/JSON; charset=utf-8"}).status_code == 202
    assert len(collector.sender.sent) == 1


def test_a_body_too_large_and_a_bomb() -> None:
    collector = FakeCollector(Settings(collect_body_limit=10_000))
    fits = lines(like(1)) + b" " * (10_000 - len(lines(like(1))))
    assert collector.post(content=fits, headers=NDJSON).status_code == 202
    gzipped = {**NDJSON, "content-encoding": "gzip"}
    bomb = gzip.compress(b"\n" * 50_000_000)
    assert len(bomb) > 10_000
    small_bomb = gzip.compress(b" " * 5_000_000, 9)
    assert len(small_bomb) < 10_000
    for headers, body in [(NDJSON, fits + b" "), (gzipped, bomb), (gzipped, small_bomb)]:
        answer = collector.post(content=body, headers=headers)
        assert answer.status_code == 413
        assert answer.headers["connection"] == "close"
        assert "10000" in answer.json()["detail"]
    assert collector.ports.budget.held == 0


def test_gzip_of_several_members_padded_damaged_and_cut_off() -> None:
    collector = FakeCollector()
    gzipped = {**NDJSON, "content-encoding": "gzip"}
    whole = gzip.compress(lines(like(1))) + gzip.compress(lines(like(2)))
    assert collector.post(content=whole, headers=gzipped).json()["accepted"] == 2
    assert collector.post(content=whole + b"\0" * 100, headers=gzipped).json()["accepted"] == 2
    for body in (
        whole[:-5],
        b"no gzip",
        whole + b"junk",
        zlib.compress(lines(like(1))),
        whole[:30] + b"\1" + whole[31:],
    ):
        assert collector.post(content=body, headers=gzipped).status_code == 400
    assert collector.post(content=b"", headers=gzipped).status_code == 422
    assert collector.ports.budget.held == 0


def test_a_streamed_body_and_a_slow_one() -> None:
    collector = FakeCollector(body=BodyPolicy(seconds=0.3))

    async def parts(pause: float) -> AsyncIterator[bytes]:
        for number in range(5):
            yield lines(like(number))
            await asyncio.sleep(pause)

    assert collector.post(content=parts(0), headers=NDJSON).json()["accepted"] == 5
    # httpx gathers the parts before it calls the application, so the slow client speaks ASGI itself.
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.1)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/events", "query_string": b"", "http_version": "1.1",
        "headers": [(b"content-type", b"application/x-ndjson")],
    }  # fmt: skip
    asyncio.run(collector.app(scope, receive, send))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert collector.ports.budget.held == 0


def test_bodies_share_a_budget() -> None:
    collector = FakeCollector(body=BodyPolicy(memory_bytes=1000))
    collector.sender.hold = asyncio.Event()

    async def both() -> list[int]:
        assert collector.sender.hold is not None
        body = lines(like(1)) + b" " * 500
        async with collector.client() as client:
            first = asyncio.create_task(client.post("/v1/events", content=body, headers=NDJSON))
            await asyncio.sleep(0.05)
            second = await client.post("/v1/events", content=body, headers=NDJSON)
            collector.sender.hold.set()
            return [(await first).status_code, second.status_code, int(second.headers["retry-after"])]

    assert asyncio.run(both()) == [202, 429, 1]
    assert collector.ports.budget.held == 0


def test_nothing_is_answered_before_the_ack() -> None:
    collector = FakeCollector()

    async def post() -> bool:
        collector.sender.hold = asyncio.Event()
        async with collector.client() as client:
            answer = asyncio.create_task(client.post("/v1/events", json=LIKE))
            await asyncio.sleep(0.1)
            was_done = answer.done()
            collector.sender.hold.set()
            assert (await answer).status_code == 202
            return was_done

    assert asyncio.run(post()) is False


def test_kafka_away_and_kafka_behind() -> None:
    collector = FakeCollector()
    collector.sender.absence = "Kafka is away"
    answer = collector.post(json=LIKE)
    assert (answer.status_code, answer.json()["detail"]) == (503, "Kafka is away")
    assert int(answer.headers["retry-after"]) >= 1
    collector.sender.absence, collector.sender.full = "", True
    answer = collector.post(json=LIKE)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert collector.sender.sent == []


def test_an_event_above_the_limit_and_one_that_the_broker_refuses() -> None:
    collector = FakeCollector(Settings(record_limit=2000))
    collector.sender.largest = 1000
    batch = [like(0), like(1, note="x" * 3000), like(2, note="x" * 1500), like(3)]
    answer = collector.post(json=batch)
    assert answer.status_code == 207
    said = answer.json()
    assert (said["accepted"], [each["index"] for each in said["rejected"]]) == (2, [1, 2])
    assert "ENGAGEMENT_RECORD_LIMIT" in said["rejected"][0]["reason"]
    assert len(collector.sender.of("likes")) == 2


def test_a_repeated_key() -> None:
    collector = FakeCollector()
    batch = [{name: value for name, value in like(number).items() if name != "event_id"} for number in range(3)]
    key = {"idempotency-key": "k-1"}
    first = collector.post(json=[*batch, {}], headers=key)
    again = collector.post(json=[*batch, {}], headers=key)
    assert first.status_code == again.status_code == 207
    assert first.content == again.content
    assert again.headers["idempotent-replayed"] == "true"
    assert len(collector.sender.sent) == 4, "the second is not sent"
    other = collector.post(json=batch, headers=key)
    assert other.status_code == 422
    assert "Idempotency-Key" in other.json()["detail"]
    ids = [parse_event(record.value)["event_id"] for record in collector.sender.of("likes")]
    assert len(set(ids)) == 3
    restarted = FakeCollector()
    restarted.post(json=[*batch, {}], headers=key)
    assert [parse_event(record.value)["event_id"] for record in restarted.sender.of("likes")] == ids
    for flawed in ("", " ", "x" * 300, "a\tb"):
        assert collector.post(json=LIKE, headers={"idempotency-key": flawed}).status_code == 400


def test_a_failed_request_may_be_repeated_under_its_key() -> None:
    collector = FakeCollector()
    key = {"idempotency-key": "k-1"}
    collector.sender.full = True
    assert collector.post(json=LIKE, headers=key).status_code == 429
    collector.sender.full = False
    answer = collector.post(json=LIKE, headers=key)
    assert answer.status_code == 202
    assert "idempotent-replayed" not in answer.headers


def test_two_at_a_time_under_one_key_are_sent_once() -> None:
    collector = FakeCollector()

    async def both() -> list[int]:
        collector.sender.hold = asyncio.Event()
        async with collector.client() as client:
            posts = [client.post("/v1/events", json=LIKE, headers={"idempotency-key": "k"}) for _ in range(2)]
            tasks = [asyncio.create_task(post) for post in posts]
            await asyncio.sleep(0.05)
            collector.sender.hold.set()
            return [(await task).status_code for task in tasks]

    assert asyncio.run(both()) == [202, 202]
    assert len(collector.sender.sent) == 1


def test_a_forgotten_request_in_progress_still_answers_those_who_wait() -> None:
    collector = FakeCollector(answers=IdempotencyPolicy(keys=1))

    async def three() -> list[int]:
        collector.sender.hold = asyncio.Event()
        async with collector.client() as client:
            keys = ("k", "k", "other")
            posts = [client.post("/v1/events", json=LIKE, headers={"idempotency-key": key}) for key in keys]
            tasks = []
            for post in posts:
                tasks.append(asyncio.create_task(post))
                await asyncio.sleep(0.02)
            collector.sender.hold.set()
            return [(await asyncio.wait_for(task, SOON)).status_code for task in tasks]

    assert asyncio.run(three()) == [202, 202, 202]


def test_answers_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.collector.reading.idempotency.ANSWER_BYTES", 300)
    large = FakeCollector()
    for number in range(20):
        large.post(json=LIKE, headers={"idempotency-key": f"k{number}"})
    assert len(large.ports.answers) == 300 // len(b'{"accepted":1,"rejected":[]}')
    collector = FakeCollector(answers=IdempotencyPolicy(keys=5))
    for number in range(20):
        collector.post(json=LIKE, headers={"idempotency-key": f"k{number}"})
    assert len(collector.ports.answers) == 5
    brief = FakeCollector(answers=IdempotencyPolicy(seconds=0.0))
    brief.post(json=LIKE, headers={"idempotency-key": "k"})
    assert "idempotent-replayed" not in brief.post(json=LIKE, headers={"idempotency-key": "k"}).headers


def test_pages_of_other_sites_may_not_send() -> None:
    collector = FakeCollector(origins=OriginPolicy(loopback_only=True))
    assert collector.post(json=LIKE, headers={"origin": "https://evil.example"}).status_code == 403
    assert collector.post(json=LIKE, headers={"origin": "null"}).status_code == 403
    for host in ("evil.example", "evil.example:8080", "192.168.1.7", "localhost.evil.example"):
        assert collector.post(json=LIKE, headers={"host": host}).status_code == 403
    for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080", "127.1.2.3"):
        assert collector.post(json=LIKE, headers={"host": host}).status_code == 202


def test_beacons_of_an_allowed_origin() -> None:
    shop = "https://shop.example"
    collector = FakeCollector(origins=OriginPolicy(frozenset({shop})))
    body = json.dumps(LIKE)
    beacon = collector.post(content=body, headers={"origin": shop, "content-type": "text/plain;charset=UTF-8"})
    assert beacon.status_code == 202
    assert beacon.headers["access-control-allow-origin"] == shop
    assert collector.post(content=body, headers={"origin": shop}).status_code == 202
    for origin in ("https://shop.example.evil", "http://shop.example"):
        headers = {"origin": origin, "content-type": "text/plain"}
        assert collector.post(content=body, headers=headers).status_code == 403
    assert collector.post(content=body, headers={"content-type": "text/plain"}).status_code == 415


def test_browsers_ask_first() -> None:
    shop = "https://shop.example"
    asked = {"origin": shop, "access-control-request-method": "POST",
             "access-control-request-headers": "content-type,authorization,idempotency-key"}  # fmt: skip

    async def ask(collector: FakeCollector) -> Any:
        async with collector.client() as client:
            return await client.options("/v1/events", headers=asked)

    answer = asyncio.run(ask(FakeCollector(origins=OriginPolicy(frozenset({shop})))))
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, shop)
    answer = asyncio.run(ask(FakeCollector()))
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


def test_the_pages_about_it() -> None:
    collector = FakeCollector()
    collector.post(json=[LIKE, {}])

    async def get() -> dict[str, Any]:
        async with collector.client() as client:
            paths = ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/nothing", "/v1/events")
            return {path: await client.get(path) for path in paths}

    found = asyncio.run(get())
    assert [each.status_code for each in found.values()] == [200, 200, 200, 200, 200, 404, 405]
    metrics = found["/metrics"].text
    assert 'engagement_collector_requests_total{code="207",endpoint="/v1/events",source="anybody"} 1.0' in metrics
    assert 'engagement_collector_items_total{outcome="rejected",source="anybody"} 1.0' in metrics
    assert found["/openapi.json"].json()["paths"].keys() >= {"/v1/events", "/metrics"}
    assert "http" not in found["/docs"].text.replace("http-equiv", "").lower().replace("over http", ""), "no asset"
    assert found["/v1/events"].headers["allow"] == "POST"
    collector.sender.absence = "Kafka is away"
    found = asyncio.run(get())
    assert (found["/readyz"].status_code, found["/healthz"].status_code) == (503, 200)
    assert found["/readyz"].json() == {"ready": False, "reasons": ["Kafka is away"]}

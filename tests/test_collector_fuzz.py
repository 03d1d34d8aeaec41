"""Mutated inputs for every mapper: no crash, and each item is an event, a named error, or ignored.

ENGAGEMENT_TEST_FUZZ=100000 python -m pytest tests/test_collector_fuzz.py
"""

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.settings import Settings
from producers.collector.inlets import make_inlets
from producers.collector.item_intake import Inlet
from producers.collector.mappers.port import RequestFacts
from producers.collector.reading.taking import TakingRules
from schemas.events import InvalidEvent, parse_event
from tests.fakes_collector import like
from tests.test_collector_activities import acted, announced, comment, create, note, page, reply
from tests.test_collector_activities import like as liked
from tests.test_collector_hooks import BOB, REPOSITORY, envelope

INPUTS = int(os.environ.get("ENGAGEMENT_TEST_FUZZ", "1500"))
NOON = "2026-02-01T12:00:00Z"
RULES = TakingRules(None, "fuzz", "root", datetime(2027, 1, 1, tzinfo=UTC), 1_000_000)

ACTIVITIES: list[Any] = [
    create(note()),
    create(reply(2, note()["id"])),
    create(note(3, url=[{"type": "Link", "href": "x"}], tag=[], quoteUrl="q")),
    liked(),
    {"type": "Undo", "actor": liked()["actor"], "object": liked()},
    {"type": "Delete", "actor": "a", "object": {"type": "Tombstone", "id": note()["id"]}},
    announced(acted("Create", "picard", page())),
    announced(acted("Undo", "riker", acted("Like", "riker", comment()["id"]))),
    {"type": "OrderedCollection", "orderedItems": [liked(), create(comment())]},
]
ISSUE = {"html_url": "https://github.com/a/b/issues/1", "user": BOB, "created_at": NOON}
HOOKED: list[tuple[str, str, Any]] = [
    (name, action, {"action": action, "repository": REPOSITORY, "sender": BOB, "starred_at": NOON, "issue": ISSUE,
                    "comment": {**ISSUE, "id": 5, "parent_id": 4, "in_reply_to_id": 3}, "forkee": ISSUE,
                    "discussion": ISSUE, "pull_request": ISSUE, "review": {**ISSUE, "body": "x"}})
    for name, action in (
        ("star", "created"), ("star", "deleted"), ("fork", ""), ("issue_comment", "created"),
        ("issue_comment", "deleted"), ("pull_request_review_comment", "created"), ("discussion_comment", "created"),
        ("issues", "opened"), ("pull_request_review", "submitted"),
    )
]  # fmt: skip
POST = {"id": 1, "topic_id": 5, "username": "ann", "created_at": NOON, "post_number": 3, "reply_to_post_number": 2}
TOPIC = {"id": 5, "created_by": {"username": "ann"}, "tags": ["x", {"name": "y"}], "created_at": NOON}

SEEDS: dict[str, list[tuple[dict[str, str], Any]]] = {
    "/v1/events": [({}, like(1)), ({}, [like(2), like(3, hashtags=["a"], followers=3)])],
    "/v1/cloudevents": [
        ({"content-type": "application/cloudevents+json"}, envelope(like(1), time=NOON, subject="p")),
        ({"content-type": "application/cloudevents-batch+json"}, [envelope({"actor_id": "a"}, time=NOON, subject="p")]),
        ({"content-type": "application/json", "ce-specversion": "1.0", "ce-id": "1", "ce-source": "s%20",
          "ce-type": "like"}, like(1)),
        ({"content-type": "application/cloudevents+json"},
         envelope(liked(), datacontenttype="application/activity+json")),
    ],
    "/inbox": [({}, activity) for activity in ACTIVITIES],
    "/hooks/github": [({"x-github-event": name}, payload) for name, _, payload in HOOKED],
    "/hooks/discourse": [
        ({"x-discourse-event": name, "x-discourse-instance": "https://d"},
         {"post": POST, "topic": TOPIC, "like": {"post": POST, "user": {"id": 1, "username": "u"}}})
        for name in ("post_created", "post_destroyed", "topic_created", "topic_destroyed", "post_liked")
    ],
    "/hooks/generic": [
        ({"webhook-id": "m"}, {"type": "like.created", "timestamp": NOON, "data": like(1)}), ({}, [like(1)]),
    ],
}  # fmt: skip
NAMES = ("id", "type", "object", "actor", "context", "items", "data")
VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, 1e308, 10**30, "", "x", "\0", "\ud800", "x" * 5000, "é\u200b", [], {}, [[]], [None],
    {"id": 5}, {"id": "x", "type": "Note"}, [{"id": "x"}], "Note", "Like", "Undo", "Announce", "Create", "Delete", NOON,
    "9999-12-31T23:59:59Z", "0001-01-01", "https://x.example/" + "a" * 600,
    {"type": ["Note", 3], "content": "<a href='"},
]  # fmt: skip


def mutate(rng: random.Random, value: Any, parent: Any = None) -> Any:
    """One random change somewhere within a value."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        change = rng.random()
        if change < 0.1:
            return {name: each for name, each in value.items() if name != key}
        if change < 0.15:
            return {
                **value,
                rng.choice(["id", "type", "object", "actor", "context", "items", "data"]): rng.choice(VALUES),
            }
        return {**value, key: mutate(rng, value[key], value)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], mutate(rng, value[at]), *value[at + 1 :]]
    return rng.choice([*VALUES, [value], {"object": value}, [value] * 3, parent])


def spoil(rng: random.Random, body: bytes) -> bytes:
    """A few random changes of bytes."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(body) + 1)
        piece = rng.choice([b"", b'"', b"{", b"}", b"[", b",", b"\\ud800", b"\xff", b"\0", b"\n", b"null", body[:50]])
        body = body[:at] + piece + body[at + rng.randint(0, 3) :]
    return body


INLETS = {inlet.place: inlet for inlet in make_inlets(Settings())}


@pytest.mark.parametrize("place", SEEDS)
def test_mutated_inputs(place: str) -> None:
    rng = random.Random(place)
    found = Counter[str]()
    for _ in range(INPUTS):
        headers, seed = rng.choice(SEEDS[place])
        document = seed
        for _ in range(rng.randint(0, 3)):
            document = mutate(rng, document)
        body = json.dumps(document).encode()
        if rng.random() < 0.3:
            body = spoil(rng, body)
        if rng.random() < 0.1:
            headers = {**headers, rng.choice([*headers, "x"]): rng.choice(["", "x", "\xff", "%", "a" * 300])}
        found.update(taken(INLETS[place], body, headers))
    assert found["event"] > INPUTS / 20, found
    assert found["error"] > INPUTS / 20, found


def taken(inlet: Inlet, body: bytes, headers: dict[str, str]) -> list[str]:
    """What becomes of each item."""
    try:
        items = list(inlet.mapper.map(body, RequestFacts(headers, datetime(2026, 3, 1, tzinfo=UTC))))
    except InvalidEvent as flaw:
        return [named(flaw)]
    outcomes = []
    for index, item in enumerate(items):
        assert isinstance(item.raw, bytes)
        if item.flaw is not None:
            outcomes.append(named(item.flaw))
        elif item.value is None:
            outcomes.append("ignored")
        else:
            outcomes.append(outcome(lambda index=index, value=item.value: RULES.take(value, index)))
    return outcomes


def outcome(take: Callable[[], tuple[Any, bytes]]) -> str:
    try:
        event, value = take()
    except InvalidEvent as flaw:
        return named(flaw)
    assert parse_event(value) == event, "what is sent is what was checked"
    return "event"


def named(flaw: InvalidEvent) -> str:
    assert flaw.reason
    assert len(flaw.reason) < 1000
    json.dumps([flaw.field, flaw.reason])
    flaw.reason.encode("utf-8", "replace")
    return "error"

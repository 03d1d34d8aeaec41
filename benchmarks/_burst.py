"""What happens in benchmarks/delivery.py: a conversation with a past, its burst, and everybody else."""

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import accumulate, cycle
from typing import Final

import numpy as np
from freshness import SHARES, TICK_SECONDS

from pipeline.clickhouse.client import ClickHouse
from pipeline.kafka.publisher import open_publisher
from pipeline.record_producer import RecordProducer
from pipeline.settings import Settings, load_settings
from schemas.events import isoformat
from schemas.tables import CONVERSATION_CLOSED, CONVERSATION_MARKS, CONVERSATION_POSTS

PATIENCE_SECONDS: Final = 180.0
"""After the burst has begun."""

CONVERSATION: Final = "hashtag:planted"
HISTORY_MINUTES: Final = 26 * 60
"""A series is grown up after a day."""

PLANTED_POSTS: Final = 50
STORM_RATE: Final = 0.02
"""Usual comments a minute of a thread that wakes up."""

TAGS: Final = 200
MADE: Final = 200_000
"""Events that are made before; their ids and times come when they are sent."""


def plant_past(store: ClickHouse, settings: Settings, options: argparse.Namespace) -> None:
    """A day of closed minutes of the conversation and of what is to wake up, and the cells of the first."""
    chance = np.random.default_rng(1)
    until = int(time.time()) // 60
    minutes = np.arange(until - HISTORY_MINUTES, until)
    rows = chance.poisson(options.usual / PLANTED_POSTS, (HISTORY_MINUTES, PLANTED_POSTS))
    where, post = np.nonzero(rows)
    counts = rows[where, post].tolist()
    cells = {
        "conversation": [CONVERSATION] * len(counts),
        "minute": (minutes[where] * 60).tolist(),
        "post_id": [planted(number) for number in post.tolist()],
        "comments": counts,
        "channels": [["bluesky"]] * len(counts),
        "voices": [sorted(chance.integers(0, 2**63, count).tolist()) for count in counts],
        "voices_exact": [1] * len(counts),
        "version": counts,
    }
    store.insert(CONVERSATION_POSTS.name, cells)
    closed = [(CONVERSATION, minute, count) for minute, count in zip(minutes, rows.sum(axis=1), strict=True) if count]
    for number in range(options.storm):
        loud = np.flatnonzero(chance.poisson(STORM_RATE, HISTORY_MINUTES))
        closed += [(f"thread:post-{number}", minute, 1) for minute in minutes[loud]]
    names, at, values = zip(*closed, strict=True)
    columns = {
        "conversation": list(names),
        "minute": [int(minute) * 60 for minute in at],
        "count": list(map(int, values)),
    }
    store.insert(CONVERSATION_CLOSED.name, columns | {"closed_at": [until * 60_000] * len(names)})
    partitions = range(settings.partitions)
    marks = {"partition": list(partitions), "closed_until": [until * 60] * len(partitions)}
    store.insert(CONVERSATION_MARKS.name, marks)


def send(settings: Settings, options: argparse.Namespace, burst: float, is_told: Callable[[], bool]) -> list[float]:
    """Comments of the conversation until its spike is told; when each was sent."""
    sent: list[float] = []
    topics = settings.topics
    with open_publisher(settings) as publisher:
        for number in range(PLANTED_POSTS):
            post = f'"hashtags": ["planted"], "post_id": "{planted(number)}", "actor_id": "author-{number}"'
            put(publisher, topics.of("post"), planted(number), "post", f"planted#{number}", post)
        publisher.flush()
        started, each = time.time(), options.usual / 60
        while (now := time.time()) < burst + PATIENCE_SECONDS and not is_told():
            due = each * (min(now, burst) - started + options.factor * max(now - burst, 0))
            while len(sent) < due:
                number = len(sent)
                post_id = planted(number % PLANTED_POSTS)
                said = f'"post_id": "{post_id}", "actor_id": "fan-{number * 7919 % 1009}"'
                put(publisher, topics.of("comment"), post_id, "comment", f"comment-{number}", said)
                sent.append(time.time())
            time.sleep(TICK_SECONDS)
    return sent


def produce(options: argparse.Namespace) -> None:
    """Makes its events, waits for a line, sends them at the rate until the next; prints how many a second. The line
    says from when on there are comments (Unix time)."""
    settings = load_settings()
    rng = random.Random(1)
    shares = list(accumulate(1 / rank for rank in range(1, options.posts + 1)))
    posts = [f"post-{number}" for number in rng.choices(range(options.posts), cum_weights=shares, k=MADE)]
    kinds = rng.choices(list(SHARES), list(SHARES.values()), k=MADE)
    topics = {kind: settings.topics.of(kind) for kind in SHARES}
    said = [(kind, post_id, f'"post_id": "{post_id}"') for kind, post_id in zip(kinds, posts, strict=True)]
    print("ready", flush=True)
    talk = float(sys.stdin.readline())
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
    with open_publisher(settings) as publisher:
        for number in range(options.posts):
            post = (
                f'"hashtags": ["tag{number % TAGS}"], "post_id": "post-{number}", "actor_id": "author-{number % 999}"'
            )
            put(publisher, settings.topics.of("post"), f"post-{number}", "post", f"post-{number}#post", post)
        publisher.flush()
        started, sent = time.monotonic(), 0
        events = cycle(said)
        while not ended.is_set():
            due = int((time.monotonic() - started) * options.rate)
            is_silent, now = time.time() < talk, stamp()
            for number, (kind, post_id, about) in zip(range(sent, due), events, strict=False):
                chosen = "like" if is_silent else kind
                more = f'{about}, "actor_id": "actor-{number * 7919 % 100_003}"'
                put(publisher, topics[chosen], post_id, chosen, f"event-{number}", more, now)
            sent = max(sent, due)
            time.sleep(TICK_SECONDS)
        print(sent / (time.monotonic() - started), flush=True)


def put(producer: RecordProducer, topic: str, post_id: str, kind: str, event_id: str, said: str, now: str = "") -> None:
    """An event of now."""
    now = now or stamp()
    value = f'{{"event_id": "{event_id}", "kind": "{kind}", "channel": "bluesky", "occurred_at": "{now}", {said}}}'
    producer.send(topic, post_id.encode(), value.encode())


def stamp() -> str:
    return isoformat(datetime.now(UTC))


def planted(number: int) -> str:
    return f"planted-{number}"

"""A seeded month of events, and the database that workers and `recount` make of it: what tests of BI tools ask."""

import json
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, Final, NamedTuple

from pipeline.clickhouse.client import ClickHouse
from pipeline.observability.metrics import WorkerMetrics
from pipeline.settings import Settings
from pipeline.topic_reader import TopicRecord
from processors.columnar.hashing import Hasher
from processors.engagement.job import EngagementJob
from processors.engagement.ports import EngagementPorts
from processors.engagement.store import ClickHouseLog
from processors.runtime.records import Run
from processors.wiring import job_policy
from schemas.topics import KINDS
from tests.end_to_end.checks import engagement, environment_of
from tests.rolled_days import roll_days

BRANDS: Final = "Acme: {side: own, hashtags: [acme]}\nGlobex: {side: rival, hashtags: [globex]}\n"
AUTHORS: Final = {"ana": "bluesky", "ben": "mastodon", "cy": "bluesky", "dot": "forum"}
TAGS: Final = ("launch", "tea", "coffee", "acme", "globex")
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)
WEIGHTS: Final = {"like": 1, "share": 2, "comment": 3}

Said = dict[str, Any]
Rows = list[tuple[Any, ...]]


class Past(NamedTuple):
    """Seeded events, the moment until which they reach, and the database that a worker and `recount` made of them."""

    events: list[Said]
    now: datetime
    client: ClickHouse

    def posts(self, oldest: float, newest: float = 0) -> list[Said]:
        """Posts that stand, by their age in days."""
        deleted = {each["target_id"] for each in self.events if each["kind"] == "post" and "target_id" in each}
        return [
            each
            for each in self.events
            if each["kind"] == "post"
            and "target_id" not in each
            and each["event_id"] not in deleted
            and newest * DAY < self.now - each["at"] < oldest * DAY
        ]

    def standing(self, *kinds: str) -> list[Said]:
        """Events of these kinds that nobody has taken back."""
        taken_back = {(each["post_id"], each["kind"], each["target_id"]) for each in self.events if "target_id" in each}
        return [
            each
            for each in self.events
            if each["kind"] in kinds
            and "target_id" not in each
            and (each["post_id"], each["kind"], each["event_id"]) not in taken_back
        ]

    def under(self, post: Said, *kinds: str) -> list[Said]:
        """Standing events of a post, oldest first."""
        found = [each for each in self.standing(*(kinds or WEIGHTS)) if each["post_id"] == post["post_id"]]
        return sorted(found, key=lambda each: each["at"])

    def since(self, days: float) -> datetime:
        return self.now - days * DAY


def seeded_events(now: datetime) -> Iterator[Said]:
    """Yields a made-up month: every time is a whole minute, and far from the ends of the questions' ranges."""
    chance = random.Random(16)

    def moment(earliest: datetime) -> datetime:
        while True:
            at = earliest + chance.random() ** 3 * min(now - earliest, 9 * DAY)
            at = at.replace(second=0, microsecond=0)
            if timedelta(minutes=20) < (now - at) % DAY < DAY - timedelta(minutes=20):
                return at

    for number in range(90):
        author = chance.choice(["ana", "ana", *AUTHORS])
        post: Said = {
            "event_id": f"p{number}",
            "kind": "post",
            "post_id": f"p{number}",
            "actor_id": author,
            "at": moment(now - chance.uniform(0.05, 25) * DAY),
            "channel": AUTHORS[author],
            "hashtags": chance.sample(TAGS, chance.randint(0, 3)) if number % 30 != 7 else [],
            "links": [f"https://news.example/{chance.randrange(12)}"] if chance.random() < 0.5 else [],
            "labels": {"campaign": chance.choice(["spring", "autumn"])} if chance.random() < 0.6 else {},
        }
        if chance.random() < 0.8:
            post["followers"] = chance.choice([20, 150, 4000])
        yield post
        comments: list[Said] = []
        for each in range(chance.randint(4, 40)):
            kind = chance.choice(["like", "like", "like", "share", "comment", "comment"])
            event: Said = {
                "event_id": f"{kind}{number}-{each}",
                "kind": kind,
                "post_id": post["post_id"],
                "actor_id": f"u{chance.randrange(25)}",
                "at": moment(post["at"]),
                "channel": post["channel"],
            }
            if kind == "comment" and comments and chance.random() < 0.4:
                asked = chance.choice(comments)
                event |= {"actor_id": author, "parent_id": asked["event_id"], "at": moment(asked["at"])}
            elif kind == "comment":
                comments.append(event)
            yield event
            if now - post["at"] < DAY and chance.random() < 0.2:
                undo = {"action": "retract", "event_id": f"undo-{event['event_id']}", "target_id": event["event_id"]}
                yield event | undo | {"at": moment(event["at"])}
        if number % 30 == 7:
            undo = {"action": "retract", "event_id": f"gone{number}", "target_id": post["event_id"]}
            yield post | undo | {"at": moment(post["at"])}


def fill_with_past(tables: Settings, folder: Path) -> Past:
    """Fills a database that has its tables; `folder` is for the file of brands. The caller closes the client."""
    brands = folder / "brands.yaml"
    brands.write_text(BRANDS)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    events = list(seeded_events(now))
    settings = tables.model_copy(update={"brands": brands})
    hasher = Hasher()
    log = ClickHouseLog(lambda numpy: ClickHouse(settings, numpy=numpy), hasher)
    ports = EngagementPorts(log, log, lambda letters: None, hasher, WorkerMetrics())
    job = EngagementJob(ports, job_policy(settings, hasher))
    job.assign([0], 1)
    runs = [Run(f"x.{kind}s", kind, 0, _records(events, kind)) for kind in KINDS]
    assert job.process(runs, Event(), time.time)
    log.close()
    engagement(environment_of(settings, {"ENGAGEMENT_BRANDS": str(brands)}), "recount")
    client = ClickHouse(settings)
    roll_days(client, int(now.timestamp()) // 86_400)
    return Past(events, now, client)


def _records(events: list[Said], kind: str) -> list[TopicRecord]:
    sent = [
        {name: value for name, value in each.items() if name != "at"} | {"occurred_at": each["at"].isoformat()}
        for each in events
        if each["kind"] == kind
    ]
    return [
        TopicRecord("x", 0, offset, int(time.time() * 1000), each["post_id"].encode(), json.dumps(each).encode(), ())
        for offset, each in enumerate(sent)
    ]

"""Sources killed by SIGKILL in the middle, again and again, and started again: the tables are exact, as without."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from mastodon_server import MastodonWorld, mastodon_server

from pipeline.clickhouse.client import ClickHouse
from pipeline.kafka.client import open_admin
from pipeline.kafka.publisher import open_publisher
from pipeline.settings import Settings
from tests.end_to_end.checks import assert_exact, assert_recounted, engagement, environment_of
from tests.end_to_end.workers import Workers, wait_until
from tests.patience import SCALE
from tests.truth import truth_of

ROWS = 9_000
RATE = 600
MAP = {
    "version": "1",
    "constants": {"channel": "shop"},
    "events": [
        {
            "when": "what != 'noise'",
            "kind": {"path": "what", "values": {"item": "post", "fav": "like", "pass on": "share", "says": "comment"}},
            "action": {"path": "undone && 'retract' || 'add'"},
            "event_id": "id",
            "post_id": {"template": "item-{item}"},
            "actor_id": "user.name",
            "parent_id": "below",
            "target_id": "undone",
            "occurred_at": {"path": "at", "time": "seconds"},
            "hashtags": {"path": "tags", "split": ","},
        }
    ],
}
WORDS = {"post": "item", "like": "fav", "share": "pass on", "comment": "says"}
START = 1_767_225_600


def shop(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of a shop in their order, some twice, some that are no events, and the events that they say."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    standing: list[dict[str, Any]] = []

    def tell(kind: str, item: int, number: int, below: str = "", undone: str = "", tags: str = "") -> None:
        at, user = START + number, f"u{chance.randrange(400)}"
        name = f"{undone}#undo" if undone else f"{kind}-{number}"
        row = {"what": WORDS[kind], "id": name, "item": item, "user": {"name": user}, "at": at}
        more = {"below": below, "undone": undone, "tags": tags}
        rows.append(row | {key: value for key, value in more.items() if value})
        event = {"kind": kind, "event_id": name, "post_id": f"item-{item}", "actor_id": user, "channel": "shop"}
        event["occurred_at"] = f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
        event |= {"parent_id": below} if below else {}
        event |= {"action": "retract", "target_id": undone} if undone else {}
        events.append(event | ({"hashtags": tags.split(",")} if tags else {}))
        if kind != "post" and not undone:
            standing.append(events[-1])

    for item in range(50):
        tell("post", item, item, tags="sale,new" if item % 3 == 0 else "")
    while len(rows) < ROWS:
        number, kind = len(rows), chance.choice(("like", "like", "share", "comment"))
        match chance.random():
            case x if x < 0.05 and standing:
                gone = standing.pop(chance.randrange(len(standing)))
                tell(gone["kind"], int(gone["post_id"][5:]), number, undone=gone["event_id"])
            case x if x < 0.1:
                rows.append({"what": "noise", "at": number})
            case x if x < 0.15:
                rows.append(chance.choice(rows))
            case x if x < 0.3 and standing:
                above = chance.choice(standing)
                below = above["event_id"] if above["kind"] != "like" else ""
                tell("comment", int(above["post_id"][5:]), number, below=below)
            case _:
                tell(kind, min(int(chance.expovariate(0.1)), 49), number)
    return rows, events


@pytest.fixture
def environment(settings: Settings, tmp_path: Path) -> dict[str, str]:
    made = environment_of(settings, os.environ) | {"XDG_STATE_HOME": str(tmp_path / "state")}
    engagement(made, "init")
    return made


def run_killed(
    environment: dict[str, str],
    settings: Settings,
    arguments: list[str],
    total: int,
    between: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Kills a source after each fifth of its records, three times, and lets the fourth run end; its summary."""
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments, "--json"]
    for _ in range(3):
        wanted = records_in(settings) + total // 5
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                wait_until(lambda most=wanted: records_in(settings) >= most, 60, "the source has not sent enough")
                assert process.poll() is None, "it has ended before: nothing is tested"
            finally:
                process.kill()
        between()
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120 * SCALE, check=False)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def records_in(settings: Settings) -> int:
    with open_admin(settings) as admin:
        return sum(admin.ends(settings.topics.sources).values())


def write_map(folder: Path) -> str:
    (folder / "shop.yaml").write_text(yaml.safe_dump(MAP))
    return str(folder / "shop.yaml")


@pytest.mark.parametrize("kind", ["file", "topic"])
def test_import(kind: str, environment: dict[str, str], settings: Settings, tmp_path: Path) -> None:
    rows, events = shop(seed=len(kind))
    total = sum(row["what"] != "noise" for row in rows)
    arguments = ["import", "--map", write_map(tmp_path), "--rate", str(RATE)]
    if kind == "file":
        file = tmp_path / "shop.ndjson"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        arguments += [str(file), "--resume"]
    else:
        topic = f"{settings.topic_prefix}.foreign"
        with open_admin(settings) as admin:
            admin.create_topic(topic, 3, 1, {})
        with open_publisher(settings) as publisher:
            for number, row in enumerate(rows):
                publisher.send(topic, None, json.dumps(row).encode(), partition=number % 3)
            publisher.flush()
        arguments += ["--topic", topic, "--until-idle", "3"]
    last = run_killed(environment, settings, arguments, total)
    assert 0 < last["total"] < total, "the last run goes on, and does not begin anew"
    assert records_in(settings) > total, "nothing was sent twice: nothing is tested"
    with Workers(tmp_path, environment) as workers:
        workers.catch_up()
    assert_exact(settings, truth_of(events))
    assert_recounted(environment)


def test_mastodon(environment: dict[str, str], settings: Settings, tmp_path: Path) -> None:
    world, chance = MastodonWorld(), random.Random(3)
    recent = (datetime.now(UTC) - timedelta(seconds=60)).isoformat()
    for number in range(30):
        answers = str(chance.randrange(1, number)) if number > 20 else None
        counters = {"favourites_count": chance.randrange(80, 160), "reblogs_count": chance.randrange(30, 50)}
        world.write(f"u{number}", answers, created_at=recent, **counters)

    def go_on() -> None:
        for status in chance.sample(list(world.statuses.values()), 15):
            status["favourites_count"] += chance.randrange(1, 30)
            status["reblogs_count"] += chance.randrange(2)
        world.write("late", "1", created_at=recent)

    total = 30 + sum(status["favourites_count"] + status["reblogs_count"] for status in world.statuses.values())
    with mastodon_server(world) as server:
        arguments = ["mastodon", "--server", server, "--public", "--interval", "5", "--rounds", "4"]
        arguments += ["--state", str(tmp_path / "state.sqlite"), "--rate", str(RATE // 2)]
        last = run_killed(environment, settings, arguments, total, go_on)
    assert 0 < last["total"] < total, "the last run goes on, and does not begin anew"
    with Workers(tmp_path, environment) as workers:
        workers.catch_up()
    with ClickHouse(settings) as client:
        sums = ", ".join(f"toInt64(sum({kind}s)) - sum({kind}s_retracted)" for kind in ("like", "share", "comment"))
        found = client.select(f"SELECT post_id, {sums} FROM post_minutes FINAL GROUP BY post_id")
        assert client.select("SELECT count() FROM dead_letters") == [[0]]
    assert {post_id: counts for post_id, *counts in zip(*found, strict=True)} == counts_of(world)
    assert_recounted(environment)


def counts_of(world: MastodonWorld) -> dict[str, list[int]]:
    """Likes, shares and comments as the server's counters tell: an answer has likes and shares of its own, and is a
    comment of the status that begins its thread."""
    counts: dict[str, list[int]] = {}
    for status in world.statuses.values():
        counts[status["uri"]] = [status["favourites_count"], status["reblogs_count"], 0]
    for status in world.statuses.values():
        root = status
        while root["in_reply_to_id"] is not None:
            root = world.statuses[root["in_reply_to_id"]]
        counts[root["uri"]][2] += root is not status
    return {uri: sums for uri, sums in counts.items() if any(sums)}

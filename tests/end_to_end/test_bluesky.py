"""Bluesky on the whole stack: a host on loopback, the command killed by SIGKILL again and again, workers, tables."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from fakes_bluesky import LIKE, POST, REPOST, account, delete, did, facets, like, post, ref, reply, repost, uri
from jetstream_server import Host, JetstreamServer, Unkindness, as_v2

from pipeline.clickhouse.client import ClickHouse
from pipeline.embedded.ports import find_free_port
from pipeline.settings import Settings
from tests.end_to_end.checks import assert_exact, assert_recounted, engagement, environment_of
from tests.end_to_end.workers import Workers, wait_until
from tests.patience import SCALE
from tests.truth import truth_of

FRAMES = 6000


def network(seed: int) -> list[dict[str, Any]]:
    """Frames of a small network, ten a second: posts, quotes, likes, reposts through reposts, threads, what is taken
    back, an account that is deleted."""
    chance, made = random.Random(seed), [post("ana", "p0")]
    posts, replies, reposts = [uri("ana", POST, "p0")], {}, {}
    standing: list[tuple[str, str, str]] = []
    for n in range(1, FRAMES):
        who, at, target = f"u{chance.randrange(300)}", n // 10, posts[min(int(chance.expovariate(0.2)), len(posts) - 1)]
        match chance.random():
            case x if x < 0.04:
                embed = {"embed": {"$type": "app.bsky.embed.record", "record": ref(target)}} if x < 0.02 else {}
                made.append(
                    post(who, f"p{n}", at, facets=facets(("tag", f"tag{n % 5}"), ("mention", did("u1"))), **embed)
                )
                posts.append(uri(who, POST, f"p{n}"))
                continue
            case x if x < 0.55:
                made.append(like(who, f"l{n}", target, at))
                standing.append((who, LIKE, f"l{n}"))
            case x if x < 0.75:
                made.append(repost(who, f"r{n}", target, at, via=reposts.get(target)))
                reposts[target] = uri(who, REPOST, f"r{n}")
                standing.append((who, REPOST, f"r{n}"))
            case x if x < 0.9:
                made.append(reply(who, f"c{n}", target, replies.get(target, target), at))
                replies[target] = uri(who, POST, f"c{n}")
                standing.append((who, POST, f"c{n}"))
            case _ if standing:
                gone = standing.pop(chance.randrange(len(standing)))
                # Nobody undoes anything whose account is deleted below: both would take back the same.
                if gone[0] != "u7":
                    made.append(delete(*gone, at))
    return [*made, account("u7", "deleted", FRAMES // 10)]


def told(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events of such frames, in plain Python."""
    events: list[dict[str, Any]] = []
    for frame in frames:
        seconds = frame["time_us"] / 1_000_000
        if frame["kind"] == "account":
            events += [undo(event, seconds) for event in events if is_standing(event, frame["did"])]
            continue
        made, actor = frame["commit"], frame["did"]
        at = f"at://{actor}/{made['collection']}/{made['rkey']}"
        if made["operation"] == "delete":
            events += [undo(event, seconds) for event in events if event.get("event_id") == at]
            continue
        record = made["record"]
        base = {"event_id": at, "actor_id": actor, "occurred_at": stamp(seconds - 1), "channel": "bluesky"}
        if made["collection"] != POST:
            kind = "like" if made["collection"] == LIKE else "share"
            via = {"parent_id": record["via"]["uri"]} if "via" in record else {}
            events.append({**base, "kind": kind, "post_id": record["subject"]["uri"], **via})
            continue
        seen = f"https://bsky.app/profile/{actor}/post/{made['rkey']}"
        if "reply" in record:
            root, parent = record["reply"]["root"]["uri"], record["reply"]["parent"]["uri"]
            above = {} if parent == root else {"parent_id": parent}
            events.append({**base, "kind": "comment", "post_id": root, "url": seen, **above})
            continue
        features = [facet["features"][0] for facet in record.get("facets", [])]
        quoted = record.get("embed", {}).get("record", {}).get("uri")
        own = {
            "hashtags": [feature["tag"] for feature in features if "tag" in feature],
            "mentions": [feature["did"] for feature in features if "did" in feature],
            "url": seen,
        }
        events.append({**base, "kind": "post", "post_id": at, **own, **({"quotes": quoted} if quoted else {})})
        if quoted:
            events.append({**base, "kind": "share", "post_id": quoted, "url": seen})
    return events


def is_standing(event: dict[str, Any], actor: str) -> bool:
    return event["actor_id"] == actor and event.get("action") != "retract"


def undo(event: dict[str, Any], seconds: float) -> dict[str, Any]:
    kept = {name: event[name] for name in ("kind", "post_id", "actor_id", "channel")}
    target = event["event_id"]
    return {
        **kept,
        "action": "retract",
        "target_id": target,
        "event_id": target + "#undo",
        "occurred_at": stamp(seconds),
    }


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(seconds))


class Command:
    """`engagement bluesky` in a process of its own."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        code = "from pipeline.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "bluesky", "--json", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def end(self) -> dict[str, Any]:
        """Its summary, once it has ended."""
        said, errors = self.process.communicate(timeout=120 * SCALE)
        assert self.process.returncode == 0, errors
        summary: dict[str, Any] = json.loads(said)
        return summary


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_command_that_is_killed_again_and_again_loses_and_doubles_nothing(
    version: str, settings: Settings, tmp_path: Path
) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    plain = network(seed=4)
    frames: list[Any] = [*plain] if version == "v1" else [as_v2(frame, n) for n, frame in enumerate(plain, 1)]
    frames.insert(4000, "<html>")
    state = tmp_path / "state.sqlite"
    host = Host(version, [Unkindness(cut_after=300)], frames_a_second=3000)
    with JetstreamServer(frames, host) as server:
        arguments = ("--host", server.url, "--state", str(state), "--until-idle", "1.5")
        for more in (700, 900, 1500):
            command, sent = Command(environment, *arguments), server.sent
            wait_until(lambda most=sent + more: server.sent >= most, 60, "the host has not sent enough")
            time.sleep(0.3)
            command.kill()
        summary = Command(environment, *arguments).end()
        assert any(cursor is not None for cursor in server.cursors[1:]), "a position was saved"
    assert summary["notes"]["frames"] > 1000
    with Workers(tmp_path, environment) as workers:
        workers.catch_up()
    assert_exact(settings, truth_of(told(plain)))
    assert_recounted(environment)
    with ClickHouse(settings) as client:
        assert client.select("SELECT count() FROM dead_letters") == [[0]]
        [[takebacks]] = client.select("SELECT uniqExact(kind, event_id) FROM events WHERE action = 'retract'")
    assert takebacks == len({(e["kind"], e["event_id"]) for e in told(plain) if "action" in e}) > 300


def test_a_run_that_is_stopped_shows_itself_and_ends_well(settings: Settings, tmp_path: Path) -> None:
    port = find_free_port(())
    environment = environment_of(settings, os.environ) | {"ENGAGEMENT_SOURCE_METRICS_PORT": str(port)}
    engagement(environment, "init")
    frames = network(seed=5)[:500]
    with JetstreamServer(frames, Host("v1")) as server:
        command = Command(environment, "--host", server.url, "--state", str(tmp_path / "state.sqlite"))
        try:
            ready = f"http://127.0.0.1:{port}/readyz"
            wait_until(lambda: fetch(ready).startswith('{"live": true, "ready": true'), 60, "it is not ready")
            wanted = f"engagement_source_frames_total {len(frames)}.0"
            wait_until(lambda: wanted in fetch(f"http://127.0.0.1:{port}/metrics"), 60, "it does not show its frames")
            shown = fetch(f"http://127.0.0.1:{port}/metrics")
            command.process.send_signal(signal.SIGTERM)
            summary = command.end()
        finally:
            if command.process.poll() is None:
                command.kill()
    likes = sum(event["kind"] == "like" for event in told(frames) if "action" not in event)
    assert f'engagement_source_events_total{{action="add",kind="like"}} {likes}.0' in shown
    assert "engagement_source_connected 1.0" in shown
    assert summary["total"] == len(told(frames))


def fetch(url: str) -> str:
    """The body of a page; empty where there is none yet."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            body: bytes = answer.read()
            return body.decode()
    except OSError:
        return ""

"""`engagement forget` on a real stack: while workers run, after crashes at every step, and when all comes again. The
truth is plain Python over the input without the person."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from kafka.errors import KafkaError

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.errors import SettingsError
from pipeline.kafka.publisher import open_publisher
from pipeline.kafka.topics import ensure_topics
from pipeline.privacy.erased_hashes import ErasureKey
from pipeline.settings import Settings
from processors.columnar.hashing import Hasher
from processors.erasure.command import open_erasure
from processors.erasure.erase import STEPS
from processors.erasure.people import People
from tests.end_to_end.checks import assert_exact, assert_recounted, engagement, environment_of
from tests.end_to_end.group import Group
from tests.end_to_end.inputs import Input, simulated
from tests.end_to_end.workers import Workers, wait_until
from tests.truth import PostTruth, truth_of

WHO = "did:plc:forgotten7xyz"
KEY = "0123456789abcdef0123456789abcdef"
Event = dict[str, Any]


def identity(event: Event) -> tuple[Any, ...]:
    action = event.get("action") or "add"
    return event["post_id"], event["kind"], action, event.get("event_id") or f"{event['target_id']}#undo"


class Story:
    """A simulation in which one busy person is WHO: with posts of his own, ids that name him, and others who do."""

    def __init__(self, events: int, posts: int, seed: int = 11) -> None:
        made = simulated(events, posts, seed).events
        actors = [event["actor_id"] for event in made if event["kind"] != "post" and event["actor_id"]]
        busiest = max(set(actors), key=actors.count)
        ids = [event["post_id"] for event in made if event["kind"] == "post"]
        self.own = set(ids[:3])
        theirs = {identity(event)[3] for event in made if event["actor_id"] == busiest and event["kind"] == "comment"}
        self.events = [self._told(event, busiest, theirs) for event in made]
        for number, event in enumerate(event for event in self.events if event["kind"] == "post"):
            if event["post_id"] in self.own:
                event["actor_id"] = WHO
            elif number % 5 == 0:
                event["mentions"] = [*event.get("mentions", ()), "Acme", WHO]
            elif number % 5 == 1:
                event["quotes"] = ids[number % 3]
            elif number % 5 == 2:
                event["links"] = [f"https://bsky.app/profile/{WHO}", "https://example.com/kept"]

    def _told(self, event: Event, busiest: str, theirs: set[str]) -> Event:
        told = dict(event)
        if event["actor_id"] == busiest:
            told["actor_id"] = WHO
        for name in ("event_id", "parent_id", "target_id"):
            if event.get(name) in theirs:
                told[name] = f"at://{WHO}/comment/{event[name]}"
        return told

    def without(self, events: list[Event], stored: list[Event]) -> dict[str, PostTruth]:
        """The truth over events, of which `stored` were in the log before the person was erased."""
        first: dict[tuple[Any, ...], Event] = {}
        known = {id(event) for event in stored}
        for event in events:
            if event["actor_id"] != WHO or id(event) in known:
                first.setdefault(identity(event), event)
        return truth_of([self._clean(event) for event in first.values() if event["post_id"] not in self.own])

    def _clean(self, event: Event) -> Event:
        if event["actor_id"] == WHO:
            return {**event, "actor_id": None, "is_erased": True}
        clean = dict(event)
        if "mentions" in event:
            clean["mentions"] = [name for name in event["mentions"] if name != WHO]
        if event.get("quotes") in self.own:
            clean["quotes"] = None
        if "links" in event:
            clean["links"] = [link for link in event["links"] if WHO not in link]
        return clean


@pytest.fixture
def its(settings: Settings) -> Settings:
    ensure_topics(settings)
    migrate(settings)
    return settings


@pytest.fixture
def environment(its: Settings) -> dict[str, str]:
    return {**environment_of(its, os.environ), "ENGAGEMENT_ERASURE_KEY": KEY}


@pytest.fixture
def workers(environment: dict[str, str], tmp_path: Path) -> Iterator[Workers]:
    with Workers(tmp_path, environment) as workers:
        yield workers


def assert_gone(settings: Settings, environment: dict[str, str]) -> None:
    """Nothing names the person: no row, no file, no voice."""
    said = json.loads(engagement(environment, "forget", "--actor", WHO, "--check", "--json"))
    assert said["flaws"] == [], said
    assert said["is_refused"]
    assert said["columns"] > 50
    assert said["files_searched"] > 100
    assert said["bytes_searched"] > 100_000
    voice = int(Hasher().actors([WHO])[0])
    with ClickHouse(settings) as client:
        for table in ("conversation_posts", "conversation_days"):
            assert client.select(f"SELECT count() FROM {table} WHERE has(voices, {voice})") == [[0]]
        assert client.select(
            "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'erasing'"
        ) == [[0]]


def test_a_person_leaves_while_workers_run_and_no_replay_brings_the_name_back(
    its: Settings, environment: dict[str, str], workers: Workers
) -> None:
    story = Story(4000, 60)
    half = len(story.events) // 2
    before, after = story.events[:half], story.events[half:]
    worker = workers.start()
    Input(before).send(its)
    with open_publisher(its) as publisher:
        publisher.send(its.topics.of("like"), b"p", f'{{"kind": "like", "actor_id": "{WHO}"}}'.encode())
    worker.wait_until_ready()
    engagement(environment, "recount", "--check", "--wait", "120", "--json")
    with ClickHouse(its) as client:
        assert client.select("SELECT count() FROM dead_letters")[0][0] == 1
        assert client.select("SELECT count() FROM events WHERE actor_id = %(who)s", {"who": WHO})[0][0] > 20
    # Others go on meanwhile; the person comes again afterwards.
    others = Thread(target=Input([event for event in after if event["actor_id"] != WHO]).send, args=(its,))
    others.start()
    done = json.loads(engagement(environment, "forget", "--actor", WHO, "--json"))
    others.join()
    assert done["posts"] == len(story.own)
    assert done["dead_letters"] == 1
    assert done["kafka_keeps_ms"][its.topics.of("like")] == str(its.retention_hours * 3_600_000)
    Input([event for event in after if event["actor_id"] == WHO]).send(its)
    engagement(environment, "recount", "--check", "--wait", "120", "--json")
    truth = story.without(story.events, before)
    assert_exact(its, truth)
    assert_gone(its, environment)
    # Everything that Kafka still holds is read again, by both agents.
    assert worker.end() == 0, worker.tail
    for suffix in ("", "-conversations"):
        group = Group(its.model_copy(update={"topic_prefix": its.topic_prefix + suffix}))
        wait_until(lambda group=group: _forgets(group), 60, "the group has members")  # type: ignore[misc]
        group.close()
    workers.catch_up(180)
    assert_exact(its, truth)
    assert_gone(its, environment)
    assert_recounted(environment)


def _forgets(group: Group) -> bool:
    """Whether the broker has forgotten what a group has committed."""
    try:
        return group.forget()
    except KafkaError:
        return False


def test_an_erasure_that_crashes_anywhere_is_done_by_the_next_one(
    its: Settings, environment: dict[str, str], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(1500, 30)
    Input(story.events).send(its)
    workers.catch_up(180)
    people, key = People.of([WHO], None), ErasureKey(KEY)
    settings = its.model_copy()

    class Crash(Exception):
        pass

    def run(at_step: str = "", at_call: int = 0) -> bool:
        """Whether the erasure came to its end."""
        calls = 0

        def step(name: str) -> None:
            if name == "minutes":
                # A worker that has read the minutes of before stores what it rolls up, until it has acked once more.
                with ClickHouse(its) as client:
                    client.insert(
                        "conversation_days",
                        {"conversation": [f"author:bluesky/{WHO}"], "day": [20_000], "minutes": [1], "version": [1]},
                    )
            if name == at_step:
                raise Crash

        def counted(name: str) -> None:
            original = getattr(ClickHouse, name)

            def call(*arguments: Any, **more: Any) -> Any:
                nonlocal calls
                calls += 1
                if at_call and calls >= at_call:
                    raise Crash
                return original(*arguments, **more)

            patch.setattr(ClickHouse, name, call)

        with pytest.MonkeyPatch.context() as patch:
            for name in ("execute", "insert"):
                counted(name)
            try:
                with open_erasure(settings, key, people, 60, lambda line: None, step) as erasure:
                    erasure.run()
            except Crash:
                return False
            return True

    for at_call in range(1, 40, 3):
        if run(at_call=at_call):
            break
    else:
        pytest.fail("no run came to its end")
    assert at_call > 20, "there are fewer calls than a crash was tried at"
    for at_step in STEPS[:-1]:
        assert not run(at_step=at_step)
    assert run()
    assert_exact(its, story.without(story.events, story.events))
    assert_gone(its, environment)


KILLED = """
import os, signal, sys
from pipeline.privacy.erased_hashes import load_erasure_key
from pipeline.settings import load_settings
from processors.erasure.command import open_erasure
from processors.erasure.people import People

def die(step):
    if step == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

settings = load_settings()
with open_erasure(settings, load_erasure_key(settings), People.of([sys.argv[1]], None), 120, print, die) as erasure:
    erasure.run()
"""


def test_kill_of_the_command_after_each_step_and_of_workers_meanwhile(
    its: Settings, environment: dict[str, str], workers: Workers
) -> None:
    story = Story(2000, 40)
    half = len(story.events) // 2
    before, after = story.events[:half], story.events[half:]
    worker = workers.start()
    Input(before).send(its)
    worker.wait_until_ready()
    engagement(environment, "recount", "--check", "--wait", "120", "--json")
    others = None
    for step in STEPS[:-1]:
        forget = subprocess.Popen([sys.executable, "-c", KILLED, WHO, step], env=environment)
        if step in ("log", "posts", "minutes"):
            time.sleep(0.5)
            worker.kill()
            worker = workers.start()
        assert forget.wait(180) == -signal.SIGKILL
        if others is None:  # the person is refused from now on, and goes on sending
            others = Thread(target=Input(after).send, args=(its,))
            others.start()
    assert others is not None
    others.join()
    done = json.loads(engagement(environment, "forget", "--actor", WHO, "--json"))
    assert list(done["seconds"]) == list(STEPS)
    engagement(environment, "recount", "--check", "--wait", "120", "--json")
    assert_exact(its, story.without(story.events, before))
    assert_gone(its, environment)


def test_two_erasures_at_once(its: Settings, environment: dict[str, str], workers: Workers) -> None:
    story = Story(1500, 30)
    other = next(event["actor_id"] for event in story.events if event["actor_id"] not in (None, WHO))
    worker = workers.start()
    Input(story.events).send(its)
    worker.wait_until_ready()
    engagement(environment, "recount", "--check", "--wait", "120", "--json")
    command = "from pipeline.cli import main; main()"
    running = [
        subprocess.Popen([sys.executable, "-c", command, "forget", "--actor", who, "--wait", "120"], env=environment)
        for who in (WHO, other)
    ]
    assert [forget.wait(180) for forget in running] == [0, 0]
    assert_gone(its, environment)
    engagement(environment, "forget", "--actor", other, "--check", "--json")


def test_the_key_is_needed_and_has_to_be_the_same(its: Settings, environment: dict[str, str], workers: Workers) -> None:
    story = Story(300, 10)
    Input(story.events).send(its)
    workers.catch_up(180)
    engagement(environment, "forget", "--actor", WHO)
    for other in ("", KEY[::-1]):
        worker = workers.start("--until-caught-up", erasure_key=other) if other else None
        if worker is not None:
            assert worker.wait(120) == SettingsError("").exit_code
            assert "ENGAGEMENT_ERASURE_KEY is not the key" in worker.log

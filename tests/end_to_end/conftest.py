"""Inputs are made and sent once; each test has an empty database, a group that has read nothing, workers that end."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.embedded.endpoints import StackEndpoints
from pipeline.embedded.stack import Stack
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings
from tests.end_to_end.checks import assert_exact, assert_recounted, environment_of
from tests.end_to_end.group import Group
from tests.end_to_end.inputs import Input, cascades, simulated
from tests.end_to_end.workers import Workers, wait_until

FULL = os.environ.get("ENGAGEMENT_TEST_FULL", "") not in ("", "0")
"""Every fault on an input of full size: for an hour in which nobody waits."""


@pytest.fixture(scope="session")
def mixed(request: pytest.FixtureRequest) -> Input:
    """A simulation with everything awkward in it, beside real cascades where they are at hand."""
    made = simulated(870_000, 20_000) if FULL else simulated(30_000, 800)
    try:
        data = request.getfixturevalue("data")
    except pytest.skip.Exception:
        return made
    return Input(made.events + cascades(data, every=1 if FULL else 60).events)


@pytest.fixture(scope="session")
def sent(stack: Stack, mixed: Input) -> str:
    """The prefix of topics that hold all of `mixed`."""
    addresses = stack.status().addresses
    assert addresses is not None
    settings = _settings(addresses, f"e{uuid.uuid4().hex[:12]}")
    ensure_topics(settings)
    mixed.send(settings)
    return settings.topic_prefix


@pytest.fixture
def backlog(settings: Settings, sent: str) -> Settings:
    """Empty tables, and topics that hold all of `mixed`, of which the group has read nothing."""
    its = settings.model_copy(update={"topic_prefix": sent})
    migrate(its)
    group = Group(its)
    wait_until(group.forget, 30, "members of an earlier test are still in the group")
    group.close()
    return its


@pytest.fixture
def group(backlog: Settings) -> Iterator[Group]:
    group = Group(backlog)
    yield group
    group.close()


@pytest.fixture
def workers(backlog: Settings, tmp_path: Path) -> Iterator[Workers]:
    with Workers(tmp_path, environment_of(backlog, os.environ)) as workers:
        yield workers


@pytest.fixture
def run(backlog: Settings, mixed: Input, group: Group, workers: Workers) -> "Run":
    return Run(backlog, mixed, group, workers)


class Run:
    """`mixed` on its way through a worker or some."""

    def __init__(self, settings: Settings, mixed: Input, group: Group, workers: Workers) -> None:
        self.settings, self.group, self.workers = settings, group, workers
        self._mixed = mixed
        self.total = len(mixed.events)

    def wait_for_commit(self, beyond: int = 0, seconds: float = 60) -> int:
        """Until the committed offset has moved beyond a number of records while lag is left; where it stands then."""
        wait_until(lambda: self.group.committed() > beyond, seconds, f"nothing is committed beyond {beyond}")
        committed = self.group.committed()
        assert beyond < committed < self.total, f"no lag is left at {committed} of {self.total}: nothing is tested"
        return committed

    def assert_done(self) -> None:
        """All is committed, every row is exact, nothing good is a dead letter, and a recount agrees."""
        with ClickHouse(self.settings) as client:
            assert client.select("SELECT count() FROM dead_letters") == [[0]]
        assert self.group.committed() == self.group.sent() == self.total
        assert_exact(self.settings, self._mixed.truth)
        assert_recounted(environment_of(self.settings, os.environ))


def _settings(addresses: StackEndpoints, prefix: str) -> Settings:
    return Settings(kafka=addresses.kafka, topic_prefix=prefix, partitions=4)

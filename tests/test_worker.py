"""The table of agents and what `build_worker` makes of it, without Kafka and ClickHouse."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.settings import Settings
from processors.runtime.memory import MemoryBudget
from processors.runtime.source_ports import SourceGroup
from processors.worker import AGENTS, WorkOptions, _catch_up, _source_policy, build_worker

ALERTS = """
receivers:
  hook: {kind: webhook, url: "http://127.0.0.1:9/"}
routes:
  - {match: "*", to: [hook]}
"""


@dataclass
class FakeSource:
    is_caught_up: bool = False

    async def stop(self) -> None: ...


def test_each_agent_reads_topics_of_its_own_in_a_group_of_its_own() -> None:
    settings, memory = Settings(), MemoryBudget(1 << 30)
    policies = [_source_policy(spec, settings, memory, WorkOptions(rewind_to=7)) for spec in AGENTS]
    topics = [topic for policy in policies for topic in policy.group.topics]
    assert topics == [
        "engagement.posts",
        "engagement.likes",
        "engagement.shares",
        "engagement.comments",
        "engagement.conversations",
        "engagement.alerts",
    ]
    assert [policy.group.group for policy in policies] == [
        "engagement",
        "engagement-conversations",
        "engagement-alerts",
    ]
    assert [policy.rewind_to for policy in policies] == [7, None, None], "messages between agents are never rewound"


def test_each_agent_stands_behind_the_one_whose_messages_it_reads() -> None:
    names = [spec.name for spec in AGENTS]
    assert [spec.after for spec in AGENTS] == [None, *names[:-1]]


def test_alerts_run_only_where_a_file_names_receivers(tmp_path: Path) -> None:
    file = tmp_path / "alerts.yaml"
    file.write_text(ALERTS)
    assert set(build_worker(Settings()).agents) == {"engagement", "conversations"}
    assert set(build_worker(Settings(alerts=file)).agents) == {"engagement", "conversations", "alerts"}


def test_a_run_ends_source_after_source_and_the_last_one_stops_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []
    monkeypatch.setattr("processors.worker._stop_worker", lambda: stopped.append("worker"))
    specs, group = AGENTS[:2], SourceGroup()
    options = WorkOptions(until_caught_up=True)
    first, last = (_catch_up(spec, spec is specs[-1], group, options) for spec in specs)
    assert first is not None
    assert last is not None
    assert first.is_due()
    assert not last.is_due(), "before the source is made"
    group.add("engagement", source := FakeSource())
    assert not last.is_due()
    source.is_caught_up = True
    assert last.is_due()
    first.then()
    assert stopped == []
    last.then()
    assert stopped == ["worker"]


def test_a_run_without_an_end_never_catches_up() -> None:
    assert all(_catch_up(spec, False, SourceGroup(), WorkOptions()) is None for spec in AGENTS)

"""Records that are no events: each becomes a dead letter with a reason, and what is good beside it is counted."""

import json
import os
from pathlib import Path

from pipeline.clickhouse.client import ClickHouse
from pipeline.kafka.publisher import open_publisher
from pipeline.settings import Settings
from producers.destinations import KafkaDestination
from producers.sending import send_all
from producers.simulation.policy import SimulationPolicy
from producers.simulation.records import simulated_records
from producers.sources.simulate import SimulationSource
from tests.end_to_end.checks import assert_exact, assert_recounted, engagement, environment_of
from tests.end_to_end.workers import Workers
from tests.truth import truth_of

FAR = "2100"
"""What a simulation dates ahead of time begins with."""


def test_bad_records_beside_good_ones(settings: Settings, tmp_path: Path) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    policy = SimulationPolicy(events=10_000, posts=200, malformed=0.05, future=0.02, duplicates=0.05, seed=4)
    records = list(simulated_records(policy))
    with open_publisher(settings) as publisher:
        # The largest that a record can be, and not an event.
        publisher.send(settings.topics.of("like"), b"p", b'{"x":"' + b"y" * (settings.record_limit - 500) + b'"}')
        send_all(SimulationSource(policy), KafkaDestination(publisher, settings.topics, settings.partitions))
    with Workers(tmp_path, environment) as workers:
        workers.catch_up()
    events = [json.loads(record.value or b"") for record in records if record.is_event]
    ahead = sum(event["occurred_at"].startswith(FAR) for event in events)
    spoilt = sum(not record.is_event for record in records)
    assert ahead > 100
    assert spoilt > 100
    assert_exact(settings, truth_of(event for event in events if not event["occurred_at"].startswith(FAR)))
    assert_recounted(environment)
    with ClickHouse(settings) as client:
        letters = client.select("SELECT reason, field FROM dead_letters FINAL")
        assert len(letters[0]) == spoilt + ahead + 1
        assert all(len(reason) > 10 for reason in letters[0])
        # Nineteen flaws and two more have reasons that can be told apart.
        assert len({(reason[:20], field) for reason, field in zip(*letters, strict=True)}) >= 12
    said = json.loads(engagement(environment, "dead-letters", "list", "--json").splitlines()[0])
    assert said

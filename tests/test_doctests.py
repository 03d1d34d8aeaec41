"""Examples in docstrings run."""

import doctest
from importlib import import_module

import pytest

MODULES = (
    "deploy.clickhouse.drafting",
    "deploy.clickhouse.views",
    "pipeline.dead_letters.fuse",
    "pipeline.kafka.group_topics",
    "pipeline.kafka.topics",
    "pipeline.clickhouse.compression",
    "pipeline.clickhouse.insert_format",
    "processors.alerts.deliveries.rate_bucket",
    "processors.alerts.fields",
    "processors.spikes.detection.detector",
    "processors.spikes.policy",
    "producers.pacing",
    "schemas.events",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_do_what_they_say(name: str) -> None:
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    result = doctest.testmod(import_module(name), optionflags=flags)
    assert result.attempted
    assert not result.failed

"""A worker with other settings than its group: refused at the door; once the others' are adopted, they end instead."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from processors.commands import recount
from tests.end_to_end.checks import assert_recounted, engagement, environment_of
from tests.end_to_end.inputs import Input
from tests.end_to_end.workers import Workers

TAGS = "SELECT DISTINCT conversation FROM conversation_posts FINAL WHERE likes > 0 AND conversation LIKE 'brand:%'"


def _events(post_id: str) -> Input:
    common = {"post_id": post_id, "channel": "x", "actor_id": "a", "occurred_at": "2026-01-01T12:00:00Z"}
    post = common | {"kind": "post", "event_id": post_id, "hashtags": ["launch"]}
    return Input([post, common | {"kind": "like", "event_id": f"{post_id}-like"}])


@pytest.mark.timeout(300)
def test_brands_are_changed_for_all_or_for_nobody(settings: Settings, tmp_path: Path) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    brands = tmp_path / "brands.yaml"
    brands.write_text("acme: {side: own, hashtags: [launch]}\n")
    changed = environment | {"ENGAGEMENT_BRANDS": str(brands)}
    _events("p").send(settings)
    with Workers(tmp_path, environment) as workers, ClickHouse(settings) as client:
        first = workers.start()
        first.wait_until_ready()
        second = workers.start(brands=brands)
        assert second.wait(60) == 2, second.tail
        last = second.log.splitlines()[-1]
        assert "ENGAGEMENT_BRANDS is 1 brand, sha256 " in last
        assert "here, but none since " in last
        assert "engagement recount --adopt" in last
        assert "partitions of" not in second.log, "it joined a group before it was refused"
        assert first.log.count("partitions of ours") == 1

        engagement(changed, "recount", "--adopt")
        assert first.wait(15) == 2, first.tail
        assert "ENGAGEMENT_BRANDS is none here, but 1 brand, sha256 " in first.log.splitlines()[-1]
        _events("q").send(settings)
        workers.catch_up(brands=brands)
        assert client.select(TAGS) == [["brand:acme"]]
        assert client.select("SELECT count() FROM post_metrics FINAL WHERE likes = 1") == [[2]]
    assert_recounted(changed)
    done = CliRunner().invoke(recount, ["--check"], env=environment)
    assert "ENGAGEMENT_BRANDS is none here" in str(done.exception), done.output
    assert not done.stdout, "rows are blamed"

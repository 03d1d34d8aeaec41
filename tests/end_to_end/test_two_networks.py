"""Two networks at once, a fast one and a slow one: each gets parameters of its own from its finished posts, whatever
crashes, and forecasts in the view are those of the code by the version that held then."""

import json
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from processors.virality.fit.cascades import Cascades, sample_at
from processors.virality.forecast import forecast
from processors.virality.parameters import ForecastParameters, load_parameters, resampled
from processors.virality.spread import Lookups
from schemas.spread import FITTED_AGES
from tests.end_to_end.checks import engagement, environment_of
from tests.end_to_end.workers import Workers, wait_until

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 1440.0
POSTS = 45
EARLY_POSTS = 30
WAITS = {"fast": 10.0, "slow": 600.0}


def events() -> list[dict[str, Any]]:
    """Makes posts of 30 days, most of the first five, with shares that come after waits of 10 or of 600 minutes."""
    rng, made = random.Random(5), []
    for channel, wait in WAITS.items():
        for number in range(POSTS):
            post, author = f"{channel}-{number}", f"{channel}-author-{number % 7}"
            minutes = rng.uniform(0, 5 * DAY) if number < EARLY_POSTS else rng.uniform(5 * DAY, 30 * DAY)
            born = BEGIN + timedelta(minutes=minutes)
            common = {"post_id": post, "channel": channel}
            made.append((born, common | {"event_id": post, "kind": "post", "actor_id": author, "author_id": author}))
            lags, generation = [], [0.0] * rng.randrange(20, 60)
            while generation and len(lags) < 300:
                generation = [lag + rng.expovariate(1 / wait) for lag in generation if rng.random() < 0.6]
                lags += generation
            for share, lag in enumerate(lags):
                event = common | {"event_id": f"{post}-{share}", "kind": "share", "actor_id": f"u{share}"}
                made.append((born + timedelta(minutes=lag), event))
    made.sort(key=lambda pair: pair[0])
    return [event | {"occurred_at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")} for at, event in made]


def test_two_networks(settings: Settings, tmp_path: Path) -> None:
    environment = environment_of(settings, os.environ)

    def run(*arguments: str) -> str:
        return engagement(environment, *arguments)

    file = tmp_path / "events.ndjson"
    file.write_text("".join(json.dumps(event) + "\n" for event in events()))
    for command in (["init"], ["replay", str(file)]):
        run(*command)
    with Workers(tmp_path, environment) as workers, ClickHouse(settings) as client:
        worker = workers.start(instance="one", flush_seconds=0.1, flush_events=500, test_pause=0.2)
        wait_until(lambda: count(client, "post_metrics") > 0, 120, "no row of a post was stored")
        worker.kill()
        workers.catch_up(instance="one")
        first = json.loads(run("calibrate", "--json"))["versions"]
        stored = versions(client)
        assert {row["channel"] for row in first} == set(WAITS)
        # Before ten posts have finished, versions rest on posts a day old.
        assert {row["channel"] for row in first if row["finished"] == 0} == set(WAITS)
        assert run("calibrate", "--json") == '{"versions": []}\n'
        # Without versions the forecasts are the prior's; learned again, the versions are the same to the last digit.
        own = forecasts(client)
        for table in ("forecast_versions", "forecast_habits"):
            client.execute(f"TRUNCATE TABLE {table}")
        prior = forecasts(client)
        assert {basis for basis, *_ in prior.values()} == {"prior"}
        run("calibrate")
        assert versions(client) == stored
        assert forecasts(client) == own
        checked = json.loads(run("recount", "--check", "--json"))
        assert checked["differences"] == 0
        assert checked["forecast_versions"] == {"learned_again": 6, "late": 0}
        compare_with_code(client, own)


def compare_with_code(client: ClickHouse, shown: dict[str, Any]) -> None:
    """Compares the view's forecasts with those of the code, whose inputs come from the file, not from the tables."""
    rows = list(
        zip(
            *client.select(
                "SELECT post_id, channel, author_id, toUnixTimestamp(created_at), "
                "toUnixTimestamp(spread_as_of) FROM post_metrics_v ORDER BY post_id"
            ),
            strict=True,
        )
    )
    lags: dict[str, list[int]] = {}
    for event in events():
        if event["kind"] == "share":
            at = int(datetime.fromisoformat(event["occurred_at"]).timestamp()) // 60
            lags.setdefault(event["post_id"], []).append(at)
    tested = 0
    for post, channel, author, created, as_of in rows:
        made, until = created // 60, as_of // 60
        at = np.array(lags[post])
        data = Cascades(
            [post],
            [author],
            np.array([made]),
            np.array([10**9]),
            np.zeros(len(at), np.int64),
            at - made,
            np.full(len(at), 10**10),
            np.ones(len(at), np.int64),
        )
        sample = sample_at(data, until - made, np.ones(1, np.bool_), Lookups())
        basis, final, low, high, double = shown[post]
        version = version_of(client, channel, as_of)
        assert (basis == "prior") == (version is None)
        habit = client.select(
            "SELECT habit FROM forecast_habits FINAL WHERE channel = %(c)s AND author_id = %(a)s AND "
            "holds_from <= toDateTime(%(t)s, 'UTC') ORDER BY holds_from DESC LIMIT 1",
            {"c": channel, "a": author, "t": as_of},
        )
        habits = np.array([habit[0][0] if habit and version is not None else 0.0])
        said = forecast(sample.spread, sample.own_age, version or load_parameters(), sample.at, habits)
        expected = [said.final[0], said.low[0], said.high[0], said.double[0]]
        assert [final, low, high, double] == pytest.approx(expected, rel=1e-6), post
        tested += version is not None
    assert tested > POSTS


def version_of(client: ClickHouse, channel: str, as_of: int) -> ForecastParameters | None:
    """Returns the newest version that holds at a time, from its rows."""
    found = client.select(
        "SELECT holds_from, step, here FROM forecast_versions FINAL WHERE channel = %(c)s AND "
        "holds_from <= toDateTime(%(t)s, 'UTC') ORDER BY holds_from DESC, step LIMIT %(n)s",
        {"c": channel, "t": as_of, "n": len(FITTED_AGES)},
    )
    if not found:
        return None
    return resampled(load_parameters(), FITTED_AGES).with_table(np.array(found[2]))


def forecasts(client: ClickHouse) -> dict[str, Any]:
    """Reads the forecasts of all posts from the view."""
    columns = client.select(
        "SELECT post_id, forecast_basis, forecast_shares, forecast_shares_low, forecast_shares_high, "
        "forecast_shares_double_age FROM post_metrics_v ORDER BY post_id"
    )
    return {post: values for post, *values in zip(*columns, strict=True)}


def versions(client: ClickHouse) -> list[Any]:
    """Reads all versions and habits."""
    by_step = client.select(
        "SELECT channel, holds_from, step, finished, digest, here, ahead FROM forecast_versions FINAL "
        "ORDER BY channel, holds_from, step"
    )
    habits = client.select(
        "SELECT channel, author_id, holds_from, habit FROM forecast_habits FINAL "
        "ORDER BY channel, author_id, holds_from"
    )
    return [*by_step, *habits]


def count(client: ClickHouse, table: str) -> int:
    return int(client.select(f"SELECT count() FROM {table}")[0][0])

"""What ClickHouse holds, held against the truth."""

import json
import os
from collections.abc import Mapping
from typing import Any

from click.testing import CliRunner

from pipeline.cli import engagement as command
from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from tests.folding import differences, plain
from tests.truth import PostTruth

COUNTS = ("likes", "shares", "comments", "likes_retracted", "shares_retracted", "comments_retracted")
FACTS = ("author_id", "channel", "url", "conversations", "mentions", "links", "quotes", "followers", "text")

Truth = Mapping[str, PostTruth]


def environment_of(settings: Settings, base: Mapping[str, str]) -> dict[str, str]:
    """What a process needs to have these settings."""
    return {
        **base,
        "ENGAGEMENT_KAFKA": settings.kafka,
        "ENGAGEMENT_CLICKHOUSE": settings.clickhouse.get_secret_value(),
        "ENGAGEMENT_TOPIC_PREFIX": settings.topic_prefix,
        "ENGAGEMENT_PARTITIONS": str(settings.partitions),
        "ENGAGEMENT_METRICS_PORT": "0",
    }


def engagement(environment: Mapping[str, str], *arguments: str) -> str:
    """What the command says on stdout, run in this process with these settings. Fails where its exit code is not 0."""
    others = {name: None for name in os.environ if name.startswith("ENGAGEMENT_") and name not in environment}
    done = CliRunner().invoke(command, arguments, env={**others, **environment})
    assert done.exit_code == 0, f"engagement {' '.join(arguments)}: {done.exception!r}\n{done.output}"
    return done.stdout


def assert_exact(settings: Settings, truth: Truth) -> None:
    """Every value of post_metrics, post_minutes and posts is what the truth says, and no row is there beside."""
    with ClickHouse(settings) as client:
        metrics, minutes, posts = metrics_of(client, truth), minutes_of(client), posts_of(client)
    wrong = [
        f"{post_id}: {different}"
        for post_id, row in metrics.items()
        if post_id in truth and (different := differences(row, truth[post_id].metrics()))
    ]
    assert not wrong, f"{len(wrong)} posts of {len(truth)} differ (found, true): {wrong[:3]}"
    assert metrics.keys() == truth.keys()
    # Compared post by post: an equality of all of it takes minutes to say what differs.
    wrong = [post_id for post_id in truth if minutes.pop(post_id, {}) != truth[post_id].minutes]
    assert not wrong, f"minutes of {len(wrong)} posts differ: {wrong[:5]}"
    assert not minutes
    wrong = [post_id for post_id in truth if posts.pop(post_id, None) != truth[post_id].facts()]
    assert not wrong, f"facts of {len(wrong)} posts differ: {wrong[:5]}"
    assert not posts


def assert_not_above(client: ClickHouse, truth: Truth) -> int:
    """No row counts what did not happen, or anything twice; how many events the rows have seen."""
    seen = client.select("SELECT post_id, events_seen FROM post_metrics FINAL")
    for post_id, events in zip(*seen, strict=True) if seen else ():
        assert events <= truth[post_id].events_seen, f"{post_id}: {events} of {truth[post_id].events_seen} events"
    # What was added to a minute only grows; what was taken back may move to an earlier one.
    for post_id, panes in minutes_of(client).items():
        true = truth[post_id].minutes
        for minute, counts in panes.items():
            most = true.get(minute, (0,) * 6)
            assert all(counts[place] <= most[place] for place in range(3)), f"{post_id} {minute}: {counts}, not {most}"
    return sum(seen[1]) if seen else 0


def assert_recounted(environment: Mapping[str, str]) -> None:
    """`recount --check` finds no difference."""
    said = json.loads(engagement(environment, "recount", "--check", "--json"))
    assert said["differences"] == 0, said
    assert said["posts"] > 0


def metrics_of(client: ClickHouse, truth: Truth) -> dict[str, dict[str, Any]]:
    """post_id -> row of post_metrics, in the columns that the truth has."""
    names = list(next(iter(truth.values())).metrics())
    minutes = ("as_of", "oldest_unanswered_at", "spread_as_of")
    selected = ", ".join(f"toUnixTimestamp({name})" if name in minutes else name for name in names)
    found = client.select(f"SELECT post_id, {selected} FROM post_metrics FINAL")
    ids, *columns = map(plain, found) if found else ([] for _ in ("post_id", *names))
    return {post_id: dict(zip(names, values, strict=True)) for post_id, *values in zip(ids, *columns, strict=True)}


def minutes_of(client: ClickHouse) -> dict[str, dict[int, tuple[int, ...]]]:
    """post_id -> minute -> counts, rows of zeros left out."""
    found: dict[str, dict[int, tuple[int, ...]]] = {}
    sql = f"SELECT post_id, intDiv(toUnixTimestamp(minute), 60), {', '.join(COUNTS)} FROM post_minutes FINAL"
    for block in client.stream(sql):
        for post_id, minute, *counts in zip(*block, strict=True):
            if any(counts):
                assert minute not in found.setdefault(post_id, {}), "a minute has two rows"
                found[post_id][minute] = tuple(counts)
    return found


def posts_of(client: ClickHouse) -> dict[str, dict[str, Any]]:
    """post_id -> row of posts, as `PostTruth.facts` has it."""
    times = ("created_at", "deleted_at")
    ticks = ", ".join(f"toUnixTimestamp64Micro({name})" for name in times)
    labels = "arrayFlatten(arrayMap((k, v) -> [k::String, v], mapKeys(labels), mapValues(labels))) AS labels"
    found = client.select(f"SELECT post_id, {ticks}, {', '.join(FACTS)}, {labels} FROM posts FINAL")
    rows = zip(*found, strict=True) if found else ()
    return {post_id: dict(zip((*times, *FACTS, "labels"), values, strict=True)) for post_id, *values in rows}

"""The checks of test_fourth_measure.py. They run in a process of their own, from a copy of the sources in which `click`
is one more kind of event.

    python -m tests.fourth_measure                     the fold, cells, rows and messages
    python -m tests.fourth_measure COLUMNS.json        all tables and views on ClickHouse (ENGAGEMENT_CLICKHOUSE);
                                                       COLUMNS.json: table -> column -> type, without clicks
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from deploy.clickhouse.drafting import escaped_text
from deploy.clickhouse.feeds import post_history_query
from deploy.clickhouse.views import all_views
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.settings import Settings
from processors.conversation.decoding import decode_cells
from processors.conversation.fold import ConversationFold
from processors.conversation.rows import minute_columns
from processors.engagement.cells.cells import NO_MORE, cells_of, conversation_posts
from processors.engagement.cells.records import records_of
from processors.engagement.fold.fold import Fold
from processors.engagement.rows import post_rows
from processors.engagement.warmup import load_engagement_kernels
from processors.runtime.records import Run
from producers.simulation.policy import SimulationPolicy
from producers.simulation.records import simulated_records
from schemas.metrics import MEASURES
from schemas.tables import TABLES
from tests.cells_truth import cells_of as true_cells_of
from tests.folding import assert_true, take
from tests.test_cells import Place
from tests.truth import PostTruth, truth_of

POLICY = SimulationPolicy(events=3_000, posts=40, seed=7, retractions=0.1, awkward=0.05, hours=30.0)
PARAMETER = re.compile(r"\{\w+:")
MIGRATION = "deploy/clickhouse/migrations/0099_clicks.sql"


def main() -> None:
    """Runs the checks; raises AssertionError where one fails."""
    assert MEASURES == ("likes", "shares", "comments", "clicks")
    events = [json.loads(record.value or b"") for record in simulated_records(POLICY)]
    assert sum(event["kind"] == "click" for event in events) > 300
    truth = truth_of(events)
    if len(sys.argv) > 1:
        on_clickhouse(truth, json.loads(Path(sys.argv[1]).read_text()))
    else:
        check_fold(events, truth)
        check_cells_and_messages(events)


def check_fold(events: list[dict[str, Any]], truth: dict[str, PostTruth]) -> None:
    """Rows of post_metrics and post_minutes are the truth, also of what stays when posts are forgotten."""
    fold = Fold()
    for start in range(0, len(events), 500):
        take(fold, events[start : start + 500])
    assert_true(fold, truth)
    forgotten = set(fold.forget(np.arange(0, len(fold), 2)))
    assert_true(fold, {post_id: post for post_id, post in truth.items() if post_id not in forgotten})


def check_cells_and_messages(events: list[dict[str, Any]]) -> None:
    """Rows of conversation_posts and what is sent on are the truth, and the conversation agent adds it up."""
    load_engagement_kernels()
    place = Place()
    for start in range(0, len(events), 1_000):
        place.take(*events[start : start + 1_000])
    place.assert_exact()
    state = place.job._state
    fold = ConversationFold()
    for cells in cells_of(state.fold, state.known, state.fold.panes_of(np.arange(len(state.fold))), NO_MORE, 1):
        runs = [Run("engagement.conversations", "", 0, [_Record(value)]) for _, value in records_of(cells)]
        decoded = decode_cells(runs, 1)
        assert not decoded.dead
        fold.add_cells(decoded.cells)
    minutes = fold.add_up(fold.between(0, 1 << 32))
    rows = minute_columns(minutes, np.ones(len(minutes), np.bool_), final=False)
    found = zip(rows["conversation"], (rows["minute"] // 60).tolist(), rows["clicks"].tolist(), strict=True)
    true: dict[tuple[str, int], int] = {}
    for (conversation, minute, _), cell in true_cells_of(events).items():
        added, retracted = cell.counts[MEASURES.index("clicks") + 1], cell.counts[len(MEASURES) + 4]
        true[conversation, minute] = true.get((conversation, minute), 0) + added - retracted
    sums = {(conversation, minute): clicks for conversation, minute, clicks in found if clicks}
    assert sums == {spot: clicks for spot, clicks in true.items() if clicks}


def on_clickhouse(truth: dict[str, PostTruth], before: dict[str, dict[str, str]]) -> None:
    """Clicks are in every table and view once a migration has added their columns."""
    Path(MIGRATION).write_text(migration_of(before))
    settings = Settings()
    migrate(settings)
    posts, fold, place = list(truth), Fold(), Place()
    events = [json.loads(record.value or b"") for record in simulated_records(POLICY)]
    take(fold, events)
    place.take(*events)
    rows, state = np.arange(len(fold)), place.job._state
    with ClickHouse(settings, numpy=True) as arrays, ClickHouse(settings) as client:
        arrays.insert("post_minutes", post_rows.of_panes(fold, fold.panes_of(rows)))
        arrays.insert("post_metrics", post_rows.of_posts(fold, rows))
        for cells in cells_of(state.fold, state.known, state.fold.panes_of(rows), NO_MORE, 1):
            arrays.insert("conversation_posts", conversation_posts(cells))
        [ids, clicks, scores] = client.select(
            "SELECT post_id, clicks, score_default FROM post_metrics_at(t = '2026-02-01 00:00:00') ORDER BY post_id"
        )
        for view, further in (
            ("post_metrics_v", "clicks_actors, clicks_24h >= 0"),
            ("post_history_v", "score_default"),
        ):
            found = client.select(f"SELECT post_id, clicks, {further} FROM {view}")
            assert dict(zip(found[0], found[1], strict=True)) == {post_id: truth[post_id].net[3] for post_id in posts}
        nets = {post_id: dict(zip(MEASURES, truth[post_id].net, strict=True)) for post_id in posts}
        weights = {"likes": 1, "shares": 2, "comments": 3, "clicks": 0.5}
        assert dict(zip(ids, clicks, strict=True)) == {
            post_id: net["clicks"] for post_id, net in nets.items() if truth[post_id].minutes
        }
        for post_id, score in zip(ids, scores, strict=True):
            assert score == sum(weight * nets[post_id][measure] for measure, weight in weights.items())
        [[sent]] = client.select("SELECT sum(toInt64(clicks) - clicks_retracted) FROM conversation_posts FINAL")
        assert sent == sum(cell.counts[4] - cell.counts[8] for cell in true_cells_of(events).values()), (
            "clicks of all conversations"
        )
        for view in all_views():
            if not PARAMETER.search(view.sql):
                client.execute(f"SELECT * FROM {view.name} LIMIT 1")


def migration_of(before: dict[str, dict[str, str]]) -> str:
    """The migration that a fourth measure takes."""
    alters = []
    for table in TABLES:
        last = ""
        for column in table.columns:
            known = before[table.name].get(column.name)
            if known is None:
                alters.append(
                    f"ALTER TABLE {{database}}.{table.name} {{cluster}} ADD COLUMN `{column.name}` {column.type} "
                    f"COMMENT '{escaped_text(column.comment)}' AFTER `{last}`;"
                )
            elif known != column.type:
                alters.append(
                    f"ALTER TABLE {{database}}.{table.name} {{cluster}} MODIFY COLUMN `{column.name}` {column.type};"
                )
            last = column.name
    for table, query in (
        ("post_history", post_history_query()),
        (
            "post_metrics_active",
            "SELECT * EXCEPT '_(5m|1h|24h)$' FROM {database}.post_metrics WHERE as_of >= now('UTC') - INTERVAL 3 DAY",
        ),
    ):
        feed = f"{{database}}.{table}_feed"
        alters += [
            f"DROP VIEW IF EXISTS {feed} {{cluster}};",
            f"CREATE MATERIALIZED VIEW IF NOT EXISTS {feed} {{cluster}} TO {{database}}.{table} AS {query};",
        ]
    return "\n\n".join(alters) + "\n"


class _Record:
    offset, timestamp, key = 0, 1_800_000_000_000, None

    def __init__(self, value: bytes) -> None:
        self.value = value


if __name__ == "__main__":
    main()

"""Fills a database with posts of realistic shape, made in the server by INSERT ... SELECT.

The posts of a day are always POSTS_A_DAY, so more posts mean a longer past and never busier last days. Everything else
has heavy tails: the panes of a post, their distance from the post, the counts of a pane, the posts of an author and of
a hashtag. Each value follows from a hash of its post, so that two fillings differ by the time of filling alone.

Columns come from schemas/tables.py: a column without an expression in benchmarks/_rows.py gets its default. Tables that
others feed (known_posts, post_metrics_active, posts_active, the newest step of post_history) are filled by their feeds.
"""

import re
import time
from collections.abc import Callable, Iterator
from typing import Final

from _rows import (
    BRANDS,
    CAMPAIGNS,
    CARRYING,
    CELL,
    CELLS,
    CHANNELS,
    COMMENTS,
    DEAD_LETTER,
    DELIVERY,
    EVENT,
    FORECAST,
    FORMATS,
    HABIT,
    MINUTES,
    NAMES,
    OF_POST,
    PANE,
    SHARES,
    SPIKE,
    TOTALS,
    UNIT,
    Expressions,
)

from deploy.clickhouse.feeds import post_history_query
from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import Unavailable
from processors.conversation.days.store import DAY_SECONDS, ClickHouseDays
from processors.conversation.ports import DayPart
from schemas.spread import FITTED_AGES
from schemas.tables import CONVERSATION_DAYS, POST_HISTORY, POST_METRICS, STORED_AT, TABLES, Table

POSTS_A_DAY: Final = 50_000
PARTITIONS: Final = 8
"""The partitions of the topics, as marks have them."""

SLICE: Final = 100_000
"""Posts of one INSERT: bounds the memory that the server takes for it."""

SLICE_TABLE: Final = "filled_slice"
"""The table, in memory, of what is known of the posts of a slice."""

HABITS: Final = 200
"""The authors whose habit a version of the forecast knows."""

UNFINISHED: Final = 7
"""Days until a post is finished."""

SETTINGS: Final = (
    "SETTINGS max_partitions_per_insert_block = 10000, max_memory_usage = 0, async_insert = 0, max_insert_threads = 2"
)


def fill(client: ClickHouse, posts: int, say: Callable[[str], None]) -> None:
    """Fills an empty database. Blocks: some minutes a million posts."""
    now = int(time.time()) // 60 * 60
    for first in range(0, posts, SLICE):
        count = min(SLICE, posts - first)
        for statement in _of_slice(first, count, posts, now):
            client.execute(statement)
        say(f"{first + count:,} of {posts:,} posts")
    for statement in _of_conversations(posts, now):
        client.execute(statement)
    say("minutes of conversations")
    for statement in (*_of_spikes(posts, now), *_of_forecasts(posts, now)):
        client.execute(statement)
    for done in ("REFRESH", "WAIT"):
        client.execute(f"SYSTEM {done} VIEW posts_active_refresh")
    for table in TABLES:
        merge(client, table)
    say("merged")


def merge(client: ClickHouse, table: Table) -> None:
    """Merges all parts of a table. The server is silent meanwhile, at ten million posts for longer than a client waits
    for an answer; it goes on then."""
    try:
        client.execute(f"OPTIMIZE TABLE {table.name} FINAL")
    except Unavailable:
        running = "SELECT count() FROM system.merges WHERE database = currentDatabase() AND table = %(table)s"
        while client.select(running, {"table": table.name})[0][0]:
            time.sleep(1)


def roll_days(client: ClickHouse, partitions: int = PARTITIONS) -> None:
    """Rolls up the days of conversations that are not rolled up, as the conversation agent does, and merges them.
    Blocks."""
    days, today = ClickHouseDays(client), int(time.time()) // DAY_SECONDS
    first = days.rolled([0], partitions).get(0, 0)
    found = days.day_sizes([0], 1, first, today)[0].tolist()
    for day in found:
        days.roll([0], 1, DayPart(day, day + 1))
    days.mark(range(partitions), partitions, today)
    if found:
        merge(client, CONVERSATION_DAYS)


def _of_slice(first: int, count: int, posts: int, now: int) -> Iterator[str]:
    """Yields the statements for consecutive posts."""
    names = NAMES.format(
        now=now,
        posts=posts,
        gap=86_400 / POSTS_A_DAY,
        authors=_authors(posts),
        channels=list(CHANNELS),
        channel_count=len(CHANNELS),
        brands=list(BRANDS),
        campaigns=list(CAMPAIGNS),
        campaign_count=len(CAMPAIGNS),
        formats=list(FORMATS),
        format_count=len(FORMATS),
    )
    yield f"DROP TABLE IF EXISTS {SLICE_TABLE}"
    yield (
        f"CREATE TABLE {SLICE_TABLE} ENGINE = Memory AS WITH {UNIT}\nSELECT\n{names}\nFROM numbers({first}, {count})\n"
        "SETTINGS max_block_size = 8192, min_insert_block_size_rows = 8192, min_insert_block_size_bytes = 0"
    )
    panes = f"{SLICE_TABLE} ARRAY JOIN minutes AS minute"
    yield _insert("posts", OF_POST, UNIT, SLICE_TABLE)
    yield _insert("post_minutes", PANE, UNIT, panes)
    yield _insert("conversation_posts", CELLS, UNIT, f"{panes} ARRAY JOIN keys AS key WHERE {CELL}")
    yield _insert("carry_over", CARRYING, UNIT, f"{SLICE_TABLE} ARRAY JOIN {OF_POST['links']} AS link")
    for kind, count_here in (("post", "minute = born_minute"), ("share", SHARES), ("comment", COMMENTS)):
        yield _insert("events", EVENT, f"'{kind}' AS kind,\n{UNIT}", f"{panes} WHERE {count_here}")
    chance = "cityHash64('chance', post_id) / 18446744073709551616. AS chance"
    counted = ", ".join(f"{PANE[name]} AS {name}" for name in PANE if name not in ("version", "likes_retracted"))
    of_panes = f"(WITH {UNIT} SELECT {counted} FROM {panes}) AS m"
    yield _insert("post_metrics", {"post_id": "post_id", **TOTALS}, chance, f"{of_panes} GROUP BY post_id")
    yield _of_history(of_panes, chance)
    yield f"DROP TABLE {SLICE_TABLE}"


def _of_history(of_panes: str, chance: str) -> str:
    """Writes the INSERT of what post_metrics_feed would have kept, had each pane come by itself."""
    columns = [column.name for column in POST_HISTORY.columns if column.name != STORED_AT.name]
    aggregates = r"(sum\(toUInt64\(m\.\w+\)\)|max\(minute\)|min\(minute\))"
    stood = {name: re.sub(aggregates, r"\1 OVER so_far", value) for name, value in TOTALS.items()}
    unsaid = {name: f"CAST(0, '{POST_HISTORY[name].type}')" for name in columns if name not in TOTALS}
    values = unsaid | stood | {"post_id": "post_id"}
    inner = ",\n    ".join(value if value == name else f"{value} AS `{name}`" for name, value in values.items())
    row = (
        f"(WITH {chance}\nSELECT {inner}\nFROM {of_panes}\n"
        "WINDOW so_far AS (PARTITION BY post_id ORDER BY minute)) AS m"
    )
    query = post_history_query().replace(f"{{database}}.{POST_METRICS.name} AS m", row)
    return f"INSERT INTO {POST_HISTORY.name} ({', '.join(columns)})\n{query}\n{SETTINGS}"


def _of_conversations(posts: int, now: int) -> Iterator[str]:
    """Yields the statements for minutes of conversations, which follow from the cells of all posts, a day at a time."""
    for day in range(posts // POSTS_A_DAY + 2):
        on_day = f"toDate(minute) = toDate(toDateTime({now}, 'UTC')) - {day}"
        of = f"conversation_posts AS c WHERE {on_day} GROUP BY conversation, minute"
        yield _insert("conversation_minutes", MINUTES, "1 AS one", of)
        closed = {"conversation": "conversation", "minute": "minute", "count": "greatest(posts + comments, 0)"}
        closed["closed_at"] = "minute + 120"
        yield _insert("conversation_closed", closed, "1 AS one", f"conversation_minutes WHERE {on_day}")


def _of_spikes(posts: int, now: int) -> Iterator[str]:
    """Yields the statements for spikes, forty a day, what was told of them, dead letters and watermarks."""
    days = max(posts // POSTS_A_DAY, 1)
    given = {"now": now, "posts": posts}
    for table, rows, count in (
        ("conversation_spikes", SPIKE, 40),
        ("alert_deliveries", DELIVERY, 40),
        ("dead_letters", DEAD_LETTER, 50),
    ):
        values = {name: value.format(**given) for name, value in rows.items()}
        yield _insert(table, values, "1 AS one", f"numbers({min(count * days, posts // 1250)})")
    mark = {"partition": "number", "watermark": f"toDateTime64({now - 60}, 6, 'UTC')"}
    yield _insert("source_marks", mark, "1 AS one", f"numbers({PARTITIONS})")
    until = {"partition": "number", "closed_until": f"toDateTime({now - 60}, 'UTC')"}
    yield _insert("conversation_marks", until, "1 AS one", f"numbers({PARTITIONS})")


def _of_forecasts(posts: int, now: int) -> Iterator[str]:
    """Yields the statements for what the forecast has learned: a version a day and channel from posts that finished."""
    days = posts // POSTS_A_DAY
    given = {"now": now, "days": days, "authors": _authors(posts)}
    finished = f"{UNFINISHED} + number AS day FROM numbers({max(days - UNFINISHED, 0)})"
    of = f"(SELECT arrayJoin({sorted(set(CHANNELS))}) AS channel, {finished}) AS d"
    for table, rows, each in (("forecast_versions", FORECAST, len(FITTED_AGES)), ("forecast_habits", HABIT, HABITS)):
        values = {name: value.format(**given) for name, value in rows.items()}
        yield _insert(table, values, "1 AS one", f"{of} ARRAY JOIN range(1, {each + 1}) AS step")


def _authors(posts: int) -> int:
    return max(posts // 20, 100)


def _insert(table: str, values: Expressions, names: str, of: str) -> str:
    """Writes an INSERT of the declared columns that have an expression; `day` follows from the time of the row."""
    declared = {column.name for column in _table(table).columns}
    chosen = {name: value for name, value in values.items() if name in declared}
    if "day" in declared - chosen.keys():
        [moment] = [name for name in ("minute", "as_of", "created_at") if name in chosen][:1]
        chosen["day"] = f"toDate({chosen[moment]})"
    inner = ",\n    ".join(value if value == name else f"{value} AS `{name}`" for name, value in chosen.items())
    return f"INSERT INTO {table} ({', '.join(chosen)})\nWITH\n{names}\nSELECT\n    {inner}\nFROM {of}\n{SETTINGS}"


def _table(name: str) -> Table:
    return next(table for table in TABLES if table.name == name)

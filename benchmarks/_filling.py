"""Fills a database with posts of realistic shape, made in the server by INSERT ... SELECT.

The posts of a day are always POSTS_A_DAY, so more posts mean a longer past and never busier last days. Everything else
has heavy tails: the panes of a post, their distance from the post, the counts of a pane, the posts of an author and of
a hashtag. Each value follows from a hash of its post, so that two fillings differ by the time of filling alone.

Columns come from schemas/tables.py: a column without an expression in benchmarks/_rows.py gets its default.
"""

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
    FORMATS,
    MINUTES,
    NAMES,
    OF_POST,
    PANE,
    SHARES,
    SPIKE,
    TOTALS,
    Expressions,
)

from pipeline.clickhouse.client import ClickHouse
from schemas.metrics import MEASURES
from schemas.tables import TABLES, Table

POSTS_A_DAY: Final = 50_000
SLICE: Final = 100_000
"""Posts of one INSERT: bounds the memory that the server takes for it."""


def fill(client: ClickHouse, posts: int, say: Callable[[str], None]) -> None:
    """Fills an empty database. Blocks: some minutes a million posts."""
    now = int(time.time()) // 60 * 60
    for first in range(0, posts, SLICE):
        count = min(SLICE, posts - first)
        for statement in _of_slice(first, count, posts, now):
            client.execute(statement)
        say(f"{first + count:,} of {posts:,} posts")
    for statement in _from_panes(max(1, posts // SLICE)):
        client.execute(statement)
    say("metrics and minutes")
    for statement in _of_spikes(posts, now):
        client.execute(statement)
    for table in TABLES:
        client.execute(f"OPTIMIZE TABLE {table.name} FINAL")
    say("merged")


def _of_slice(first: int, count: int, posts: int, now: int) -> Iterator[str]:
    """Yields the statements for consecutive posts."""
    names = NAMES.format(
        now=now,
        posts=posts,
        gap=86_400 / POSTS_A_DAY,
        authors=max(posts // 20, 100),
        channels=list(CHANNELS),
        channel_count=len(CHANNELS),
        brands=list(BRANDS),
        campaigns=list(CAMPAIGNS),
        campaign_count=len(CAMPAIGNS),
        formats=list(FORMATS),
        format_count=len(FORMATS),
    )
    of = f"numbers({first}, {count})"
    panes = f"{of} ARRAY JOIN minutes AS minute"
    yield _insert("posts", OF_POST, names, of)
    yield _insert("known_posts", {"post_id": "post"}, names, of)
    yield _insert("post_minutes", PANE, names, panes)
    yield _insert("conversation_posts", CELLS, names, f"{panes} ARRAY JOIN keys AS key WHERE {CELL}")
    yield _insert("carry_over", CARRYING, names, f"{of} ARRAY JOIN {OF_POST['links']} AS link")
    for kind, count_here in (("post", "minute = born_minute"), ("share", SHARES), ("comment", COMMENTS)):
        yield _insert("events", EVENT, f"'{kind}' AS kind,\n{names}", f"{panes} WHERE {count_here}")


def _from_panes(slices: int) -> Iterator[str]:
    """Yields the statements for rows that follow from panes and cells."""
    chance = "cityHash64('chance', post_id) / 18446744073709551616. AS chance"
    for number in range(slices):
        some = f"% {slices} = {number} GROUP BY"
        of = f"post_minutes AS m WHERE cityHash64(post_id) {some} post_id"
        yield _insert("post_metrics", {"post_id": "post_id", **TOTALS}, chance, of)
        of = f"conversation_posts AS c WHERE cityHash64(conversation) {some} conversation, minute"
        yield _insert("conversation_minutes", MINUTES, "1 AS one", of)
    closed = {"conversation": "conversation", "minute": "minute", "count": "greatest(posts + comments, 0)"}
    yield _insert("conversation_closed", closed | {"closed_at": "minute + 120"}, "1 AS one", "conversation_minutes")
    running = {measure: f"toUInt64(sum(toInt64(m.{measure})) OVER so_far)" for measure in MEASURES}
    history = {"post_id": "post_id", "as_of": "minute + 60", "spread_as_of": "as_of", "version": "2", **running}
    famous = "(SELECT post_id FROM post_metrics ORDER BY events_seen DESC LIMIT 1 BY cityHash64(post_id) % 1000)"
    window = "WINDOW so_far AS (PARTITION BY post_id ORDER BY minute)"
    yield _insert("post_history", history, "1 AS one", f"post_minutes AS m WHERE post_id IN {famous} {window}")


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
    yield _insert("source_marks", mark, "1 AS one", "numbers(8)")
    until = {"partition": "number", "closed_until": f"toDateTime({now - 60}, 'UTC')"}
    yield _insert("conversation_marks", until, "1 AS one", "numbers(8)")


def _insert(table: str, values: Expressions, names: str, of: str) -> str:
    """Writes an INSERT of the declared columns that have an expression; `day` follows from the time of the row."""
    declared = {column.name for column in _table(table).columns}
    chosen = {name: value for name, value in values.items() if name in declared}
    if "day" in declared - chosen.keys():
        [moment] = [name for name in ("minute", "as_of", "created_at") if name in chosen][:1]
        chosen["day"] = f"toDate({chosen[moment]})"
    inner = ",\n    ".join(value if value == name else f"{value} AS `{name}`" for name, value in chosen.items())
    return (
        f"INSERT INTO {table} ({', '.join(chosen)})\nWITH\n{names}\nSELECT\n    {inner}\nFROM {of}\n"
        "SETTINGS max_partitions_per_insert_block = 10000, max_memory_usage = 0, async_insert = 0"
    )


def _table(name: str) -> Table:
    return next(table for table in TABLES if table.name == name)

"""Fills a database for benchmarks/forget.py: a log of many posts with some busy people in it, and the derived rows.

The server makes all rows by INSERT ... SELECT. The rows of post_metrics and of cells have the right keys, and numbers
of about the right size; benchmarks/_exact_posts.py makes the rows of some posts exact.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from _rows import MINUTES

from pipeline.clickhouse.client import ClickHouse
from schemas.metrics import MEASURES

DAYS: Final = 30
"""The days over which the posts are spread."""

OWN_POSTS: Final = 30
FIRST_OWN: Final = 10_000
"""Posts of each person, and the number of the first of them. The lowest numbers have most of the reactions."""

TAGS: Final = 20_000
SLICES: Final = 8
"""Slices of the posts, each an INSERT: bounds the memory of the server."""

_NAMES: Final = """
    toUInt64({post}) AS place,
    lower(hex(cityHash64(place, 'post'))) AS post,
    cityHash64(number, '{salt}') AS hash,
    toDateTime64({now}, 6, 'UTC') - toIntervalSecond(3600 + cityHash64(post) % {span}) AS made,
    least(made + toIntervalSecond(intExp10(hash % 5) * (hash % 9) + hash % 60),
          toDateTime64({now} - 600, 6, 'UTC')) AS later"""
_KIND: Final = "['like', 'like', 'like', 'like', 'share', 'comment', 'comment'][1 + hash % 7]"
_EVENT: Final = {
    "post_id": "post",
    "kind": _KIND,
    "action": "'add'",
    "event_id": "concat('e', toString(hash))",
    "actor_id": "concat('u', toString(cityHash64(hash) % 500000))",
    "occurred_at": "later",
    "received_at": "occurred_at",
    "channel": "['bluesky', 'mastodon', 'forum'][1 + place % 3]",
    "topic": "'engagement.likes'",
    "offset": "number",
    "version": "4611686018427387904 - number",
}
_POST: Final = {
    "kind": "'post'",
    "event_id": "post",
    "occurred_at": "made",
    "conversations": f"[concat('hashtag:tag', toString(place % {TAGS}))]",
}
_AUTHOR: Final = "concat('author:', channel, '/', actor_id)"

_DERIVED: Final[Mapping[str, tuple[Mapping[str, str], str]]] = {
    "posts": (
        {
            "post_id": "post_id",
            "author_id": "actor_id",
            "channel": "channel",
            "created_at": "occurred_at",
            "conversations": f"arrayConcat(events.conversations, [{_AUTHOR}])",
            "version": "1",
        },
        "events WHERE kind = 'post' AND {slice}",
    ),
    "post_minutes": (
        {
            "post_id": "post_id",
            "minute": "toStartOfMinute(toDateTime(occurred_at, 'UTC'))",
            **{measure: f"countIf(kind = '{measure.removesuffix('s')}')" for measure in MEASURES},
            "version": "count()",
        },
        "events WHERE {slice} GROUP BY post_id, minute",
    ),
    "post_metrics": (
        {
            "post_id": "post_id",
            "as_of": "max(minute) + 60",
            "spread_as_of": "as_of",
            "events_seen": "sum(version)",
            **{measure: f"sum(toUInt64(m.{measure}))" for measure in MEASURES},
            "version": "events_seen",
        },
        "post_minutes AS m WHERE {slice} GROUP BY post_id",
    ),
    "conversation_posts": (
        {
            "conversation": "arrayJoin(arrayConcat(p.conversations, [concat('thread:', m.post_id)]))",
            "minute": "m.minute",
            "post_id": "m.post_id",
            "posts": "toUInt32(m.minute = toStartOfMinute(toDateTime(p.created_at, 'UTC')))",
            **{measure: f"m.{measure}" for measure in MEASURES},
            "channels": "[p.channel]",
            "voices": "arrayMap(i -> cityHash64(m.post_id, m.minute, i), range(m.shares + m.comments))",
            "voices_exact": "1",
            "version": "1",
        },
        "(SELECT * FROM post_minutes WHERE {slice}) AS m "
        "JOIN (SELECT * FROM posts WHERE {slice}) AS p ON p.post_id = m.post_id",
    ),
    "conversation_minutes": (
        {**MINUTES, "version": "1"},
        "conversation_posts AS c WHERE {conversations} GROUP BY conversation, minute",
    ),
    "conversation_closed": (
        {
            "conversation": "conversation",
            "minute": "minute",
            "count": "greatest(posts + comments, 0)",
            "closed_at": "minute + 120",
        },
        "conversation_minutes WHERE {conversations}",
    ),
}
"""Table -> the SQL of its columns, and of the rows that they come from."""


def fill_log(client: ClickHouse, events: int, posts: int) -> None:
    """Fills an empty log with posts, and with reactions of which a few posts have most. Blocks."""
    now = _this_minute()
    client.execute(_insert("events", _EVENT | _POST, _names("number", "p", now), f"numbers({posts})"))
    popular = f"pow(cityHash64(number) % 1000003 / 1000003, 3) * {posts - 1}"
    each = (events - posts) // SLICES
    for start in range(0, each * SLICES, each):
        client.execute(_insert("events", _EVENT, _names(popular, "e", now), f"numbers({start}, {each})"))


def add_person(client: ClickHouse, number: int, posts: int, in_posts: int, events: int) -> str:
    """Adds a person with a number to the log: reactions to `in_posts` posts, to other posts for each person, and own
    posts, which were somebody else's. Blocks. Returns the account."""
    account, now = f"did:plc:benchmarkperson{number}", _this_minute()
    post = f"{number} + {posts // in_posts} * (number % {in_posts})"
    theirs = _EVENT | {"actor_id": f"'{account}'"}
    client.execute(_insert("events", theirs, _names(post, account, now), f"numbers({events - OWN_POSTS})"))
    own = _EVENT | _POST | {"actor_id": f"'{account}'", "version": "4611686018427387904"}
    place = f"number + {FIRST_OWN + number * OWN_POSTS}"
    client.execute(_insert("events", own, _names(place, "p", now), f"numbers({OWN_POSTS})"))
    return account


def derive(client: ClickHouse, partitions: int, say: Callable[[str], None]) -> None:
    """Fills the derived tables from the log, and says that all minutes are closed. Blocks."""
    for table, (values, of) in _DERIVED.items():
        for number in range(SLICES):
            posts, conversations = (f"cityHash64({key}) % {SLICES} = {number}" for key in ("post_id", "conversation"))
            client.execute(_insert(table, values, "1 AS one", of.format(slice=posts, conversations=conversations)))
        say(table)
    until = f"toDateTime({_this_minute() - 60}, 'UTC')"
    for table, column in (("source_marks", "watermark"), ("conversation_marks", "closed_until")):
        client.execute(f"INSERT INTO {table} (partition, {column}) SELECT number, {until} FROM numbers({partitions})")


def _this_minute() -> int:
    return int(time.time()) // 60 * 60


def _names(post: str, salt: str, now: int) -> str:
    return _NAMES.format(post=post, salt=salt, now=now, span=DAYS * 86_400 - 7200)


def _insert(table: str, values: Mapping[str, str], names: str, of: str) -> str:
    inner = ",\n    ".join(value if value == name else f"{value} AS `{name}`" for name, value in values.items())
    return (
        f"INSERT INTO {table} ({', '.join(values)})\nWITH\n{names}\nSELECT\n    {inner}\nFROM {of}\n"
        "SETTINGS max_memory_usage = 0, async_insert = 0, max_insert_threads = 2"
    )

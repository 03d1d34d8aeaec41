"""The compression of tables: ZSTD for every column without a codec of its own, cheaper codecs for numbers of the
tables that grow with events.

ClickHouse's own default, LZ4, takes 1.7 times the room (`benchmarks/bytes_per_event.py`). ZSTD in every column costs
the server a quarter more CPU an event when events are sparse (`benchmarks/whole_job.py`). Counts packed by T64 take
less room than by ZSTD, and reals of 53 random bits hardly shrink by either. Parts that were written before are
compressed anew as they are merged.
"""

from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.ddl import render
from pipeline.errors import Refused
from pipeline.settings import Settings
from schemas.tables import (
    CONVERSATION_CLOSED,
    CONVERSATION_MINUTES,
    CONVERSATION_POSTS,
    EVENTS,
    POST_HISTORY,
    POST_METRICS,
    POST_METRICS_ACTIVE,
    POST_MINUTES,
    REAL,
    TABLES,
    Column,
    Table,
)

CODEC: Final = "ZSTD(1)"
CODEC_SETTING: Final = "default_compression_codec"
"""The setting of a table. Servers before 25.4 do not have it and keep their default."""

GROWING: Final = (
    *(EVENTS, POST_MINUTES, POST_METRICS, POST_METRICS_ACTIVE, POST_HISTORY),
    *(CONVERSATION_POSTS, CONVERSATION_MINUTES, CONVERSATION_CLOSED),
)
"""The tables whose compression costs CPU with every event."""

INTEGERS: Final = "T64, LZ4"
REALS: Final = "LZ4"
LONG_RUNS: Final = "LZ4"
"""The codec of texts that repeat for many rows, which LZ4 packs to a third of what ZSTD(1) does."""


def set_compression(clickhouse: ClickHouse, settings: Settings) -> None:
    """Sets CODEC for each declared table without a default codec of its own, and `codec_of` for each column without a
    codec. Blocks. Raises Unavailable, Refused."""
    for name in uncompressed_tables(clickhouse):
        alter = render(f"ALTER TABLE {{database}}.{name} {{cluster}} ", settings)
        try:
            clickhouse.execute(f"{alter} MODIFY SETTING {CODEC_SETTING} = '{CODEC}'")
        except Refused as error:
            if f"Unknown setting '{CODEC_SETTING}'" not in str(error):
                raise
            break
    for name, codecs in uncoded_columns(clickhouse).items():
        alter = render(f"ALTER TABLE {{database}}.{name} {{cluster}} ", settings)
        modified = (f"MODIFY COLUMN `{column}` CODEC({codec})" for column, codec in codecs.items())
        clickhouse.execute(alter + ", ".join(modified))


def uncompressed_tables(clickhouse: ClickHouse) -> list[str]:
    """Returns the declared tables of the database that have no default codec."""
    found = clickhouse.select(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND position(engine_full, %(setting)s) = 0 "
        "ORDER BY name",
        {"setting": CODEC_SETTING},
    )
    declared = {table.name for table in TABLES}
    return [name for name in found[0] if name in declared] if found else []


def uncoded_columns(clickhouse: ClickHouse) -> dict[str, dict[str, str]]:
    """Returns the columns of GROWING for which `codec_of` names a codec and the database has none: table -> column ->
    codec."""
    found = clickhouse.select(
        "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND compression_codec = ''"
    )
    uncoded = set(zip(*found, strict=True)) if found else set()
    wanted: dict[str, dict[str, str]] = {}
    for table in GROWING:
        for column in table.columns:
            codec = codec_of(table, column)
            if codec and (table.name, column.name) in uncoded:
                wanted.setdefault(table.name, {})[column.name] = codec
    return wanted


def codec_of(table: Table, column: Column) -> str | None:
    """Returns the codec of a column of GROWING; None for the table's default.

    >>> codec_of(POST_MINUTES, POST_MINUTES["likes"]), codec_of(POST_MINUTES, POST_MINUTES["post_id"])
    ('T64, LZ4', None)
    """
    if column.name == table.version:
        return None  # high bits that change with the minute: ZSTD takes half of the room
    if column.type.startswith(("Int", "UInt")):
        return INTEGERS
    if column.type == REAL:
        return REALS  # not those of post_history, many rows of a post, of which ZSTD packs what they share
    return LONG_RUNS if column.name == "conversation" else None

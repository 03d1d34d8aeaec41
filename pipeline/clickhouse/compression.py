"""The compression of tables: ZSTD for every column that declares no codec of its own.

ClickHouse's own default, LZ4, takes 1.7 times the room (`benchmarks/bytes_per_event.py`). Parts that were written
before are compressed anew as they are merged.
"""

from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.ddl import render
from pipeline.errors import Refused
from pipeline.settings import Settings
from schemas.tables import TABLES

CODEC: Final = "ZSTD(1)"
CODEC_SETTING: Final = "default_compression_codec"
"""The setting of a table. Servers before 25.4 do not have it and keep their default."""


def set_compression(clickhouse: ClickHouse, settings: Settings) -> None:
    """Sets CODEC for each declared table without a default codec of its own. Blocks. Raises Unavailable, Refused."""
    for name in uncompressed_tables(clickhouse):
        alter = render(f"ALTER TABLE {{database}}.{name} {{cluster}} ", settings)
        try:
            clickhouse.execute(f"{alter} MODIFY SETTING {CODEC_SETTING} = '{CODEC}'")
        except Refused as error:
            if f"Unknown setting '{CODEC_SETTING}'" not in str(error):
                raise
            return


def uncompressed_tables(clickhouse: ClickHouse) -> list[str]:
    """Returns the declared tables of the database that have no default codec."""
    found = clickhouse.select(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND position(engine_full, %(setting)s) = 0 "
        "ORDER BY name",
        {"setting": CODEC_SETTING},
    )
    declared = {table.name for table in TABLES}
    return [name for name in found[0] if name in declared] if found else []

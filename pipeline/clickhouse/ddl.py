"""Placeholders for database and cluster in the SQL of tables and views.

{database}         the database of ENGAGEMENT_CLICKHOUSE
{cluster}          ON CLUSTER ..., with ENGAGEMENT_CLICKHOUSE_CLUSTER
{replacing(v)}     ReplacingMergeTree(v), Replicated on a cluster
"""

import re
from typing import Final

from pipeline.settings import Settings

_REPLACING: Final = re.compile(r"\{replacing\((\w*)\)\}")


def render(sql: str, settings: Settings) -> str:
    """Returns the SQL with all placeholders filled in."""
    # Shards are servers of their own: init goes to each of them (shards.py).
    cluster = None if settings.clickhouse_sharded else settings.clickhouse_cluster
    database = settings.clickhouse_url.database
    on_cluster = f"ON CLUSTER '{cluster}'" if cluster else ""

    def engine(match: re.Match[str]) -> str:
        version = match.group(1)
        if cluster:
            path = f"'/clickhouse/tables/{{shard}}/{database}/{{table}}', '{{replica}}'"
            return f"ReplicatedReplacingMergeTree({path}{', ' + version if version else ''})"
        return f"ReplacingMergeTree({version})" if version else "ReplacingMergeTree"

    filled = sql.replace("{database}", database).replace("{cluster}", on_cluster)
    return _REPLACING.sub(engine, filled)

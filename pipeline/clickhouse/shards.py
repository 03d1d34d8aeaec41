"""A database that is spread over the shards of a ClickHouse cluster.

Each shard has the tables of schemas/tables.py in a database of its own, `shard_of_<database>`, with the materialized
views that feed one table from another. In `<database>` each shard has a Distributed table of the same name over all of
them, and the views that people read. So workers and readers use `<database>` on any shard, and their SQL is the same as
without shards.

All rows of a key lie on one shard, which is what FINAL needs: a table with posts in its key is spread by post, others
by conversation, or by the whole key. Statements that a Distributed table does not take (ALTER, DELETE) are run on
each shard.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

from pydantic import SecretStr

from pipeline.errors import Refused

if TYPE_CHECKING:
    from pipeline.clickhouse.client import ClickHouse
    from pipeline.settings import Settings

SHARDED_SETTINGS: Final = {
    # A table that is joined or looked into lies on all shards.
    "distributed_product_mode": "global",
    # An insert is answered once each shard has its rows, never queued on the server that took them (law 1).
    "distributed_foreground_insert": 1,
}

_CHANGES_STORED_ROWS: Final = re.compile(
    r"\s*(?:ALTER\s+TABLE|DELETE\s+FROM|OPTIMIZE\s+TABLE|TRUNCATE\s+TABLE)\b", re.I
)
_DISTRIBUTED: Final = re.compile(r"Distributed\('([^']+)', '([^']+)'")

Result = TypeVar("Result")
Shape = tuple[str, str, str, str]
"""Name, engine, sorting key and partition key of a table."""


@dataclass(frozen=True)
class Shard:
    """A shard of a cluster, by the address at which the servers of the cluster know it."""

    number: int
    host: str
    port: int


def stored_database(settings: "Settings") -> str:
    """Returns the name of the database of each shard that holds rows."""
    return f"shard_of_{settings.clickhouse_url.database}"


def shards_of(clickhouse: "ClickHouse", cluster: str) -> list[Shard]:
    """Returns the shards of a cluster, as a server's configuration has them. Raises Refused for none, or replicas."""
    found = clickhouse.select(
        "SELECT toUInt32(shard_num), host_name, toUInt32(port) FROM system.clusters WHERE cluster = %(cluster)s "
        "ORDER BY shard_num, replica_num",
        {"cluster": cluster},
    )
    shards = [Shard(int(number), str(host), int(port)) for number, host, port in zip(*found, strict=True)]
    if not shards:
        raise Refused(
            f"ClickHouse has no cluster {cluster!r}: define it in remote_servers of each server, or set "
            "ENGAGEMENT_CLICKHOUSE_CLUSTER to one of system.clusters"
        )
    if len({shard.number for shard in shards}) < len(shards):
        raise Refused(
            f"a shard of cluster {cluster!r} has replicas, which ENGAGEMENT_CLICKHOUSE_SHARDED does not keep alike: "
            "name a cluster of one replica a shard"
        )
    return shards


def settings_of_shard(settings: "Settings", shard: Shard, database: str) -> "Settings":
    """Returns the settings of one shard as a server of its own, with a database there."""
    url = settings.clickhouse_url
    scheme = "clickhouses" if url.secure else "clickhouse"
    account = f"{quote(url.user, safe='')}:{quote(url.password, safe='')}"
    host = f"[{shard.host}]" if ":" in shard.host else shard.host
    address = SecretStr(f"{scheme}://{account}@{host}:{shard.port}/{database}")
    return settings.model_copy(update={"clickhouse": address, "clickhouse_cluster": None, "clickhouse_sharded": False})


def each_shard(settings: "Settings", clickhouse: "ClickHouse", do: Callable[["Settings"], Result]) -> Iterator[Result]:
    """Calls `do` with the settings of each shard's stored database, one after the other."""
    assert settings.clickhouse_cluster is not None
    for shard in shards_of(clickhouse, settings.clickhouse_cluster):
        yield do(settings_of_shard(settings, shard, stored_database(settings)))


def stored_settings(settings: "Settings", clickhouse: "ClickHouse") -> "list[Settings]":
    """Returns the settings of each shard's stored database; none where the tables are not spread over shards."""
    return list(each_shard(settings, clickhouse, lambda its: its)) if settings.clickhouse_sharded else []


def is_for_shards(sql: str) -> bool:
    """Tells whether a statement changes stored rows in a way that a Distributed table does not take."""
    return _CHANGES_STORED_ROWS.match(sql) is not None


def for_stored(sql: str, settings: "Settings") -> str:
    """Returns a statement for shards with its target in the stored database, where the target names the database."""
    database = re.escape(settings.clickhouse_url.database)
    return re.sub(rf"^(\s*\w+\s+\w+\s+)`?{database}`?\.", rf"\1{stored_database(settings)}.", sql, count=1)


def shapes_of(clickhouse: "ClickHouse") -> list[Shape]:
    """Returns the shapes of all tables of the connection's database, views left out; of a Distributed one those on
    every shard."""
    shapes = _select_shapes(clickhouse, "system.tables", "currentDatabase()")
    over = {match.groups() for _, engine, *_ in shapes if (match := _DISTRIBUTED.match(engine))}
    for cluster, stored in sorted(over):
        names = {name for name, engine, *_ in shapes if engine.startswith(f"Distributed('{cluster}', '{stored}'")}
        on_shards = _select_shapes(clickhouse, f"clusterAllReplicas('{cluster}', system.tables)", f"'{stored}'")
        shapes = [shape for shape in shapes if shape[0] not in names]
        shapes += [shape for shape in on_shards if shape[0] in names]
    return shapes


def _select_shapes(clickhouse: "ClickHouse", source: str, database: str) -> list[Shape]:
    # The server writes the statement of each of the rows to find `engine_full`, which takes a millisecond of a view.
    columns = clickhouse.select(
        f"SELECT name, engine_full, sorting_key, partition_key FROM {source} "
        f"WHERE database = {database} AND NOT endsWith(engine, 'View') ORDER BY name"
    )
    return list(zip(*columns, strict=True))

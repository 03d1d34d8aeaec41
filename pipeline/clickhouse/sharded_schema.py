"""`engagement init` for a database that is spread over shards (shards.py).

Each shard is a server of its own: it gets the migrations in its stored database, then Distributed tables and views in
the database that workers and readers use. No statement is ON CLUSTER, so no Keeper is needed.
"""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.shards import settings_of_shard, shards_of, stored_database
from pipeline.clickhouse.views import make_record_of_views, write_views
from pipeline.settings import Settings
from schemas.tables import TABLES, Table

SPREAD_BY: Final = ("post_id", "conversation")
"""Columns whose rows stay together, by preference: whole posts, else whole conversations."""

Names = tuple[str, ...]


class _Changes(Protocol):
    """The part of migrations.Changes that is told of a shard."""

    @property
    def migrations(self) -> Names: ...
    @property
    def taken_over(self) -> Names: ...
    @property
    def views(self) -> Names: ...
    @property
    def dropped_views(self) -> Names: ...


def migrate_shards(
    settings: Settings, migrate: Callable[[Settings], _Changes], applied: str
) -> tuple[Names, Names, Names, Names]:
    """Migrates each shard by `migrate`, then makes Distributed tables and views; may be repeated. Blocks.

    `applied` names the table of migrations. Returns what was done on any shard: migrations, migrations taken over,
    views written, views dropped. Raises as `migrate`, and Refused for a cluster that is not there or has replicas.
    """
    cluster, stored = settings.clickhouse_cluster, stored_database(settings)
    assert cluster is not None
    with ClickHouse(settings, database="") as server:
        shards = shards_of(server, cluster)
    done = [migrate(settings_of_shard(settings, shard, stored)) for shard in shards]
    written, dropped = [], []
    for shard in shards:
        its = settings_of_shard(settings, shard, settings.clickhouse_url.database)
        with ClickHouse(its, database="") as server:
            server.execute(f"CREATE DATABASE IF NOT EXISTS {its.clickhouse_url.database}")
        with ClickHouse(its) as clickhouse:
            _write_distributed(clickhouse, stored, cluster, applied)
            make_record_of_views(clickhouse, its)
            views = write_views(clickhouse, its)
        written.append(tuple(view.name for view in views.to_write))
        dropped.append(views.to_drop)
    return (
        _once(changes.migrations for changes in done),
        _once(changes.taken_over for changes in done),
        _once([*(changes.views for changes in done), *written]),
        _once([*(changes.dropped_views for changes in done), *dropped]),
    )


def spread_by(table: Table) -> str:
    """Returns the SQL of the hash that decides on which shard a row lies."""
    together = [name for name in SPREAD_BY if name in table.order_by]
    return f"cityHash64({', '.join(together[:1] or table.order_by)})"


def _write_distributed(clickhouse: ClickHouse, stored: str, cluster: str, applied: str) -> None:
    """Makes the Distributed tables of the connection's database over those of database `stored`, where they are missing
    or have other columns; one of them over the table `applied` of migrations. They hold no rows."""
    there = _columns_of(clickhouse, "currentDatabase()")
    wanted = _columns_of(clickhouse, f"'{stored}'")
    for name, key in [*((table.name, spread_by(table)) for table in TABLES), (applied, "rand()")]:
        if there.get(name) != wanted[name]:
            clickhouse.execute(
                f"CREATE OR REPLACE TABLE {name} AS {stored}.{name} "
                f"ENGINE = Distributed('{cluster}', '{stored}', '{name}', {key})"
            )


def _once(names: Iterable[Names]) -> Names:
    return tuple(dict.fromkeys(name for some in names for name in some))


def _columns_of(clickhouse: ClickHouse, database: str) -> dict[str, list[tuple[str, ...]]]:
    """Table -> its columns: name, type, comment, default."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for table, *column in zip(
        *clickhouse.select(
            "SELECT table, name, type, comment, default_kind, default_expression FROM system.columns "
            f"WHERE database = {database} ORDER BY table, position"
        ),
        strict=True,
    ):
        found.setdefault(table, []).append(tuple(column))
    return found

"""Migrations: numbered SQL files, each applied once and never changed again; and whether the tables are as declared.

In the files stand

    {database}         the database of ENGAGEMENT_CLICKHOUSE
    {cluster}          ON CLUSTER ..., with ENGAGEMENT_CLICKHOUSE_CLUSTER
    {replacing(v)}     ReplacingMergeTree(v), Replicated on a cluster

ClickHouse has neither transactions over DDL nor a lock that a client could hold. So a statement is `IF NOT EXISTS` or
`OR REPLACE`, a file counts as applied once its last statement is done, and one that was cut off is run again from its
start; two that migrate at once do the same thing twice.
"""

import hashlib
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from pipeline.clickhouse import ClickHouse
from pipeline.errors import Refused, SchemaDrift
from pipeline.settings import Settings
from schemas.tables import TABLES, Table

APPLIED: Final = "schema_migrations"
APPLIED_COLUMNS: Final = (
    "`name` String COMMENT 'File of deploy/clickhouse/migrations', "
    "`checksum` String COMMENT 'SHA-256 of its text', "
    "`applied_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When its last statement was done'"
)

ATTEMPTS: Final = 6

DURABLE: Final = ("fsync_after_insert", "fsync_part_directory")
"""Settings of a table, not of an insert: with them an answered insert survives power loss, not only kill -9."""

_ENGINE: Final = re.compile(r"(?:Replicated|Shared)?(ReplacingMergeTree)(?:\(([^)]*)\))?")
_REPLACING: Final = re.compile(r"\{replacing\((\w*)\)\}")
_STATEMENT_END: Final = re.compile(r";[ \t]*(?:\n|$)")
_COMMENT_LINE: Final = re.compile(r"^\s*--.*$", re.MULTILINE)


@dataclass(frozen=True)
class Migration:
    """One file: `0001_tables.sql`, and its text."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self, settings: Settings) -> list[str]:
        """The statements for this database, in order; each ends with `;` at the end of a line."""
        parts = _STATEMENT_END.split(_COMMENT_LINE.sub("", self.sql))
        return [statement for part in parts if (statement := render(part, settings).strip())]


def all_migrations() -> list[Migration]:
    """The migrations that ship with this version, in order."""
    folder = files("deploy.clickhouse.migrations")
    found = [Migration(file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted(found, key=lambda migration: migration.name)


def migrate(settings: Settings) -> list[str]:
    """Makes the database, applies what is not applied yet and returns the names; again and again without harm. Blocks.

    Raises SchemaDrift when an applied file was changed, when the database is newer than this version, and when in the
    end a table is not as declared; Unavailable, Refused.
    """
    with ClickHouse(settings, database="") as server:
        server.execute(render("CREATE DATABASE IF NOT EXISTS {database} {cluster}", settings))
    with ClickHouse(settings) as clickhouse:
        clickhouse.execute(
            render(f"CREATE TABLE IF NOT EXISTS {{database}}.{APPLIED} {{cluster}} ({APPLIED_COLUMNS}) ", settings)
            + render("ENGINE = {replacing(applied_at)} ORDER BY name", settings)
            + " COMMENT 'Migrations that this database has had'"
        )
        pending = pending_migrations(clickhouse)
        for attempt in range(ATTEMPTS):
            try:
                for migration in pending:
                    _apply(migration, clickhouse, settings)
                _set_durability(clickhouse, settings)
                verify_tables(clickhouse)
                break
            except (Refused, SchemaDrift):
                # Somebody who migrates at the same moment may have undone half of a file, to do it again.
                if not pending or attempt == ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0.5, 1.5))
    return [migration.name for migration in pending]


def pending_migrations(clickhouse: ClickHouse) -> list[Migration]:
    """What `migrate` would apply. Raises SchemaDrift where the files do not fit what was applied."""
    names, checksums = clickhouse.select(f"SELECT name, checksum FROM {APPLIED} FINAL")
    applied = dict(zip(names, checksums, strict=True))
    migrations = all_migrations()
    unknown = sorted(applied.keys() - {migration.name for migration in migrations})
    if unknown:
        raise SchemaDrift(
            f"the database has had migration {unknown[-1]}, which this version does not know: "
            "install the version that made it"
        )
    for migration in migrations:
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            raise SchemaDrift(
                f"migration {migration.name} was changed after it had been applied: restore the file, "
                "and put the change into a new one"
            )
    return [migration for migration in migrations if migration.name not in applied]


def undurable_tables(clickhouse: ClickHouse) -> list[str]:
    """The declared tables that answer before an insert is on the disk (ENGAGEMENT_DURABLE off)."""
    names, engines = clickhouse.select(
        "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase() ORDER BY name"
    )
    declared = {table.name for table in TABLES}
    return [
        name
        for name, engine in zip(names, engines, strict=True)
        if name in declared and not all(f"{setting} = 1" in engine for setting in DURABLE)
    ]


def verify_tables(clickhouse: ClickHouse) -> None:
    """Whether every table is as schemas/tables.py declares it; further columns are let be.

    Raises SchemaDrift that names the first table or column that is not, and the cure.
    """
    columns: dict[str, dict[str, str]] = {}
    for table, name, type_ in zip(
        *clickhouse.select("SELECT table, name, type FROM system.columns WHERE database = currentDatabase()"),
        strict=True,
    ):
        columns.setdefault(table, {})[name] = type_
    shapes = {
        table: (engine, sorting, partition)
        for table, engine, sorting, partition in zip(
            *clickhouse.select(
                "SELECT name, engine_full, sorting_key, partition_key FROM system.tables "
                "WHERE database = currentDatabase()"
            ),
            strict=True,
        )
    }
    for declared in TABLES:
        if declared.name not in columns:
            raise SchemaDrift(f"ClickHouse has no table {declared.name}: run `engagement init`")
        _verify_columns(declared, columns[declared.name])
        _verify_shape(declared, *shapes[declared.name])


def render(sql: str, settings: Settings) -> str:
    """Fills the placeholders in."""
    cluster = settings.clickhouse_cluster
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


def _apply(migration: Migration, clickhouse: ClickHouse, settings: Settings) -> None:
    for statement in migration.statements(settings):
        clickhouse.execute(statement)
    clickhouse.execute(
        f"INSERT INTO {APPLIED} (name, checksum) SELECT %(name)s, %(checksum)s",
        {"name": migration.name, "checksum": migration.checksum},
    )


def _set_durability(clickhouse: ClickHouse, settings: Settings) -> None:
    undurable = undurable_tables(clickhouse)
    for table in TABLES:
        alter = render(f"ALTER TABLE {{database}}.{table.name} {{cluster}} ", settings)
        if settings.durable and table.name in undurable:
            clickhouse.execute(alter + "MODIFY SETTING " + ", ".join(f"{setting} = 1" for setting in DURABLE))
        elif not settings.durable and table.name not in undurable:
            clickhouse.execute(alter + "RESET SETTING " + ", ".join(DURABLE))


def _verify_columns(declared: Table, real: Mapping[str, str]) -> None:
    for column in declared.columns:
        if real.get(column.name) != column.type:
            said = f"is {real[column.name]}" if column.name in real else "is missing"
            raise SchemaDrift(
                f"column {declared.name}.{column.name} {said}, it has to be {column.type}: undo what altered it "
                "(ALTER TABLE ... MODIFY or ADD COLUMN)"
            )


def _verify_shape(declared: Table, engine: str, sorting: str, partition: str) -> None:
    """A plain MergeTree, another key or version column would keep rows that have been overtaken."""
    said = _ENGINE.match(engine)
    # In a replicated table the version follows a path and a replica's name, both in quotes.
    arguments = [part.strip() for part in (said.group(2) or "").split(",")] if said else []
    version = ", ".join(part for part in arguments if part and not part.startswith("'"))
    found = (said.group(1) if said else engine.split(" ")[0], version, sorting, partition)
    needed = ("ReplacingMergeTree", declared.version or "", ", ".join(declared.order_by), declared.partition_by or "")
    for what, is_, must_be in zip(("engine", "version column", "ORDER BY", "PARTITION BY"), found, needed, strict=True):
        if is_.strip("()") != must_be.strip("()"):
            raise SchemaDrift(
                f"table {declared.name} has {what} {is_ or 'none'}, it has to be {must_be or 'none'}: move it away "
                "(RENAME TABLE), run `engagement init`, and copy its rows into the new one"
            )

"""Migrations: numbered SQL files, each applied once and never changed afterwards; and whether the tables are as they are declared.

    {database}         the database of ENGAGEMENT_CLICKHOUSE
    {cluster}          ON CLUSTER ..., with ENGAGEMENT_CLICKHOUSE_CLUSTER
    {replacing(v)}     ReplacingMergeTree(v), Replicated on a cluster
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from pipeline.clickhouse import ClickHouse
from pipeline.errors import SchemaDrift
from pipeline.settings import Settings
from schemas.tables import TABLES

APPLIED: Final = "schema_migrations"
APPLIED_COLUMNS: Final = "name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)"
REPLICA_PATH: Final = "'/clickhouse/tables/{{shard}}/{database}/{{table}}', '{{replica}}'"

_REPLACING: Final = re.compile(r"\{replacing\((\w*)\)\}")
_STATEMENT_END: Final = re.compile(r";[ \t]*(?:\n|$)")
_COMMENT_LINE: Final = re.compile(r"^\s*--.*$", re.MULTILINE)


@dataclass(frozen=True)
class Migration:
    """One file: `0001_tables.sql`, its text, and the SHA-256 of it."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self, settings: Settings) -> list[str]:
        """The statements for this database, in order."""
        return [
            statement
            for part in _STATEMENT_END.split(_COMMENT_LINE.sub("", self.sql))
            if (statement := render(part, settings).strip())
        ]


def all_migrations() -> list[Migration]:
    """The migrations that ship with this version, in order."""
    folder = files("deploy.clickhouse.migrations")
    return sorted(
        (Migration(file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".sql")),
        key=lambda migration: migration.name,
    )


def migrate(settings: Settings) -> list[str]:
    """Applies what is not applied yet and returns the names; again and again without harm. Every statement is `IF NOT EXISTS` or
    `OR REPLACE`, so two that migrate at once do no harm either. Raises SchemaDrift, Unavailable, Refused.
    """
    with_database = ClickHouse(settings)
    without_database = ClickHouse(settings.model_copy(update={"clickhouse": _server_only(settings)}))
    database, cluster = settings.clickhouse_url.database, _cluster(settings)
    try:
        without_database.execute(f"CREATE DATABASE IF NOT EXISTS {database} {cluster}")
        engine = render("{replacing(applied_at)}", settings)
        with_database.execute(
            f"CREATE TABLE IF NOT EXISTS {database}.{APPLIED} {cluster} ({APPLIED_COLUMNS}) ENGINE = {engine} ORDER BY name"
        )
        applied = dict(zip(*(with_database.select(f"SELECT name, checksum FROM {APPLIED} FINAL") or ((), ())), strict=True))
        done = []
        for migration in all_migrations():
            if migration.name in applied:
                if applied[migration.name] != migration.checksum:
                    raise SchemaDrift(
                        f"migration {migration.name} was changed after it was applied: restore the file, and put the change into a new one"
                    )
                continue
            for statement in migration.statements(settings):
                with_database.execute(statement)
            with_database.execute(
                f"INSERT INTO {APPLIED} (name, checksum) SELECT %(name)s, %(checksum)s",
                {"name": migration.name, "checksum": migration.checksum},
            )
            done.append(migration.name)
        for table in TABLES if settings.durable else ():
            with_database.execute(f"ALTER TABLE {table.name} {cluster} MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1")
        verify_tables(with_database)
    finally:
        with_database.close()
        without_database.close()
    return done


def verify_tables(clickhouse: ClickHouse) -> None:
    """Whether every table is as schemas/tables.py declares it. Raises SchemaDrift that names the first table and column that is not."""
    found: dict[str, list[tuple[str, str]]] = {}
    for table, name, kind in zip(
        *(
            clickhouse.select("SELECT table, name, type FROM system.columns WHERE database = currentDatabase() ORDER BY table, position")
            or ((), (), ())
        ),
        strict=True,
    ):
        found.setdefault(table, []).append((name, kind))
    for declared in TABLES:
        if declared.name not in found:
            raise SchemaDrift(f"ClickHouse has no table {declared.name}: run `engagement init`")
        real = dict(found[declared.name])
        for column in declared.columns:
            if real.get(column.name) != column.type:
                said = f"is {real[column.name]}" if column.name in real else "is missing"
                raise SchemaDrift(
                    f"column {declared.name}.{column.name} {said}, {column.type} is needed: undo what altered it, or run `engagement init`"
                )


def render(sql: str, settings: Settings) -> str:
    """Fills the placeholders in."""
    database = settings.clickhouse_url.database

    def engine(match: re.Match[str]) -> str:
        version = match.group(1)
        if settings.clickhouse_cluster:
            path = REPLICA_PATH.format(database=database)
            return f"ReplicatedReplacingMergeTree({path}{', ' + version if version else ''})"
        return f"ReplacingMergeTree({version})" if version else "ReplacingMergeTree"

    return _REPLACING.sub(engine, sql).replace("{database}", database).replace("{cluster}", _cluster(settings))


def _cluster(settings: Settings) -> str:
    return f"ON CLUSTER '{settings.clickhouse_cluster}'" if settings.clickhouse_cluster else ""


def _server_only(settings: Settings) -> object:
    value = settings.clickhouse
    head, _, _ = value.get_secret_value().rpartition("/")
    return type(value)(f"{head}/default")

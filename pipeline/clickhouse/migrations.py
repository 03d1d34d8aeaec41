"""Migrations of tables and of the feeds between tables, and the check that tables are as declared.

A migration is a numbered SQL file with the placeholders of pipeline/clickhouse/ddl.py, applied once and never changed
afterwards. The first one is the baseline: it creates the tables that migrations 0001 to 0005 had created, and a
database of those migrations is taken over as if the baseline had been applied. Views that people read are no
migrations (pipeline/clickhouse/views.py).

ClickHouse has neither transactions over DDL nor a lock for clients. Statements are therefore `IF NOT EXISTS`, a file
counts as applied once its last statement is done, and an interrupted file is run again from its start. Two clients that
migrate at once do the same work twice.
"""

import hashlib
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.compression import set_compression
from pipeline.clickhouse.ddl import render
from pipeline.clickhouse.moves import run_statements
from pipeline.clickhouse.sharded_schema import migrate_shards
from pipeline.clickhouse.shards import shapes_of
from pipeline.clickhouse.views import ViewChanges, make_record_of_views, pending_views, record_views, write_views
from pipeline.errors import Refused, SchemaDrift
from pipeline.settings import Settings
from schemas.tables import TABLES, Table

APPLIED: Final = "schema_migrations"
APPLIED_COLUMNS: Final = (
    "`name` String COMMENT 'File of deploy/clickhouse/migrations', "
    "`checksum` String COMMENT 'SHA-256 of its text', "
    "`applied_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When its last statement was done'"
)

BASELINE: Final = "0005_baseline.sql"
BEFORE_BASELINE: Final = {
    "0001_tables.sql": "babcf46186c3fbf9f13f1c19ef6e3d6c3041772aac95b7bdfed647505c5d041f",
    "0002_feeds.sql": "5df736b8a0b623051f9a76d069c1d0d68ed5387e729f9408dc9272d6d65a88b8",
    "0003_views.sql": "bf9235343c02dcb6808ffbfc9c9c8f11d7bdfcfa938930301ebe0989eb8ea347",
    "0004_virality_and_conversation.sql": "d33122d7aabf91f17111ed85c981b7f263d9823974984de4240a6f09c9d63a3a",
    "0005_views.sql": "ad81be049f406d048d87849ee58b0fd957e0020f1554ff8c19d0f922cf6b3152",
}
"""Migrations that the baseline replaces, with the checksums that databases have recorded for them."""

TABLES_BEFORE_BASELINE: Final = ("0001_tables.sql", "0002_feeds.sql", "0004_virality_and_conversation.sql")
"""The replaced migrations that created tables and feeds; the other two created views."""

VIEWS_BEFORE_BASELINE: Final = (
    *("events_v", "known_posts_v", "posts_v", "post_minutes_v", "post_metrics_v", "post_history_v", "post_metrics_at"),
    *("conversation_posts_v", "conversation_minutes_v", "conversation_closed_v", "conversation_marks_v"),
    *("conversation_spikes_v", "conversations_v", "carry_over_v", "alert_deliveries_v", "dead_letters_v"),
    *("source_marks_v", "authors_v", "over_performance_v", "over_performance", "share_of_voice_v", "share_of_voice"),
)
"""Views that migrations 0001 to 0005 created, so that `init` drops those that are not defined any more."""

ATTEMPTS: Final = 12
"""How often `migrate` tries, where another client that migrates at the same moment gets in its way."""

DURABLE: Final = ("fsync_after_insert", "fsync_part_directory")
"""Settings of a table (an insert cannot have them) with which an answered insert survives power loss."""

_ENGINE: Final = re.compile(r"(?:Replicated|Shared)?(ReplacingMergeTree)(?:\(([^)]*)\))?")
_STATEMENT_END: Final = re.compile(r";[ \t]*(?:\n|$)")
_COMMENT_LINE: Final = re.compile(r"^\s*--.*$", re.MULTILINE)


@dataclass(frozen=True)
class Migration:
    """A migration file: name, for example `0001_tables.sql`, and text."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Returns the SHA-256 of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self, settings: Settings) -> list[str]:
        """Returns the statements for the database of the settings, in order; each ends with `;` at a line's end."""
        parts = _STATEMENT_END.split(_COMMENT_LINE.sub("", self.sql))
        return [statement for part in parts if (statement := render(part, settings).strip())]


def all_migrations() -> list[Migration]:
    """Returns the migrations that ship with this version, in order."""
    folder = files("deploy.clickhouse.migrations")
    found = [Migration(file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted(found, key=lambda migration: migration.name)


@dataclass(frozen=True)
class Changes:
    """What `migrate` did: the migrations applied or taken over, and the views written or dropped, by name."""

    migrations: tuple[str, ...] = ()
    taken_over: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    dropped_views: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.migrations or self.taken_over or self.views or self.dropped_views)


def migrate(settings: Settings) -> Changes:
    """Creates the database, applies pending migrations and writes the views of this version; may be repeated. Blocks.

    Raises SchemaDrift when an applied file was changed, when the database is newer than this version, and when a table
    is not as declared in the end; Unavailable, Refused.
    """
    if settings.clickhouse_sharded:
        return Changes(*migrate_shards(settings, migrate, APPLIED))
    with ClickHouse(settings, database="") as server:
        server.execute(render("CREATE DATABASE IF NOT EXISTS {database} {cluster}", settings))
    with ClickHouse(settings) as clickhouse:
        clickhouse.execute(
            render(f"CREATE TABLE IF NOT EXISTS {{database}}.{APPLIED} {{cluster}} ({APPLIED_COLUMNS}) ", settings)
            + render("ENGINE = {replacing(applied_at)} ORDER BY name", settings)
            + " COMMENT 'Migrations that this database has had'"
        )
        make_record_of_views(clickhouse, settings)
        taken_over = _take_over(clickhouse)
        pending = pending_migrations(clickhouse)
        stale = pending_views(clickhouse, settings)
        for attempt in range(ATTEMPTS):
            try:
                for migration in pending_migrations(clickhouse):
                    _apply(migration, clickhouse, settings)
                _set_durability(clickhouse, settings)
                set_compression(clickhouse, settings)
                verify_tables(clickhouse)
                write_views(clickhouse, settings)
                break
            except (Refused, SchemaDrift):
                # Another client that migrates at the same moment may have undone half of a file, to run it again.
                if not (pending or stale) or attempt == ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0.5, 1.5))
    return _changes(pending, taken_over, stale)


def pending_migrations(clickhouse: ClickHouse) -> list[Migration]:
    """Returns the migrations that `migrate` would apply.

    Raises SchemaDrift where the files do not fit the migrations that the database has had.
    """
    applied = _applied(clickhouse)
    migrations = all_migrations()
    unknown = sorted(applied.keys() - {migration.name for migration in migrations} - BEFORE_BASELINE.keys())
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
    """Returns the declared tables whose inserts are answered before they are on disk (ENGAGEMENT_DURABLE off)."""
    declared = {table.name for table in TABLES}
    undurable = {
        name: None
        for name, engine, *_ in shapes_of(clickhouse)
        if name in declared and not all(f"{setting} = 1" in engine for setting in DURABLE)
    }
    return list(undurable)


def verify_tables(clickhouse: ClickHouse) -> None:
    """Checks every table against schemas/tables.py; additional columns are allowed.

    Raises SchemaDrift that names missing migrations, else the first table or column that is not as declared.
    """
    try:
        _verify_declared(clickhouse)
    except SchemaDrift:
        if pending := pending_migrations(clickhouse):
            names = ", ".join(migration.name for migration in pending)
            raise SchemaDrift(f"the tables lack the migrations {names}: run `engagement init`") from None
        raise


def _verify_declared(clickhouse: ClickHouse) -> None:
    columns: dict[str, dict[str, str]] = {}
    for table, name, type_ in zip(
        *clickhouse.select("SELECT table, name, type FROM system.columns WHERE database = currentDatabase()"),
        strict=True,
    ):
        columns.setdefault(table, {})[name] = type_
    shapes: dict[str, list[list[str]]] = {}
    for table, *shape in shapes_of(clickhouse):
        shapes.setdefault(table, []).append(shape)
    for declared in TABLES:
        if declared.name not in columns:
            raise SchemaDrift(f"ClickHouse has no table {declared.name}: run `engagement init`")
        _verify_columns(declared, columns[declared.name])
        for shape in shapes.get(declared.name, ()):
            _verify_shape(declared, *shape)


def _changes(pending: list[Migration], taken_over: tuple[str, ...], stale: ViewChanges) -> Changes:
    return Changes(
        tuple(migration.name for migration in pending),
        taken_over,
        tuple(view.name for view in stale.to_write),
        stale.to_drop,
    )


def _applied(clickhouse: ClickHouse) -> dict[str, str]:
    """Returns the checksums of the migrations that the database has had, by name."""
    names, checksums = clickhouse.select(f"SELECT name, checksum FROM {APPLIED} FINAL")
    return dict(zip(names, checksums, strict=True))


def _take_over(clickhouse: ClickHouse) -> tuple[str, ...]:
    """Records the baseline as applied for a database of the replaced migrations.

    Returns the names of recorded migrations. Raises SchemaDrift where the database has had only a part of the replaced
    migrations, or other files of these names.
    """
    applied = _applied(clickhouse)
    had = applied.keys() & BEFORE_BASELINE.keys()
    if BASELINE in applied or not had:
        return ()
    for name in sorted(had):
        if applied[name] != BEFORE_BASELINE[name]:
            raise SchemaDrift(
                f"the database has had another migration {name} than the one that {BASELINE} stands for: "
                "run `engagement init` of the version that made the database, up to its 0005_views.sql, then this one"
            )
    missing = [name for name in TABLES_BEFORE_BASELINE if name not in applied]
    if missing:
        raise SchemaDrift(
            f"the database has had migration {max(had)}, but not {missing[0]}: "
            "run `engagement init` of the version that made the database, then this one"
        )
    record_views(clickhouse, VIEWS_BEFORE_BASELINE, "0005_views.sql")
    baseline = next(migration for migration in all_migrations() if migration.name == BASELINE)
    _record(baseline, clickhouse)
    return (BASELINE,)


def _apply(migration: Migration, clickhouse: ClickHouse, settings: Settings) -> None:
    run_statements(migration.name, migration.statements(settings), clickhouse, settings)
    _record(migration, clickhouse)


def _record(migration: Migration, clickhouse: ClickHouse) -> None:
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
    """Checks engine and keys: a plain MergeTree, another key or version column would keep outdated rows."""
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

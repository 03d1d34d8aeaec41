"""Views, which are repeatable and no migrations.

`engagement init` writes each view whose text in the database is not the text of this version, and drops earlier views
that this version does not define any more.

For each written view the table `schema_views` keeps one checksum of two texts: the statement that wrote the view, and
the statement that the server keeps (`create_table_query`). A view is therefore written again when its definition
changes, when somebody dropped or altered it, and once after an upgrade of the server that words statements differently.
The server keeps a view as text, so views that read a rewritten view stay as they are.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from deploy.clickhouse.drafting import View
from deploy.clickhouse.views import all_views
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.ddl import render
from pipeline.errors import SchemaDrift
from pipeline.settings import Settings

WRITTEN: Final = "schema_views"
WRITTEN_COLUMNS: Final = (
    "`name` String COMMENT 'View', "
    "`checksum` String COMMENT 'SHA-256 of the statement and of what the server kept of it; empty: dropped', "
    "`written_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was written or dropped'"
)
DROPPED: Final = ""
"""The checksum of a view that was dropped."""


@dataclass(frozen=True)
class ViewChanges:
    """The views to write and the names of views to drop, to bring a database to this version."""

    to_write: tuple[View, ...]
    to_drop: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.to_write or self.to_drop)


def make_record_of_views(clickhouse: ClickHouse, settings: Settings) -> None:
    """Creates the table `schema_views`."""
    clickhouse.execute(
        render(f"CREATE TABLE IF NOT EXISTS {{database}}.{WRITTEN} {{cluster}} ({WRITTEN_COLUMNS}) ", settings)
        + render("ENGINE = {replacing(written_at)} ORDER BY name", settings)
        + " COMMENT 'Views that `engagement init` has written, and as what'"
    )


def pending_views(clickhouse: ClickHouse, settings: Settings) -> ViewChanges:
    """Returns what `write_views` would do. Raises SchemaDrift where a table has the name of a view."""
    written = dict(zip(*clickhouse.select(f"SELECT name, checksum FROM {WRITTEN} FINAL"), strict=True))
    views = all_views()
    there = _kept(clickhouse, *(view.name for view in views))
    for view in views:
        engine, _ = there.get(view.name, ("View", ""))
        if engine != "View":
            raise SchemaDrift(
                f"{view.name} is a table ({engine}), and `engagement init` makes a view of that name: "
                "move the table away (RENAME TABLE), and run `engagement init`"
            )
    defined = {view.name for view in views}
    return ViewChanges(
        tuple(
            view
            for view in views
            if view.name not in there or written.get(view.name) != _checksum(view, there, settings)
        ),
        tuple(sorted(name for name, checksum in written.items() if checksum != DROPPED and name not in defined)),
    )


def write_views(clickhouse: ClickHouse, settings: Settings) -> ViewChanges:
    """Brings the views to this version and returns what was done; may be repeated.

    Two that do so at once write the same text twice. Blocks. Raises SchemaDrift, Refused, Unavailable.
    """
    changes = pending_views(clickhouse, settings)
    for view in changes.to_write:
        clickhouse.execute(render(view.sql, settings))
        record_views(clickhouse, [view.name], _checksum(view, _kept(clickhouse, view.name), settings))
    for name in changes.to_drop:
        if any(engine == "View" for engine, _ in _kept(clickhouse, name).values()):
            clickhouse.execute(render(f"DROP VIEW IF EXISTS {{database}}.{name} {{cluster}}", settings))
        record_views(clickhouse, [name], DROPPED)
    return changes


def record_views(clickhouse: ClickHouse, names: Sequence[str], checksum: str) -> None:
    """Records views of this project with the checksum of their text, or as DROPPED."""
    clickhouse.execute(
        f"INSERT INTO {WRITTEN} (name, checksum) SELECT arrayJoin(%(names)s), %(checksum)s",
        {"names": list(names), "checksum": checksum},
    )


def _kept(clickhouse: ClickHouse, *names: str) -> dict[str, tuple[str, str]]:
    """Returns engine and statement of the named tables and views, where they exist."""
    found, engines, statements = clickhouse.select(
        "SELECT name, engine, create_table_query FROM system.tables "
        "WHERE database = currentDatabase() AND name IN %(names)s",
        {"names": names},
    )
    return dict(zip(found, zip(engines, statements, strict=True), strict=True))


def _checksum(view: View, there: dict[str, tuple[str, str]], settings: Settings) -> str:
    _, kept = there.get(view.name, ("", ""))
    return hashlib.sha256(f"{render(view.sql, settings)}\0{kept}".encode()).hexdigest()

"""Views are repeatable: written when their text differs, put right when somebody altered them, dropped when they go."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from deploy.clickhouse.drafting import View
from deploy.clickhouse.views import all_views
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import Changes, migrate
from pipeline.clickhouse.views import pending_views, write_views
from pipeline.errors import SchemaDrift
from pipeline.settings import Settings


@pytest.fixture
def client(settings: Settings) -> Iterator[ClickHouse]:
    migrate(settings)
    with ClickHouse(settings) as client:
        yield client


def _define(monkeypatch: pytest.MonkeyPatch, views: list[View]) -> None:
    monkeypatch.setattr("pipeline.clickhouse.views.all_views", lambda: views)


def _changed(views: list[View], name: str, old: str, new: str) -> list[View]:
    """The views, with `old` replaced in one of them."""
    assert any(view.name == name and old in view.sql for view in views)
    return [replace(view, sql=view.sql.replace(old, new)) if view.name == name else view for view in views]


def _there(client: ClickHouse) -> dict[str, tuple[str, str]]:
    """View -> its UUID, which changes when it is replaced, and its statement."""
    names, uuids, statements = client.select(
        "SELECT name, toString(uuid), create_table_query FROM system.tables "
        "WHERE database = currentDatabase() AND engine = 'View'"
    )
    return dict(zip(names, zip(uuids, statements, strict=True), strict=True))


def test_only_the_view_whose_definition_changed_is_replaced(
    client: ClickHouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _there(client)
    _define(monkeypatch, _changed(all_views(), "posts_v", "Where it was posted", "The network it was posted on"))
    assert migrate(settings) == Changes(views=("posts_v",))
    after = _there(client)
    assert {name for name in after if after[name] != before[name]} == {"posts_v"}
    [comment] = client.select("SELECT comment FROM system.columns WHERE table = 'posts_v' AND name = 'channel'")
    assert "The network it was posted on" in comment
    assert not migrate(settings)


@pytest.mark.parametrize(
    "altered",
    [
        "DROP VIEW posts_v",
        "CREATE OR REPLACE VIEW posts_v AS SELECT 1 AS post_id",
        "ALTER TABLE posts_v MODIFY COMMENT 'mine'",
        "EXCHANGE TABLES posts_v AND dead_letters_v",
        "RENAME TABLE posts_v TO mine_v",
    ],
)
def test_a_view_that_somebody_altered_is_put_right(client: ClickHouse, settings: Settings, altered: str) -> None:
    before = _there(client)
    client.execute(altered)
    touched = tuple(view.name for view in all_views() if view.name in altered)
    assert tuple(view.name for view in pending_views(client, settings).to_write) == touched
    assert migrate(settings) == Changes(views=touched)
    statements = {name: statement for name, (_, statement) in _there(client).items() if name != "mine_v"}
    assert statements == {name: statement for name, (_, statement) in before.items()}
    assert not migrate(settings)


def test_a_view_that_is_not_defined_any_more_is_dropped_once(
    client: ClickHouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.execute("CREATE VIEW mine_v AS SELECT 1 AS one")
    _define(monkeypatch, [view for view in all_views() if view.name != "over_performance"])
    assert migrate(settings) == Changes(dropped_views=("over_performance",))
    assert "over_performance" not in _there(client)
    # A name that is free again is anybody's.
    client.execute("CREATE VIEW over_performance AS SELECT 1 AS one")
    assert not migrate(settings)
    assert {"mine_v", "over_performance"} <= _there(client).keys()
    _define(monkeypatch, all_views())
    assert migrate(settings) == Changes(views=("over_performance",))


def test_a_table_in_place_of_a_dropped_view_is_let_be(
    client: ClickHouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.execute("DROP VIEW authors_v")
    client.execute("CREATE TABLE authors_v (one UInt8) ENGINE = MergeTree ORDER BY one AS SELECT 1 AS one")
    with pytest.raises(SchemaDrift, match=r"authors_v is a table \(MergeTree\).*move the table away \(RENAME TABLE\)"):
        migrate(settings)
    _define(monkeypatch, [view for view in all_views() if view.name != "authors_v"])
    migrate(settings)
    assert client.select("SELECT one FROM authors_v") == [[1]]


def test_a_view_may_read_another_and_follows_it(
    client: ClickHouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    upper = View("a_v", "CREATE OR REPLACE VIEW {database}.a_v {cluster} AS SELECT n FROM {database}.b_v")
    lower = View("b_v", "CREATE OR REPLACE VIEW {database}.b_v {cluster} AS SELECT 1 AS n FROM {database}.posts")
    _define(monkeypatch, [*all_views(), lower, upper])
    client.insert("posts", {"post_id": ["p"], "version": [1]})
    assert migrate(settings) == Changes(views=("b_v", "a_v"))
    assert client.select("SELECT n FROM a_v") == [[1]]
    _define(monkeypatch, [*all_views(), replace(lower, sql=lower.sql.replace("1 AS n", "2 AS n")), upper])
    assert migrate(settings) == Changes(views=("b_v",))
    assert client.select("SELECT n FROM a_v") == [[2]]


def test_what_was_written_before_a_failure_is_not_written_again(
    client: ClickHouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = _changed(all_views(), "events_v", "What was done", "What somebody did")
    _define(monkeypatch, [*changed, View("broken_v", "CREATE OR REPLACE VIEW {database}.broken_v AS SELECT nothing")])
    with pytest.raises(SchemaDrift, match="nothing"):
        write_views(client, settings)
    _define(monkeypatch, changed)
    assert not migrate(settings)
    [comment] = client.select("SELECT comment FROM system.columns WHERE table = 'events_v' AND name = 'kind'")
    assert "What somebody did" in comment


def test_four_at_once_write_the_same(client: ClickHouse, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = [replace(view, sql=view.sql.replace("The root post", "The post")) for view in all_views()]
    _define(monkeypatch, changed)
    stale = [view.name for view in pending_views(client, settings).to_write]
    assert len(stale) > 5
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(migrate, settings) for _ in range(4)]:
            future.result()
    assert not pending_views(client, settings)
    statements = " ".join(statement for _, statement in _there(client).values())
    assert "The post; key" in statements
    assert "The root post; key" not in statements

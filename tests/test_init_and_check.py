"""`engagement init` and `engagement check`, on a real stack and with nobody there; the SQL of roles."""

import json
import re
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.clickhouse.views import all_views
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import all_migrations, migrate
from pipeline.commands import check, init
from pipeline.errors import CheckFailed
from pipeline.kafka.topics import topic_specs
from pipeline.settings import Settings

USERS = (Path(__file__).parents[1] / "deploy/clickhouse/users.sql").read_text()


@pytest.fixture
def runner(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name, value in environment.items():
        if name.startswith("ENGAGEMENT_"):
            monkeypatch.setenv(name, value)
    return CliRunner(catch_exceptions=False)


def test_init_makes_what_is_missing_and_check_says_so(runner: CliRunner, settings: Settings) -> None:
    with pytest.raises(CheckFailed, match="2 of 8 checks failed: topics, tables"):
        runner.invoke(check)
    made = json.loads(runner.invoke(init, ["--json"]).stdout)
    assert sorted(made["topics"]) == sorted(spec.name for spec in topic_specs(settings))
    assert made["migrations"] == [migration.name for migration in all_migrations()]
    assert made["views"] == [view.name for view in all_views()]
    assert runner.invoke(init).stdout == "all is there: nothing to do\n"
    nothing = json.loads(runner.invoke(init, ["--json"]).stdout)
    assert nothing == {key: [] for key in ("topics", "migrations", "taken_over", "views", "dropped_views")}
    findings = json.loads(runner.invoke(check, ["--json"]).stdout)
    assert len(findings) == 8
    assert all(finding["ok"] for finding in findings)
    assert all(line.startswith("ok ") for line in runner.invoke(check).stdout.splitlines())


def test_check_names_the_cure_of_a_table_that_somebody_altered(
    runner: CliRunner, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.invoke(init)
    with ClickHouse(settings) as client:
        client.execute("ALTER TABLE post_minutes MODIFY COLUMN likes UInt64")
    result = CliRunner().invoke(check)
    assert isinstance(result.exception, CheckFailed)
    [line] = [line for line in result.output.splitlines() if line.startswith("failed")]
    assert re.search(r"tables +column post_minutes.likes is UInt64, it has to be UInt32: undo", line)


def test_check_names_a_view_that_somebody_altered_and_init_writes_it_again(
    runner: CliRunner, settings: Settings
) -> None:
    runner.invoke(init)
    with ClickHouse(settings) as client:
        client.execute("CREATE OR REPLACE VIEW posts_v AS SELECT 1 AS post_id")
    result = CliRunner().invoke(check)
    assert isinstance(result.exception, CheckFailed)
    [line] = [line for line in result.output.splitlines() if line.startswith("failed")]
    assert re.search(r"tables +views are not as this version has them: posts_v: run `engagement init`", line)
    assert runner.invoke(init).stdout == "wrote view posts_v\n"
    runner.invoke(check)


def test_check_goes_through_all_when_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("ENGAGEMENT_KAFKA", f"127.0.0.1:{port}")
    monkeypatch.setenv("ENGAGEMENT_CLICKHOUSE", f"clickhouse://u:hunter2@127.0.0.1:{port}/engagement")
    result = CliRunner().invoke(check)
    assert isinstance(result.exception, CheckFailed)
    lines = [line.split()[:2] for line in result.stdout.splitlines()]
    assert [name for said, name in lines if said == "failed"] == [
        "kafka",
        "topics",
        "fields",
        "clickhouse",
        "tables",
        "disk",
    ]
    assert "hunter2" not in result.output
    assert result.output.count("is ENGAGEMENT_CLICKHOUSE right?") == 3


def test_the_server_can_parse_the_sql_of_roles(settings: Settings) -> None:
    """Only parsed, because the embedded server keeps no users of SQL; tests/test_roles.py tries what is granted."""
    migrate(settings)
    statements = [part.strip() for part in re.sub(r"^--.*$", "", USERS, flags=re.MULTILINE).split(";")]
    with ClickHouse(settings) as client:
        for statement in filter(None, statements):
            client.select("EXPLAIN AST " + statement)
    granted = re.findall(r"^GRANT (.+) ON (\S+) TO (\w+);", USERS, re.MULTILINE)
    assert {rights for rights, _, role in granted if role == "engagement_reader"} == {"SELECT"}
    assert {(rights, role) for rights, where, role in granted if where == "engagement.*"} == {
        ("SELECT, INSERT", "engagement_writer"),
        ("ALL", "engagement_admin"),
    }, "readers are granted views one by one"

"""The alerts' file: what it may say, what errors say, where its secrets come from; `engagement alerts check`."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import engagement
from pipeline.errors import CheckFailed, SettingsError
from pipeline.settings import load_settings
from processors.alerts.config import load_alerts
from processors.alerts.receivers import RECEIVERS
from processors.alerts.routing import Routing
from tests.fakes_alerts import HttpServer, config_of

EXAMPLE = Path(__file__).parent.parent / "deploy/alerts.example.yaml"
SECRETS = {
    "TEAM_SLACK_URL": "https://slack.example/T0/hunter2",
    "WAREHOUSE_SECRET": "hunter2",
    "HEARTBEAT_URL": "https://hc.example/hunter2",
}
SMALL = """
receivers:
  hook:
    kind: webhook
    url: http://127.0.0.1:9/
{receiver}
routes:
  - match: "*"
    to: hook
{route}
{more}
"""


def _load(path: Path, text: str, **environment: str) -> object:
    path.write_text(text)
    return load_alerts(path, environment)


def _small(receiver: str = "", route: str = "", more: str = "") -> str:
    return SMALL.format(receiver="    " + receiver, route="    " + route, more=more)


def test_the_example_is_right_and_shows_every_field() -> None:
    config = load_alerts(EXAMPLE, SECRETS)
    text = EXAMPLE.read_text()
    assert {each.kind for each in config.receivers.values()} == set(RECEIVERS)
    models = [config, *config.receivers.values(), *config.routes, *config.silences, config.heartbeat]
    names = {field.alias or name for model in models for name, field in type(model).model_fields.items()}
    assert len(names) > 20
    assert {name for name in names if f" {name}:" not in text and f"\n{name}:" not in text} == set()


def test_no_secret_in_a_repr() -> None:
    config = load_alerts(EXAMPLE, SECRETS)
    assert "hunter2" not in f"{config!r} {config} {config.receivers}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must have receivers and routes, as deploy/alerts.example.yaml"),
        ("- a", "must have receivers and routes"),
        ("receivers: [", "is not YAML"),
        ("routes: 1\nroutes: 2", "'routes' is there twice"),
        (_small("urll: x"), "receivers.hook.urll: is not known here"),
        (_small("timeout: 5"), "receivers.hook.timeout: must be a number with its unit: 90s, 5m, 2h, 7d"),
        (_small("timeout: 0s"), "receivers.hook.timeout: Input should be greater than 0"),
        (_small("rate: often"), "receivers.hook.rate: must be a number a second, minute or hour: 30/minute"),
        (_small("rate: 0/minute"), "receivers.hook.rate: must be"),
        (_small("secret: hunter2"), "receivers.hook.secret: is a secret and must not stand in the file"),
        (_small("secret: {env: MISSING}"), "receivers.hook.secret: the environment variable MISSING is not set"),
        (_small("secret: {env: A, file: B}"), "receivers.hook.secret: must be text, or say where it is"),
        (_small("secret: {file: /no/such}"), "receivers.hook.secret: the file /no/such cannot be read"),
        (_small("headers: {Authorization: Bearer hunter2}"), "headers.Authorization: is a secret"),
        (_small(route="severity: 1"), "routes.0.severity: "),
        (_small(route="continue: maybe"), "routes.0.continue: "),
        (_small(more="oldest: forever"), "oldest: must be a number with its unit"),
        (_small(more="silences: [{match: x, until: 2026-01-01, comment: c}]"), "silences.0.until: "),
        (_small(more="silences: [{match: x, until: 2026-01-01T00:00:00, comment: c}]"), "names no zone; add Z"),
        (_small(more="silences: [{match: x, comment: c}]"), "silences.0.until: is missing"),
        (
            _small(
                more="silences: [{match: x, from: 2026-01-02T00:00:00Z, until: 2026-01-01T00:00:00Z, comment: c}]",
            ),
            "silences.0: until: must be after from",
        ),
        (
            _small(more="heartbeat: {url: {clear: 'https://h.example'}, every: 10s, timeout: 20s}"),
            "heartbeat: timeout: must not be longer than every",
        ),
        (_small().replace("to: hook", "to: [hook, gone]"), "routes.0.to: 'gone' is no receiver; there are hook"),
        (_small().replace("kind: webhook", "kind: fax"), "receivers.hook: kind must be one of alertmanager"),
        (_small().replace("kind: webhook", "kind: slack"), "receivers.hook.url: is a secret and must not stand"),
        (_small().replace("http://127", "ftp://127"), "receivers.hook.url: must be http://host/... or https"),
        (_small().replace("//127", "//u:hunter2@127"), "receivers.hook.url: holds a password"),
        (_small().replace("  hook:", "  my hook:"), "receivers.my hook: must be a name of letters"),
        (
            _small().replace("routes:", "  other: {kind: webhook, url: http://h/}\nroutes:"),
            "receivers.other: no route leads to it",
        ),
    ],
)
def test_errors_name_the_field_and_the_cure(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "alerts.yaml"
    with pytest.raises(SettingsError) as caught:
        _load(path, text)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "hunter2" not in str(caught.value).replace(text, "")


def test_secrets_come_from_where_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    for said, expected in (
        ("{env: NAME}", "from the environment"),
        (f"{{file: {tmp_path / 'secret'}}}", "from a file"),
        ("{clear: in clear}", "in clear"),
    ):
        config = _load(tmp_path / "alerts.yaml", _small(f"secret: {said}"), NAME="from the environment")
        assert config.receivers["hook"].secret.get_secret_value() == expected  # type: ignore[attr-defined]


def test_the_setting_names_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGEMENT_ALERTS", "/no/such")
    with pytest.raises(
        SettingsError, match=r"ENGAGEMENT_ALERTS: /no/such is not a file; name a YAML file like deploy/"
    ):
        load_settings()


# ---------------------------------------------------------------- routing


def test_the_first_route_that_fits_decides() -> None:
    routes = [
        {"match": "brand:acme", "to": ["a"], "severity": "critical", "continue": True},
        {"match": ["brand:*", "hashtag:AC??"], "to": ["a", "b"]},
        {"match": "*", "to": ["c"], "severity": "info"},
    ]
    routing = Routing(config_of({"a": {}, "b": {}, "c": {}}, routes=routes))
    for conversation, matched_routes in (
        ("brand:acme", [("a", "critical"), ("b", "warning")]),
        ("brand:Acme", [("a", "critical"), ("b", "warning")]),
        ("brand:acme2", [("a", "warning"), ("b", "warning")]),
        ("hashtag:acme", [("a", "warning"), ("b", "warning")]),
        ("hashtag:acmes", [("c", "info")]),
        ("thread:brand:acme", [("c", "info")]),
    ):
        assert routing.matched_routes(conversation) == matched_routes, conversation


def test_a_silence_holds_from_its_beginning_until_before_its_end() -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    silences = [{"match": "hashtag:x*", "from": start, "until": end, "comment": "c"}]
    routing = Routing(config_of(silences=silences))
    assert routing.silence("hashtag:X1", start) is not None
    assert routing.silence("hashtag:y", start) is None
    assert routing.silence("hashtag:x", end) is None
    assert routing.silence("hashtag:x", datetime(2025, 12, 31, 23, 59, tzinfo=UTC)) is None


# ---------------------------------------------------------------- the command


def _check(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(engagement, ["alerts", "check", *arguments], env=environment)


def test_check_says_who_gets_what() -> None:
    done = _check(str(EXAMPLE), "--conversation", "brand:ACME", **SECRETS)
    assert done.exit_code == 0
    assert "brand:ACME: pager (critical), warehouse (critical), team (warning)" in done.output
    assert "receiver team: slack at slack.example" in done.output
    assert "hunter2" not in done.output
    said = json.loads(_check(str(EXAMPLE), "--conversation", "thread:1", "--json", **SECRETS).output)
    assert said["conversation"]["legs"] == []


def test_check_finds_the_file_by_its_setting() -> None:
    assert _check(ENGAGEMENT_ALERTS=str(EXAMPLE), **SECRETS).exit_code == 0
    assert _check().exit_code == 2


def test_check_fails_on_what_is_wrong() -> None:
    for arguments in ([str(EXAMPLE)], ["/no/such/file"], [str(EXAMPLE), "--send-test", "nobody"]):
        done = _check(*arguments, **(SECRETS if len(arguments) > 1 else {}))
        assert isinstance(done.exception, CheckFailed)
        assert done.exception.exit_code == 1


def test_a_test_is_sent(tmp_path: Path) -> None:
    server, path = HttpServer(), tmp_path / "alerts.yaml"
    path.write_text(_small("secret: {clear: s}").replace("http://127.0.0.1:9/", server.url))
    assert "test resolved: delivered" in _check(str(path), "--send-test", "hook").output
    assert [request.json["type"] for request in server.requests] == [
        "engagement.spike.opened",
        "engagement.spike.resolved",
    ]
    assert len(set(server.keys())) == 2
    server.kill()
    done = _check(str(path), "--send-test", "hook")
    assert isinstance(done.exception, CheckFailed)
    assert "hook did not take the test" in str(done.exception)

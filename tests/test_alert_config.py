"""The alerts' file: what it may say, what errors say, where its secrets come from; `engagement alerts check`."""

import json
import pickle
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import engagement
from pipeline.errors import CheckFailed, SettingsError
from pipeline.settings import load_settings
from processors.alerts.config import known_conversations, load_alerts
from processors.alerts.connections import open_receivers
from processors.alerts.receivers import RECEIVERS
from processors.alerts.routing import Routing
from processors.alerts.values.patterns import covers, matcher
from tests.fakes_alerts import HttpServer, config_of
from tests.mail_server import MailServer
from tests.patience import SOON
from tests.slack_server import SlackServer
from tests.test_alert_email import mail_settings
from tests.test_alert_slack import bot_settings

EXAMPLE = Path(__file__).parent.parent / "deploy/alerts.example.yaml"
SECRETS = {
    "TEAM_SLACK_URL": "https://slack.example/T0/hunter2",
    "SLACK_TOKEN": "xoxb-hunter2",
    "MAIL_PASSWORD": "hunter2",
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


SILENCE = "silences: [{{match: 'brand:x', {}, comment: c}}]"


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


def test_no_way_of_showing_the_file_shows_a_secret() -> None:
    config = load_alerts(EXAMPLE, SECRETS)
    receivers = open_receivers(config)
    shown = [
        config,
        vars(config),
        config.model_dump(),
        config.model_dump_json(),
        receivers,
        *map(vars, receivers.values()),
    ]
    shown += [parts for receiver in receivers.values() for parts in _all_parts(receiver)]
    shown += [vars(each) for each in config.receivers.values()]
    assert "hunter2" not in f"{shown} {config}"
    with pytest.raises(TypeError, match="AlertsConfig holds secrets and is not pickled"):
        pickle.dumps(config)


def _all_parts(thing: object, depth: int = 4) -> list[dict[str, object]]:
    """The attributes of an object of this project, and of all objects in it."""
    if depth == 0 or not type(thing).__module__.startswith("processors"):
        return []
    parts = vars(thing) if hasattr(thing, "__dict__") else dict(enumerate(thing))  # type: ignore[call-overload]
    return [parts, *(inner for part in parts.values() for inner in _all_parts(part, depth - 1))]


MAIL = """    kind: email
    server: smtp.example:587
    from: alerts@team.example
    to: desk@team.example
"""
BOT = """    kind: slack
    token: {env: SLACK_TOKEN}
    channel: C0123456789
"""


@pytest.mark.parametrize(
    ("receiver", "line", "said"),
    [
        (MAIL.replace(":587", ""), 5, "hook.server: must be host:port of a mail server: smtp.example:587"),
        (MAIL.replace("smtp.", "smtp:"), 5, "hook.server: must be host:port"),
        (MAIL.replace("server: smtp.example:587\n", "\n"), 3, "hook.server: is missing"),
        (MAIL.replace("to: desk@", "to: desk at "), 7, "hook.to.0: must be one address"),
        (
            MAIL.replace("alerts@team.example", '"a@b\\r\\nBcc: x"'),
            6,
            "hook.from: the character U+000D is no text",
        ),
        (MAIL.replace("alerts@team.example", "a@x.example, b@x.example"), 6, "hook.from: must be one address"),
        (MAIL.replace("desk@team.example", "desk@größe.example"), 7, "hook.to.0: has signs that not every mail server"),
        (MAIL + "    user: ana\n", 3, "hook.password: is missing; a mail server asks for both user and password"),
        (MAIL + "    user: ana\n    password: hunter2\n", 9, "hook.password: is a secret and must not stand"),
        (
            MAIL + "    user: ana\n    password: {env: MAIL_PASSWORD}\n    security: none\n",
            10,
            "hook.security: would send the password in clear; say starttls or tls",
        ),
        (MAIL + "    security: ssl\n", 8, "hook.security: "),
        (MAIL + "    headers: {X-Team: social}\n", 8, "hook.headers: is not known here"),
        (MAIL + "    digest: {every: 1m}\n", 8, "hook.digest.every: must be from 15m to 1d"),
        (MAIL + "    quiet: {hours: '9-5'}\n", 8, "hook.quiet.hours.0: must be two times of the day"),
        (
            MAIL + "    quiet: {zone: Mars, days: sat}\n",
            8,
            "hook.quiet.zone: is no time zone; name one",
        ),
        (BOT.replace("{env: SLACK_TOKEN}", "xoxb-1"), 5, "hook.token: is a secret and must not stand in the file"),
        (BOT.replace("{env: SLACK_TOKEN}", "{clear: hunter2}"), 5, 'hook.token: must be the "Bot User OAuth Token"'),
        (BOT.replace("C0123456789", '"#team"'), 6, "hook.channel: must be the id of a channel"),
        (BOT.replace("channel: C0123456789\n", "\n"), 3, "hook.channel: is missing; name the channel"),
        (BOT + "    url: {clear: 'https://hooks.example/x'}\n", 7, "hook.url: is there beside token"),
        (
            "    kind: slack\n    url: {clear: 'https://hooks.example/x'}\n    threads: true\n",
            6,
            "hook.threads: needs a bot: an incoming webhook can only post",
        ),
        (
            "    kind: alertmanager\n    urls: ['http://127.0.0.1:9']\n    quiet: {days: sat}\n",
            6,
            "hook.quiet: is not for Alertmanager",
        ),
    ],
)
def test_errors_of_receivers_of_people_name_line_field_and_cure(
    tmp_path: Path, receiver: str, line: int, said: str
) -> None:
    path = tmp_path / "alerts.yaml"
    text = f"\nreceivers:\n  hook:\n{receiver}routes:\n  - {{match: '*', to: hook}}\n"
    with pytest.raises(SettingsError) as caught:
        _load(path, text, **SECRETS)
    assert str(caught.value).startswith(f"{path}:{line}: receivers.")
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must have receivers and routes, as deploy/alerts.example.yaml"),
        ("- a", "must have receivers and routes"),
        ("receivers: [", "is not YAML"),
        ("routes: 1\nroutes: 2", "'routes' is there twice"),
        (_small("urll: x"), "receivers.hook.urll: is not known here"),
        (_small("timeout: 5"), "receivers.hook.timeout: must be a number with its unit: 90s, 5m, 2h, 7d"),
        (_small("timeout: 0s"), "receivers.hook.timeout: must be from 1s to 120s"),
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
        (_small(more="silences: [{match: 'brand:x', until: 2026-01-01, comment: c}]"), "silences.0.until: "),
        (
            _small(more="silences: [{match: 'brand:x', until: 2026-01-01T00:00:00, comment: c}]"),
            "names no zone; add Z",
        ),
        (_small(more="silences: [{match: 'brand:x', comment: c}]"), "silences.0.until: is missing"),
        (
            _small(more=SILENCE.format("from: 2026-01-02T00:00:00Z, until: 2026-01-01T00:00:00Z")),
            "silences.0.until: must be after from",
        ),
        (
            _small(more="heartbeat: {url: {clear: 'https://h.example'}, every: 10s, timeout: 20s}"),
            "heartbeat: timeout: must not be longer than every",
        ),
        (_small().replace("to: hook", "to: [hook, gone]"), "routes.0.to: 'gone' is no receiver; there are hook"),
        (_small().replace("kind: webhook", "kind: fax"), "receivers.hook.kind: must be one of alertmanager"),
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
        {"match": ["brand:*", "hashtag:AC??"], "to": ["a", "b"], "min_severity": "notice"},
        {"match": "*", "to": ["c"], "severity": "info"},
    ]
    routing = Routing(config_of({"a": {}, "b": {}, "c": {}}, routes=routes))
    for conversation, matched_routes in (
        ("brand:acme", [("a", "critical", "warning"), ("b", None, "notice")]),
        ("brand:Acme", [("a", "critical", "warning"), ("b", None, "notice")]),
        ("brand:acme2", [("a", None, "notice"), ("b", None, "notice")]),
        ("hashtag:acme", [("a", None, "notice"), ("b", None, "notice")]),
        ("hashtag:acmes", [("c", "info", "warning")]),
        ("thread:brand:acme", [("c", "info", "warning")]),
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


@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        ("hashtag:[abc]", "hashtag:[abc]", "hashtag:a"),
        ("hashtag:a[!b]*", "hashtag:a[!b]c", "hashtag:ac"),
        ("hashtag:#Acme", "hashtag:acme", "hashtag:#acme"),
        ("HASHTAG:＃ＡＣＭＥ", "hashtag:acme", "hashtag:acme2"),
        ("hashtag: acme ", "hashtag:acme", "hashtag:acm"),
        ("mention:@Ana.example", "mention:ana.example", "hashtag:ana.example"),
        ("brand: ACME ", "brand:acme", "brand:acme2"),
        ("author:Bluesky/DID:*", "author:bluesky/did:plc:1", "author:mastodon/did:plc:1"),
        ("author:*/a?c", "author:bluesky/abc", "author:bluesky/abbc"),
        ("thread:Post.1", "thread:post.1", "thread:postx1"),
        ("*:acme", "mention:acme", "mention:acme2"),
        ("hashtag:straße", "hashtag:STRASSE", "hashtag:strase"),
        ("hashtag:a\\b", "hashtag:a\\b", "hashtag:ab"),
        ("h*g:x?", "hashtag:xy", "hashtag:x"),
        ("label:Campaign=Spring*", "label:campaign=spring 26", "label:campaign=summer"),
    ],
)
def test_a_pattern_means_the_key_that_people_would_write(pattern: str, fitting: str, other: str) -> None:
    config = config_of(routes=[{"match": pattern, "to": ["hook"]}])
    assert [route.receiver for route in Routing(config).matched_routes(fitting)] == ["hook"]
    assert Routing(config).matched_routes(other) == []
    until = datetime(2027, 1, 1, tzinfo=UTC)
    silenced = Routing(config_of(silences=[{"match": pattern, "until": until, "comment": "c"}]))
    assert silenced.silence(fitting, datetime(2026, 1, 1, tzinfo=UTC)) is not None
    assert silenced.silence(other, datetime(2026, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("wider", "narrower", "is_covered"),
    [
        ("*", "hashtag:*", True),
        ("hashtag:*", "hashtag:a?c*", True),
        ("hashtag:a?c", "hashtag:abc", True),
        ("hashtag:a?c", "hashtag:a?c", True),
        ("hashtag:a?", "hashtag:a*", False),
        ("hashtag:?*", "hashtag:*", False),
        ("hashtag:*a", "hashtag:*b", False),
        ("hashtag:[a]", "hashtag:a", False),
        ("hashtag:a", "hashtag:*", False),
    ],
)
def test_which_pattern_covers_another(wider: str, narrower: str, is_covered: bool) -> None:
    assert covers(wider, narrower) == is_covered


def test_many_stars_take_no_time() -> None:
    fits, began = matcher("hashtag:" + "*a" * 500 + "b"), time.monotonic()
    assert not fits("hashtag:" + "a" * 5_000)
    assert time.monotonic() - began < SOON


def test_brands_and_kinds_that_cannot_spike_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brands = tmp_path / "brands.yaml"
    brands.write_text("Acme: {side: own, hashtags: [acme]}\n")
    path = tmp_path / "alerts.yaml"
    for pattern, said in (
        ("brand:ACME", None),
        ("brand:*", None),
        ("brand:a?me", None),
        ("brand:globex", "names no brand of ENGAGEMENT_BRANDS; add the brand there, or name one of: acme"),
        ("brand:g*", "names no brand of ENGAGEMENT_BRANDS"),
        ("mention:x", "mention: is not watched for spikes; add it to ENGAGEMENT_SPIKE_KEYS"),
    ):
        path.write_text(_small().replace('"*"', f'"{pattern}"'))
        done = _check(str(path), ENGAGEMENT_BRANDS=str(brands), ENGAGEMENT_SPIKE_KEYS="brand,hashtag")
        assert done.exit_code == (0 if said is None else 1)
        assert said is None or said in str(done.exception)
    path.write_text(_small().replace('"*"', '"brand:globex"'))
    done = _check(str(path))
    assert "note: brand:globex: not compared with the brands" in done.output
    monkeypatch.setenv("ENGAGEMENT_BRANDS", str(brands))
    with pytest.raises(SettingsError, match=r"alerts\.yaml:8: routes\.0\.match\.0: names no brand"):
        load_alerts(path, {}, known_conversations(load_settings()))


def test_labels_that_are_no_conversations_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    for pattern, is_possible in (
        ("label:campaign=spring", True),
        ("label:CAMPAIGN=*", True),
        ("label:*", True),
        ("label:format=video", False),
        ("label:campaign", False),
    ):
        path.write_text(_small().replace('"*"', f'"{pattern}"'))
        assert _check(str(path), ENGAGEMENT_LABEL_KEYS="Campaign,product").exit_code == (0 if is_possible else 1)
        assert _check(str(path)).exit_code == 1, "no label is a conversation where the setting is empty"


def test_a_conversation_to_ask_for_is_one_that_can_be(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text(_small().replace('"*"', '"hashtag:acme"'))
    assert "hashtag:#ACME: hook (from warning on)" in _check(str(path), "--conversation", "hashtag:#ACME").output
    for conversation in ("acme", "hashtag:*", "author:ana", ""):
        assert _check(str(path), "--conversation", conversation).exit_code == 2


def test_a_short_secret_works_and_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text(_small("secret: {clear: hunter2}"))
    done = _check(str(path))
    assert done.exit_code == 0
    assert "note: receivers.hook: the secret has 7 bytes, and Standard Webhooks ask for 24 to 64" in done.output
    assert "hunter2" not in done.output


# ---------------------------------------------------------------- the command


def _check(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(engagement, ["alerts", "check", *arguments], env=environment)


def test_check_says_who_gets_what() -> None:
    done = _check(str(EXAMPLE), "--conversation", "brand:ACME", **SECRETS)
    assert done.exit_code == 0
    told = "pager (from notice on, as critical), warehouse (from notice on, as critical), team (from warning on)"
    assert f"brand:ACME: {told}" in done.output
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


def test_a_test_goes_to_people_too(tmp_path: Path) -> None:
    slack, mail, path = SlackServer(), MailServer(tmp_path), tmp_path / "alerts.yaml"
    receivers = {"room": bot_settings(slack), "desk": mail_settings(mail)}
    path.write_text(json.dumps({"receivers": receivers, "routes": [{"match": "*", "to": ["room", "desk"]}]}))
    for name in receivers:
        done = _check(str(path), "--send-test", name)
        assert "test resolved: delivered" in done.output, done.output
    [root] = slack.roots
    assert root["text"].startswith("the test engagement no longer spikes")
    assert [file["content"][:4] for file in slack.files.values()] == [b"\x89PNG"] * 2
    assert [each.message["Subject"] for each in mail.mails] == [
        "Spike of the test engagement",
        "Re: Spike of the test engagement",
    ]
    slack.kill()
    mail.kill()
    assert not slack.flaws


def test_check_says_when_a_receiver_is_quiet() -> None:
    done = _check(str(EXAMPLE), **SECRETS)
    assert (
        "receiver room: slack at slack.com, quiet 22:00-07:00 and sat and sun Europe/Berlin (but for critical"
        in done.output
    )
    assert "receiver desk: email at smtp.example:587, a digest each 4 hours in Europe/Berlin" in done.output
    shown = json.loads(_check(str(EXAMPLE), "--json", **SECRETS).output)["receivers"]
    assert shown["room"]["quiet"]["hours"] == ["22:00-07:00"]
    assert "quiet" not in shown["team"]

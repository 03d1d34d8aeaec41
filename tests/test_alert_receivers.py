"""The contract of a receiver, for the fake and for every kind of the table alike; and the messages of each kind."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cloudevents.core.formats.json import JSONFormat
from pydantic import SecretStr, ValidationError

from pipeline.errors import SettingsError
from processors.alerts.connections import open_heartbeat, open_receivers
from processors.alerts.fields import host_of
from processors.alerts.ports import Answer, Notice, Receiver
from processors.alerts.receivers import RECEIVERS
from processors.alerts.receivers.alertmanager import alertmanager_message
from processors.alerts.receivers.settings import HttpSettings, Sender
from processors.alerts.receivers.webhook import signer_of, webhook_digest, webhook_message
from processors.alerts.receivers.wording import Links
from schemas.alerts import SPIKE_ALERT, AlertState
from tests.fakes_alerts import T0, FakeReceiver, HttpServer, config_of, spike
from tests.mail_server import MailServer
from tests.patience import SOON
from tests.slack_server import SlackServer
from tests.test_alert_email import mail_settings
from tests.test_alert_slack import bot_settings

NOTICE = Notice(spike(), "critical")
SENDER = Sender("engagement", Links())
OVER_HTTP = [kind for kind, settings in RECEIVERS.items() if issubclass(settings, HttpSettings)]
ROOT = Path(__file__).parent.parent
EXAMPLE, PAGE = ROOT / "deploy/alerts.example.yaml", ROOT / "docs/alerts.md"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()

Misbehave = Callable[[str], None]


class Bench(NamedTuple):
    """A receiver with a timeout of a second, what it took, how to make whoever is behind it misbehave, and what a
    failure says."""

    receiver: Receiver
    took: Callable[[], list[str]]
    misbehave: Misbehave
    failure: str = "answers 500"
    looks_first: bool = False
    """A message that is there is not posted again."""


def fake() -> Iterator[Bench]:
    receiver = FakeReceiver()

    def misbehave(how: str) -> None:
        said = {"fails": "answers 500", "is gone": "cannot be reached", "hangs": "has not answered"}
        receiver.answer = lambda notice: Answer(how == "is well", said.get(how, ""))

    yield Bench(receiver, lambda: receiver.took, misbehave)


def over_http(kind: str) -> Iterator[Bench]:
    server = HttpServer()
    receiver = open_receivers(config_of({"it": settings_of(kind, server, timeout="1s")}))["it"]

    def misbehave(how: str) -> None:
        server.status, server.seconds = {"fails": (500, 0.0), "hangs": (200, 3 * SOON)}.get(how, (200, 0.0))
        if how == "is gone":
            server.kill()
        elif server._server is None:
            server.start()

    yield Bench(receiver, server.keys, misbehave)
    server.kill()


def slack_bot() -> Iterator[Bench]:
    server = SlackServer()
    receiver = open_receivers(config_of({"it": bot_settings(server, timeout="1s")}))["it"]

    def misbehave(how: str) -> None:
        server.status, server.seconds = {"fails": (500, 0.0), "hangs": (200, 3 * SOON)}.get(how, (200, 0.0))
        if how == "is gone":
            server.kill()
        elif server._server is None:
            server.start()

    yield Bench(receiver, server.keys, misbehave, looks_first=True)
    server.kill()
    assert not server.flaws


def by_email(folder: Path) -> Iterator[Bench]:
    server = MailServer(folder)
    receiver = open_receivers(config_of({"it": mail_settings(server, timeout="1s")}))["it"]

    def misbehave(how: str) -> None:
        server.refusal = "451 4.3.0 try later" if how == "fails" else ""
        server.seconds = 3 * SOON if how == "hangs" else 0.0
        if how == "is gone":
            server.kill()
        elif server._controller is None:
            server.start()

    yield Bench(receiver, lambda: [mail.key for mail in server.mails], misbehave, "answers 451 4.3.0 try later")
    server.kill()


def settings_of(kind: str, server: HttpServer, **more: Any) -> dict[str, Any]:
    """The settings of a receiver over HTTP of this kind behind which `server` stands."""
    has_several = "urls" in RECEIVERS[kind].model_fields
    return {
        "kind": kind,
        **({"urls": [server.url]} if has_several else {"url": {"clear": server.url + "/hook"}}),
        **more,
    }


@pytest.fixture(params=["fake", *OVER_HTTP, "slack bot", "email"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "fake":
        yield from fake()
    elif request.param == "slack bot":
        yield from slack_bot()
    elif request.param == "email":
        yield from by_email(tmp_path)
    else:
        yield from over_http(request.param)


def run(work: Coroutine[Any, Any, Any], *receivers: Receiver) -> Any:
    async def all_of_it() -> Any:
        try:
            return await work
        finally:
            for receiver in receivers:
                await receiver.close()

    return asyncio.run(all_of_it())


# ---------------------------------------------------------------- the contract


def test_it_says_what_was_taken_and_what_not(bench: Bench) -> None:
    async def work() -> list[Answer]:
        answers = []
        for how in ("is well", "fails", "is gone", "is well"):
            bench.misbehave(how)
            answers.append(await bench.receiver.send(NOTICE, T0))
        return answers

    answers = run(work(), bench.receiver)
    assert [answer.is_delivered for answer in answers] == [True, False, False, True]
    assert bench.failure in answers[1].reason
    assert "cannot be reached" in answers[2].reason
    times = bench.took().count("5f/opened")
    assert times == 1 if bench.looks_first else times >= 2


def test_it_does_not_wait_for_ever(bench: Bench) -> None:
    bench.misbehave("hangs")
    started = time.monotonic()
    answer = run(bench.receiver.send(NOTICE, T0), bench.receiver)
    assert time.monotonic() - started < SOON
    assert (answer.is_delivered, "has not answered" in answer.reason) == (False, True)


def test_several_at_once(bench: Bench) -> None:
    async def work() -> list[Answer]:
        return await asyncio.gather(*(bench.receiver.send(Notice(spike(f"s{n}"), "x"), T0) for n in range(8)))

    assert all(answer.is_delivered for answer in run(work(), bench.receiver))
    assert sorted(bench.took()) == [f"s{n}/opened" for n in range(8)]


def test_a_digest_is_one_message_and_all_of_it_is_told(bench: Bench) -> None:
    notices = [Notice(spike(f"s{number}", conversation=f"hashtag:tag{number}"), "notice") for number in range(3)]

    async def work() -> list[Answer]:
        answers = [await bench.receiver.send_digest(notices, T0)]
        bench.misbehave("fails")
        return [*answers, await bench.receiver.send_digest(notices, T0)]

    first, second = run(work(), bench.receiver)
    assert (first.is_delivered, second.is_delivered) == (True, False)
    assert bench.failure in second.reason


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize("state", ["opened", "grown", "resolved"])
def test_a_message_names_the_conversation_and_stays_the_same_when_it_is_repeated(
    kind: str, state: AlertState, server: HttpServer
) -> None:
    receiver = open_receivers(config_of({"it": settings_of(kind, server, headers={"X-Team": "social"})}))["it"]
    notice = Notice(spike(state=state, conversation="hashtag:größe"), "critical")

    async def work() -> None:
        for _ in range(2):
            assert (await receiver.send(notice, T0)).is_delivered

    run(work(), receiver)
    first, second = server.requests
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == notice.key
    assert first.headers["x-team"] == "social"
    assert "hashtag:größe" in first.body.decode()
    assert json.loads(first.body)


@pytest.mark.parametrize("kind", RECEIVERS)
def test_every_kind_is_what_its_line_of_the_table_says(kind: str, server: HttpServer) -> None:
    mail = {"kind": "email", "server": f"127.0.0.1:{server.port}", "from": "a@team.example", "to": "b@team.example"}
    receiver = config_of({"it": settings_of(kind, server) if kind in OVER_HTTP else mail}).receivers["it"]
    assert type(receiver) is RECEIVERS[kind]
    assert receiver.kind == kind
    assert type(receiver).__module__ == f"processors.alerts.receivers.{kind}"
    assert [host_of(address) for address in receiver.addresses] == [f"127.0.0.1:{server.port}"]
    assert f"kind: {kind}" in EXAMPLE.read_text()
    shown = {"email": "E-mail"}.get(kind, kind)
    assert re.search(rf"^\*\*{shown}\*\*", PAGE.read_text(), re.MULTILINE | re.IGNORECASE)


# ---------------------------------------------------------------- of HTTP alone


def test_retry_after_is_asked_for(server: HttpServer) -> None:
    server.status, server.answer_headers = 429, {"Retry-After": "17"}
    receiver = open_receivers(config_of({"it": {"url": server.url}}))["it"]
    assert run(receiver.send(NOTICE, T0), receiver).wait == 17


def test_a_redirect_is_not_followed(server: HttpServer) -> None:
    server.status, server.answer_headers = 307, {"Location": server.url + "/elsewhere"}
    receiver = open_receivers(config_of({"it": {"url": server.url}}))["it"]
    assert not run(receiver.send(NOTICE, T0), receiver).is_delivered
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [200, 500])
def test_no_address_is_shown_but_its_host(server: HttpServer, status: int) -> None:
    server.status = status
    receiver = open_receivers(config_of({"it": {"kind": "slack", "url": {"clear": server.url + "/T0/hunter2"}}}))["it"]

    async def work() -> list[Answer]:
        answers = [await receiver.send(NOTICE, T0)]
        server.kill()
        return [*answers, await receiver.send(NOTICE, T0)]

    said = " ".join(answer.reason for answer in run(work(), receiver))
    assert f"127.0.0.1:{server.port}" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("by", ["path", "query", "user", "header", "segment"])
def test_a_server_that_quotes_a_secret_does_not_bring_it_into_an_answer(by: str, server: HttpServer) -> None:
    """Servers say `no such path /T0/...`; the answer is logged and stored."""
    secret = "hunter2-hunter2"
    address = {
        "path": f"{server.url}/{secret}",
        "query": f"{server.url}/hook?token={secret}",
        "user": server.url.replace("//", f"//ana:{secret}@"),
        "segment": f"{server.url}/T0/{secret}/x",
    }.get(by, server.url + "/hook")
    headers = {"Authorization": {"clear": secret}} if by == "header" else {}
    server.status, server.answer_body = 404, (f"{' ' * 190}\x1b[31m no such thing: {secret} " * 3).encode()
    receiver = open_receivers(config_of({"it": {"url": {"clear": address}, "headers": headers}}))["it"]
    reason = run(receiver.send(NOTICE, T0), receiver).reason
    assert "answers 404" in reason
    assert "no such thing: ***" in reason
    assert not any(secret[:n] in reason for n in range(5, len(secret) + 1))
    assert reason.isprintable()


def test_headers_of_the_file_are_sent(server: HttpServer) -> None:
    headers = {"X-Team": "social", "Authorization": {"clear": "Bearer t"}}
    receiver = open_receivers(config_of({"it": {"url": server.url, "headers": headers}}))["it"]
    assert run(receiver.send(NOTICE, T0), receiver).is_delivered
    assert (server.requests[0].headers["x-team"], server.requests[0].headers["authorization"]) == ("social", "Bearer t")


def test_a_cluster_is_told_as_a_whole_and_one_that_takes_it_is_enough(server: HttpServer) -> None:
    other = HttpServer()
    receiver = open_receivers(config_of({"it": {"kind": "alertmanager", "urls": [server.url, other.url + "/"]}}))["it"]

    async def work() -> list[bool]:
        answers = []
        for _ in range(2):
            answers.append((await receiver.send(NOTICE, T0)).is_delivered)
            server.kill()
        other.kill()
        return [*answers, (await receiver.send(NOTICE, T0)).is_delivered]

    assert run(work(), receiver) == [True, True, False]
    assert (len(server.requests), len(other.requests)) == (1, 2)
    assert {request.path for request in other.requests} == {"/api/v2/alerts"}


def test_the_heartbeat_asks_its_address(server: HttpServer) -> None:
    heartbeat = open_heartbeat(config_of(heartbeat={"url": {"clear": server.url + "/ping/1"}}))
    assert heartbeat is not None
    assert run(heartbeat.post(b"", {}), heartbeat).is_delivered  # type: ignore[arg-type]
    assert server.requests[0].path == "/ping/1"


# ---------------------------------------------------------------- what is sent


def test_a_webhook_gets_a_cloud_event() -> None:
    content = webhook_message(Notice(spike(state="grown", minute=5), "warning"), T0, SENDER, None)
    event = json.loads(content.body)
    assert content.headers == {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    assert event.pop("data") == SPIKE_ALERT.dump_python(spike(state="grown", minute=5), mode="json")
    assert event == {
        "specversion": "1.0",
        "id": "5f/grown/2026-03-01T12:05Z",
        "source": "engagement",
        "type": "engagement.spike.grown",
        "subject": "hashtag:acme",
        "time": "2026-03-01T12:05:00Z",
        "datacontenttype": "application/json",
        "severity": "warning",
        "summary": "#acme has grown: 85 comments and posts a minute, 8 times the usual 10 a minute",
    }


def test_a_webhook_gets_links_and_a_digest_as_events_of_the_specification() -> None:
    sender = Sender("engagement", Links("https://g.example/{conversation}", "https://e.example"))
    event = JSONFormat().read(None, webhook_message(NOTICE, T0, sender, None).body)
    assert event.get_extension("spikeurl") == "https://e.example/spike/5f"
    assert event.get_extension("dashboardurl") == "https://g.example/hashtag%3Aacme"
    loud = Notice(spike("s2", "resolved", 9, severity="critical"), None)
    message = webhook_digest([NOTICE, loud], T0, sender, signer_of("hook", SecretStr("plain")))
    event = JSONFormat().read(None, message.body)
    assert event.get_type() == "engagement.spike.digest"
    assert event.get_extension("summary") == "2 spikes, 1 of them still open"
    assert [SPIKE_ALERT.validate_python(each) for each in event.get_data()] == [loud.alert, NOTICE.alert]
    assert message.headers["Webhook-Id"] == event.get_id()
    assert webhook_digest([loud, NOTICE], T0, sender, None).body == message.body, "the order of arrival does not matter"


@pytest.mark.parametrize("state", ["opened", "grown", "resolved"])
def test_the_library_of_cloud_events_reads_what_a_webhook_gets(state: AlertState) -> None:
    notice = Notice(spike(state=state, conversation="hashtag:größe"), "warning")
    event = JSONFormat().read(None, webhook_message(notice, T0, SENDER, None).body)
    assert (event.get_id(), event.get_source(), event.get_type()) == (
        notice.key,
        "engagement",
        f"engagement.spike.{state}",
    )
    assert (event.get_subject(), event.get_time()) == ("hashtag:größe", notice.alert["as_of"])
    assert event.get_extension("severity") == "warning"
    assert SPIKE_ALERT.validate_python(event.get_data()) == notice.alert


@pytest.mark.parametrize(("secret", "key"), [(SECRET, b"0123456789abcdef01234567"), ("plain", b"plain")])
def test_a_webhook_is_signed(secret: str, key: bytes) -> None:
    content = webhook_message(NOTICE, T0 + 0.7, SENDER, signer_of("hook", SecretStr(secret)))
    message, stamp = content.headers["Webhook-Id"], content.headers["Webhook-Timestamp"]
    assert (message, stamp) == ("5f/opened", str(int(T0)))
    signed = f"{message}.{stamp}.".encode() + content.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert content.headers["Webhook-Signature"] == f"v1,{expected}"


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of https://github.com/standard-webhooks/standard-webhooks."""
    signer = signer_of("hook", SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    stamp = datetime.fromtimestamp(1614265330, UTC)
    signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", stamp, '{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", ["whsec_", "whsec_a", "whsec_!!!!", "whsec_ab-_", "whsec_a===", "whsec_YWJj ZGVm"])
def test_a_secret_that_is_none_is_refused_by_name_and_not_shown(secret: str) -> None:
    with pytest.raises(SettingsError, match=r"^receivers\.hook\.secret: must be base64 after whsec_, and not empty; "):
        signer_of("hook", SecretStr(secret))
    with pytest.raises(ValidationError, match=r"must be base64 after whsec_, and not empty; make one"):
        config_of({"hook": {"secret": {"clear": secret}}})


def test_an_open_spike_at_alertmanager_ends_later_unless_it_is_said_again() -> None:
    [alert] = json.loads(
        alertmanager_message(
            NOTICE, T0 + 10, 900, Links("https://g.example/?c={conversation}", "https://e.example")
        ).body
    )
    assert alert["labels"] == {
        "alertname": "EngagementSpike",
        "conversation": "hashtag:acme",
        "kind": "hashtag",
        "spike_id": "5f",
        "severity": "critical",
    }
    assert datetime.fromisoformat(alert["endsAt"]).timestamp() == T0 + 910
    assert alert["annotations"]["description"] == "\n".join(spike()["reasons"])
    assert alert["annotations"]["evidence"] == spike()["evidence"]
    assert (
        alert["annotations"]["summary"] == "#acme spikes: 80 comments and posts a minute, 8 times the usual 10 a minute"
    )
    assert alert["generatorURL"] == alert["annotations"]["dashboard"] == "https://g.example/?c=hashtag%3Aacme"
    assert alert["annotations"]["spike"] == "https://e.example/spike/5f"
    assert alert["annotations"]["conversation"].startswith("https://e.example/conversation/hashtag%3Aacme?from=")


def test_labels_at_alertmanager_stay_and_a_resolution_is_over_by_any_clock() -> None:
    resolved = Notice(spike(state="resolved", minute=5, observed=1.0), "critical")
    [first] = json.loads(alertmanager_message(NOTICE, T0, 900, Links()).body)
    for now in (T0, T0 + 86_400):
        [last] = json.loads(alertmanager_message(resolved, now, 900, Links()).body)
        assert last["labels"] == first["labels"]
        assert datetime.fromisoformat(last["startsAt"]) <= datetime.fromisoformat(last["endsAt"])
        assert datetime.fromisoformat(last["endsAt"]) <= datetime.fromtimestamp(now, UTC)

"""End to end: from simulated events to receivers, through the real worker, Kafka, ClickHouse and Alertmanager; Slack
and the mail server are stand-ins on loopback. The worker and two receivers are killed on the way, repeated alerts count
once, and the pasted SQL returns the numbers of the alert."""

import hashlib
import hmac
import json
import os
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.kafka.publisher import open_publisher
from pipeline.settings import Settings
from schemas.alerts import SPIKE_ALERT
from tests.end_to_end.checks import engagement, environment_of
from tests.end_to_end.workers import Workers, wait_until
from tests.fakes_alerts import HttpServer, Request, spike
from tests.mail_server import MailServer
from tests.slack_server import CHANNEL, TOKEN, SlackServer
from tests.test_alertmanager import BINARY, RESOLVE_SECONDS, Alertmanager

FILE = """
receivers:
  hook:
    kind: webhook
    url: {url}/hook
    secret: {{env: HOOK_SECRET}}
    timeout: 1s
  room:
    kind: slack
    token: {{env: SLACK_TOKEN}}
    channel: {channel}
    api: {slack}
    timeout: 30s
  desk:
    kind: email
    server: {mail}
    security: starttls
    ca: {ca}
    from: alerts@team.example
    to: desk@team.example
    timeout: 30s
{pager}
routes:
  - match: "hashtag:launch"
    to: [{names}]
    min_severity: info
  - match: "hashtag:old"
    to: hook
link: "https://grafana.example/d/engagement-conversation/conversation?var-conversation={{conversation}}&from={{from}}&to={{to}}"
page: https://engagement.example
heartbeat:
  url: {{clear: {url}/alive}}
"""

PAGER = "  pager: {{kind: alertmanager, urls: [{url}]}}"
HOURS = 26
"""After a day of history a series has its normal levels."""

MINUTES_AGO = 45
"""When the spike ends: its resolution is then history already, and its opening is young enough to be delivered."""

LAUNCH = "hashtag:launch"
EARLY = "the minute is not over"


class Hook:
    """The requests that one receiver got. `server` also keeps those that it answers by 503, as if the answer was
    lost."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server

    @property
    def requests(self) -> list[Request]:
        return [request for request in self._server.requests if request.path == "/hook"]

    def states(self, conversation: str = LAUNCH) -> list[str]:
        """Returns the states of a conversation's spikes, in the order in which they came."""
        events = [request.json for request in self.requests]
        return [event["data"]["state"] for event in events if event["subject"] == conversation]

    def alert(self, state: str) -> dict[str, Any]:
        """Returns the last alert with this state."""
        return next(r.json["data"] for r in reversed(self.requests) if r.json["data"]["state"] == state)


@pytest.fixture
def alertmanager(tmp_path: Path, server: HttpServer) -> Iterator[Alertmanager | None]:
    """Returns the real Alertmanager where it is installed, not started yet; tests/test_alertmanager.py reports a
    missing one."""
    it = Alertmanager(tmp_path, server) if BINARY is not None else None
    yield it
    if it is not None and hasattr(it, "process"):
        it.stop()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_planted_spike_reaches_everybody_and_counts_once(
    settings: Settings, server: HttpServer, alertmanager: Alertmanager | None, tmp_path: Path
) -> None:
    path, hook = tmp_path / "alerts.yaml", Hook(server)
    pager = PAGER.format(url=alertmanager.url) if alertmanager else ""
    slack, mail = SlackServer(), MailServer(tmp_path, "starttls")
    names = "hook, room, desk" + (", pager" if pager else "")
    people = {"channel": CHANNEL, "slack": slack.url, "mail": mail.address, "ca": mail.ca}
    path.write_text(FILE.format(url=server.url, pager=pager, names=names, **people))
    environment = environment_of(settings, os.environ) | {"ENGAGEMENT_ALERTS": str(path), "HOOK_SECRET": "s"}
    environment["SLACK_TOKEN"] = TOKEN
    environment["ENGAGEMENT_SPIKE_KEYS"] = "hashtag"
    engagement(environment, "init")
    end = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=MINUTES_AGO)

    def simulate(start: datetime, hours: float, events: int, seed: int, *more: str) -> None:
        said = ["--start", start.isoformat(), "--hours", str(hours), "--seed", str(seed), "--events", str(events)]
        engagement(environment, "simulate", *said, "--posts", str(events // 50), *more)

    # Its only minute is the last that there is: that stays open, for time stands still with the events.
    simulate(
        end - timedelta(hours=HOURS),
        HOURS,
        15_000,
        1,
        "--duplicates",
        "0.05",
        "--spike",
        f"{LAUNCH}@{HOURS * 60 - 1}x150",
    )
    still: dict[str, Any] = {"lateness_seconds": 2, "idle_seconds": 3600}
    server.status = 503
    with Workers(tmp_path, environment) as workers, ClickHouse(settings) as client:
        first = workers.start(**still)
        wait_until(lambda: "opened" in hook.states(), 60, "the spike is not told", lambda: first.tail)
        if alertmanager is not None:
            first.wait_for("pager was not told of ", 20)
        server.kill()
        first.kill()
        assert outcomes(client).get("opened") != "delivered"

        send_old_and_bad_alerts(settings)
        server.status = 200
        server.start()
        if alertmanager is not None:
            alertmanager.start()
        second = workers.start(**still)
        wait_until(lambda: outcomes(client).get("opened") == "delivered", 60, "not told again", lambda: second.tail)
        [spike_id] = {request.json["data"]["spike_id"] for request in hook.requests}
        opened = hook.alert("opened")
        [[proof]] = client.select(opened["evidence"])
        assert proof >= opened["observed"] > 2, "10 in 5 minutes are the least that fires"
        assert proof == opened["observed"] or any(reason.startswith(EARLY) for reason in opened["reasons"])
        assert opened["reasons"]
        assert opened["voices"] > 9
        if alertmanager is not None:
            wait_until(lambda: firing(alertmanager) != [], 20, "Alertmanager is not told", lambda: second.tail)
            [fires] = firing(alertmanager)
            assert (fires["labels"]["spike_id"], fires["labels"]["conversation"]) == (spike_id, LAUNCH)
            assert fires["annotations"]["description"].split("\n") == opened["reasons"]
            assert fires["annotations"]["evidence"] == opened["evidence"]
            assert fires["annotations"]["spike"] == f"https://engagement.example/spike/{spike_id}"
            assert fires["generatorURL"].startswith("https://grafana.example/d/engagement-conversation/")
        wait_until(lambda: outcomes(client, receiver="desk").get("opened") == "delivered", 60, "no e-mail")
        wait_until(lambda: outcomes(client, receiver="room").get("opened") == "delivered", 60, "nothing at Slack")
        second.kill()
        killed = time.monotonic()

        simulate(end, (MINUTES_AGO - 3) / 60, 600, 2)
        if alertmanager is not None:
            time.sleep(max(0.0, killed + 2 * RESOLVE_SECONDS - time.monotonic()))
            assert firing(alertmanager), "nobody has said that it is over"
        engagement(environment, "recount", "--adopt")  # minutes that stood still close again
        workers.catch_up(90)
        assert hook.states()[-1] == "resolved"
        if alertmanager is not None:
            wait_until(lambda: not firing(alertmanager), 20, "our word does not resolve it")
            wait_until(lambda: "resolved" in notified(server), 20, "Alertmanager tells nobody of it")
            assert {"firing", "resolved"} == set(notified(server))
        resolved = hook.alert("resolved")
        assert client.select(resolved["evidence"]) == [[resolved["observed"]]]
        [evidence], [observed], [step] = client.select(
            "SELECT evidence, observed, bitAnd(version, 255) FROM conversation_spikes FINAL "
            f"WHERE spike_id = '{spike_id}'"
        )
        assert client.select(evidence) == [[observed]]
        assert observed == resolved["observed"] >= opened["observed"]
        assert step == 9, "resolved, and told"
        for receiver in ("hook", "room", "desk"):
            assert set(outcomes(client, receiver=receiver).values()) == {"delivered"}
        assert outcomes(client, "hashtag:old") == {"opened": "old"}
        [dead] = client.select(
            "SELECT bytes FROM dead_letters FINAL WHERE topic = %(t)s", {"t": settings.topics.alerts}
        )
        assert dead == ["{}"]
    assert_people_were_told_once(slack, mail, spike_id)
    keys = [request.json["id"] for request in hook.requests]
    assert keys.count(f"{spike_id}/opened") > 1, "its answer was lost"
    assert set(keys) == {f"{spike_id}/opened", f"{spike_id}/resolved"}
    assert any(request.path == "/alive" for request in server.requests)
    for request in hook.requests:
        key, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        digest = hmac.new(b"s", f"{key}.{stamp}.".encode() + request.body, hashlib.sha256).digest()
        assert request.headers["webhook-signature"] == "v1," + b64encode(digest).decode()
        assert json.loads(request.body)["id"] == key == request.headers["idempotency-key"]


def assert_people_were_told_once(slack: SlackServer, mail: MailServer, spike_id: str) -> None:
    """Checks Slack and the mailbox: one message and one thread, with pictures of real minutes, and links that open the
    spike."""
    slack.kill()
    mail.kill()
    assert not slack.flaws
    [root] = slack.roots
    assert root["text"].startswith("#launch no longer spikes")
    links = json.dumps(root["blocks"])
    assert f"<https://engagement.example/spike/{spike_id}|Spike>" in links
    assert "<https://grafana.example/d/engagement-conversation/conversation?var-conversation=hashtag%3Alaunch" in links
    told = slack.replies(root)
    assert [message["posted_as"] for message in told if "posted_as" in message] == [f"{spike_id}/resolved"]
    pictures = [file["content"] for file in slack.files.values()]
    assert len(pictures) == len([message for message in told if "files" in message]) == 2
    mails = list({str(mail.message["Message-ID"]): mail for mail in mail.mails}.values())
    assert [mail.message["Subject"] for mail in mails] == ["Spike of #launch", "Re: Spike of #launch"]
    assert mails[1].message["In-Reply-To"] == mails[0].message["Message-ID"]
    for each in mails:
        assert each.is_encrypted
        assert f"Spike: https://engagement.example/spike/{spike_id}\n" in each.part("text/plain")
        [picture] = [part for part in each.message.walk() if part.get_content_type() == "image/png"]
        assert picture.get_content().startswith(b"\x89PNG")


def send_old_and_bad_alerts(settings: Settings) -> None:
    """Sends a spike of last month, as a replay finds it, and a message that is no alert."""
    old = spike("old", since=datetime.now(UTC) - timedelta(days=30), conversation="hashtag:old")
    with open_publisher(settings) as publisher:
        publisher.send(settings.topics.alerts, b"hashtag:old", SPIKE_ALERT.dump_json(old))
        publisher.send(settings.topics.alerts, b"hashtag:bad", b"{}")
        publisher.flush(20)


def outcomes(client: ClickHouse, conversation: str = LAUNCH, receiver: str = "hook") -> dict[str, str]:
    """Returns the outcome of each alert to a receiver, by state."""
    # The made-up day may have had a spike of its own, which is history when the worker starts.
    young = "spike_id != 'old' AND outcome NOT IN ('old', 'untold')"
    wanted = "spike_id = 'old'" if conversation == "hashtag:old" else young
    found = client.select(f"SELECT state, outcome FROM alert_deliveries_v WHERE receiver = '{receiver}' AND {wanted}")
    return dict(zip(*found, strict=True)) if found else {}


def firing(alertmanager: Alertmanager) -> list[dict[str, Any]]:
    return [alert for alert in alertmanager.alerts() if alert["labels"]["alertname"] == "EngagementSpike"]


def notified(server: HttpServer) -> list[str]:
    """Returns the states of the alerts that Alertmanager has passed on."""
    groups = [request.json for request in server.requests if request.path == "/"]
    return [alert["status"] for group in groups for alert in group["alerts"]]


@pytest.mark.stack
def test_a_file_that_is_wrong_ends_the_worker_with_one_clear_line(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text("receivers: {}\nroutes: []\n")
    environment = environment_of(settings, os.environ) | {"ENGAGEMENT_ALERTS": str(path)}
    with Workers(tmp_path, environment) as workers:
        worker = workers.start()
        assert worker.wait(60) == 2
        assert f"engagement: ENGAGEMENT_ALERTS: {path}:1: receivers: " in worker.log

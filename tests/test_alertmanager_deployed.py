"""The Alertmanager configuration of deploy/: amtool accepts it, routes lead where they should, and a real Alertmanager
tells Slack, mail and the heartbeat's service, each by a stand-in on loopback."""

import json
import re
import shutil
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from email import message_from_string, policy
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.fakes_alerts import HttpServer
from tests.test_alertmanager import BINARY, Alertmanager, needs_alertmanager

DEPLOY: Final = Path(__file__).parent.parent / "deploy"
DEPLOYED: Final = DEPLOY / "alertmanager/alertmanager.yml"
AMTOOL: Final = shutil.which("amtool")
MOUNTED: Final = "/etc/alertmanager/"
needs_amtool = pytest.mark.skipif(
    AMTOOL is None, reason="amtool is not installed (Debian: apt-get install prometheus-alertmanager)"
)


class MailServer(socketserver.ThreadingTCPServer):
    """Takes mail on a free port of loopback and keeps it; knows just enough SMTP for Alertmanager."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.mails: list[tuple[str, str]] = []
        """Receiver and message of each mail."""
        super().__init__(("127.0.0.1", 0), _MailHandler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _MailHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, MailServer)
        receiver = ""
        self._say("220 stand-in")
        while line := self.rfile.readline().decode().strip():
            word = line.upper()
            if word.startswith("RCPT"):
                receiver = line.partition(":")[2].strip("<> ")
            if word == "DATA":
                self._say("354 go on")
                message = []
                while (part := self.rfile.readline().decode()) != ".\r\n":
                    message.append(part)
                self.server.mails.append((receiver, "".join(message)))
            self._say("221 bye" if word == "QUIT" else "250 stand-in")
            if word == "QUIT":
                return

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


def _config_of(folder: Path) -> dict[str, Any]:
    """Returns the deployed configuration, with its files in `folder`, for the Alertmanager that is installed."""
    text = DEPLOYED.read_text().replace(MOUNTED, f"{folder}/")
    config: dict[str, Any] = yaml.safe_load(text)
    if _version() < (0, 26):
        # Debian 12 has 0.25, which reads the address of a webhook from the configuration alone.
        for receiver in config["receivers"]:
            for webhook in receiver.get("webhook_configs", []):
                webhook["url"] = Path(webhook.pop("url_file")).read_text()
    return config


def _version() -> tuple[int, int]:
    assert BINARY is not None
    said = subprocess.run([BINARY, "--version"], capture_output=True, text=True, timeout=60, check=True)
    match = re.search(r"version (\d+)\.(\d+)", said.stdout + said.stderr)
    assert match is not None
    return int(match[1]), int(match[2])


def _secrets(folder: Path, slack: str, heartbeat: str) -> None:
    (folder / "secrets").mkdir()
    for name, value in (("slack_url", slack), ("smtp_password", "secret"), ("heartbeat_url", heartbeat)):
        (folder / "secrets" / name).write_text(value)
    shutil.copy(DEPLOYED.with_name("engagement.tmpl"), folder)


@pytest.fixture
def heartbeats() -> Iterator[HttpServer]:
    server = HttpServer()
    yield server
    server.kill()


def test_the_file_holds_no_secret() -> None:
    text = DEPLOYED.read_text()
    assert not re.search(r"https?://", re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE))
    read = set(re.findall(r"_file: (\S+)", text))
    assert read == {f"{MOUNTED}secrets/{name}" for name in ("slack_url", "smtp_password", "heartbeat_url")}
    assert all(f"secrets/{Path(name).name} " in text for name in read), "the head says what each file holds"
    ignored = (DEPLOY / "compose/secrets/.gitignore").read_text().splitlines()
    assert [line for line in ignored if not line.startswith("#")] == ["*", "!.gitignore"]


def test_the_deployed_file_routes_the_heartbeat_to_a_receiver_of_its_own() -> None:
    config = yaml.safe_load(DEPLOYED.read_text())
    names = {receiver["name"] for receiver in config["receivers"]}
    route = config["route"]
    [heartbeat] = [each for each in route["routes"] if 'alertname="EngagementHeartbeat"' in each["matchers"]]
    assert {route["receiver"], *(each["receiver"] for each in route["routes"])} <= names
    assert heartbeat["receiver"] != route["receiver"]
    assert not heartbeat.get("continue", False)
    assert [each["receiver"] for each in route["routes"]].count(heartbeat["receiver"]) == 1


@needs_amtool
@needs_alertmanager
def test_amtool_agrees_and_routes_as_we_mean(tmp_path: Path) -> None:
    assert AMTOOL is not None
    _secrets(tmp_path, "http://127.0.0.1:1/", "http://127.0.0.1:1/")
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(_config_of(tmp_path)))
    done = subprocess.run([AMTOOL, "check-config", file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 templates" in done.stdout
    for labels, receiver in (
        (["alertname=EngagementHeartbeat", "severity=none"], "heartbeat"),
        (["alertname=EngagementSpike", "severity=critical"], "on-call"),
        (["alertname=EngagementSpike", "severity=warning"], "people"),
        (["alertname=EngagementStuck", "severity=critical"], "on-call"),
        (["alertname=EngagementLagGrowing", "severity=warning"], "people"),
    ):
        command = [AMTOOL, "config", "routes", "test", f"--config.file={file}", *labels]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.split() == [receiver]


@needs_alertmanager
def test_people_are_told(tmp_path: Path, server: HttpServer, heartbeats: HttpServer) -> None:
    """A critical fault reaches Slack and mail, a spike Slack alone, the heartbeat its service; what strangers call
    themselves calls nobody."""
    mail = MailServer()
    alertmanager = Alertmanager(tmp_path, server)
    _secrets(tmp_path, server.url, heartbeats.url)
    config = _config_of(tmp_path)
    # The stand-in speaks neither TLS nor passwords; and nobody waits 10 s for a group.
    config["global"] |= {"smtp_smarthost": f"127.0.0.1:{mail.server_address[1]}", "smtp_require_tls": False}
    del config["global"]["smtp_auth_username"], config["global"]["smtp_auth_password_file"]
    config["route"]["group_wait"] = "0s"
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))
    alertmanager.start()
    try:
        fault = {
            "summary": "w-1 has committed nothing",
            "description": "Ask it.",
            "runbook_url": "https://docs.example/#x",
        }
        alertmanager.post({"labels": {"alertname": "EngagementStuck", "severity": "critical"}, "annotations": fault})
        name = "<!channel> & <https://evil.example|co>"
        spike = {"summary": f"hashtag:{name} is loud", "description": f"about {name}"}
        labels = {"alertname": "EngagementSpike", "severity": "warning", "conversation": f"hashtag:{name}"}
        link = "https://grafana.example/d/x"
        alertmanager.post({"labels": labels, "annotations": spike, "generatorURL": link})
        alertmanager.post({"labels": {"alertname": "EngagementHeartbeat", "severity": "none"}})
        _until(lambda: len(server.requests) >= 2 and mail.mails and heartbeats.requests)
        time.sleep(0.5)  # whatever should not come would come now
    finally:
        alertmanager.stop()
        mail.shutdown()
        mail.server_close()
    told = {said["title"]: said for request in server.requests for said in json.loads(request.body)["attachments"]}
    safe = "&lt;!channel&gt; &amp; &lt;https://evil.example|co&gt;"
    assert told.keys() == {"w-1 has committed nothing", f"hashtag:{safe} is loud"}
    assert told["w-1 has committed nothing"]["title_link"] == fault["runbook_url"]
    assert "<https://docs.example/#x|What to do>" in told["w-1 has committed nothing"]["text"]
    loud = told[f"hashtag:{safe} is loud"]
    assert (loud["title_link"], loud["color"]) == (link, "warning")
    assert f"about {safe}\n<{link}|Look at it>" in loud["text"]
    [(receiver, message)] = mail.mails
    assert receiver == "on-call@example.org"
    assert message_from_string(message, policy=policy.default)["Subject"] == "w-1 has committed nothing"
    assert json.loads(heartbeats.requests[0].body)["alerts"][0]["labels"]["alertname"] == "EngagementHeartbeat"


def _until(condition: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)

"""Who may send to the collector: keys and their limits, the file, the commands, addresses."""

import asyncio
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.cli import engagement
from pipeline.errors import EngagementError, SettingsError
from pipeline.serving.listening import bind_listener
from pipeline.settings import Settings
from producers.collector.access.grants import Access, AccessPolicy
from producers.collector.access.keys_file import KeysDocument, new_key, read_keys, write_keys
from producers.collector.access.origins import OriginPolicy
from producers.collector.access.senders import SenderLimits, SenderLoad
from producers.collector.command import check_exposure
from producers.collector.refusals import SlowDown
from producers.collector.server import ListenPolicy, run_server
from schemas.events import parse_event
from tests.fakes_collector import LIKE, FakeCollector, like


class Keys:
    """A keys file, and a collector that reads it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.yaml"
        self.document = KeysDocument()
        write_keys(self.path, self.document)

    def add(self, **fields: Any) -> tuple[str, str]:
        """Adds a key; its id and the key."""
        self.document, entry, token = new_key(self.document, **{"source": "shop", **fields})
        write_keys(self.path, self.document)
        return entry.id, token

    def collector(self, **more: Any) -> FakeCollector:
        return FakeCollector(access=AccessPolicy(self.path), **more)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_only_keys_open(keys: Keys) -> None:
    _, token = keys.add()
    collector = keys.collector()
    assert collector.post(json=LIKE, headers=bearer(token)).status_code == 202
    for wrong in (
        {},
        bearer("ek_wrong"),
        bearer(""),
        {"authorization": f"Basic {token}"},
        bearer(token[:-1]),
        bearer("é"),
    ):
        answer = collector.post(json=LIKE, headers=wrong)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(collector.sender.sent) == 1
    assert collector.post(f"/v1/events?token={token}", json=LIKE).status_code == 401, (
        "keys do not belong into addresses"
    )


def test_beacons_have_their_key_in_the_address(keys: Keys) -> None:
    _, token = keys.add()
    shop = "https://shop.example"
    policy = AccessPolicy(keys.path, token_in_query=True)
    collector = FakeCollector(access=policy, origins=OriginPolicy(frozenset({shop})))
    headers = {"origin": shop, "content-type": "text/plain"}
    assert collector.post(f"/v1/events?token={token}", content=json.dumps(LIKE), headers=headers).status_code == 202
    assert collector.post("/v1/events?token=x", content=json.dumps(LIKE), headers=headers).status_code == 401


def test_a_key_is_bound_to_its_channels(keys: Keys) -> None:
    _, one = keys.add(channels=["shop"])
    _, two = keys.add(channels=["shop", "github"])
    collector = keys.collector()
    bare = {name: value for name, value in LIKE.items() if name != "channel"}
    batch = [bare, like(2, channel="shop"), like(3, channel="other"), like(4, channel=None)]
    answer = collector.post(json=batch, headers=bearer(one))
    assert (answer.status_code, answer.json()["accepted"]) == (207, 3)
    assert [(each["index"], each["field"]) for each in answer.json()["rejected"]] == [(2, "channel")]
    assert {parse_event(record.value)["channel"] for record in collector.sender.of("likes")} == {"shop"}
    answer = collector.post(json=batch, headers=bearer(two))
    assert [(each["index"], each["field"]) for each in answer.json()["rejected"]] == [
        (0, "channel"), (2, "channel"), (3, "channel"),
    ]  # fmt: skip
    star = {
        "action": "created", "starred_at": "2026-02-01T00:00:00Z", "sender": {"id": 1, "login": "bob"},
        "repository": {"html_url": "https://github.com/a/b"},
    }  # fmt: skip
    headers = {"x-github-event": "star"}
    assert collector.post("/hooks/github", json=star, headers={**headers, **bearer(two)}).status_code == 202
    assert collector.post("/hooks/github", json=star, headers={**headers, **bearer(one)}).status_code == 202
    channels = [parse_event(record.value)["channel"] for record in collector.sender.of("likes")[-2:]]
    assert channels == ["github", "shop"]


def test_limits_of_a_key(keys: Keys) -> None:
    _, small = keys.add(body_limit=300)
    _, slow = keys.add(rate=2)
    collector = keys.collector()
    assert collector.post(json=LIKE, headers=bearer(small)).status_code == 202
    assert collector.post(json=[LIKE] * 3, headers=bearer(small)).status_code == 413
    codes = [collector.post(json=LIKE, headers=bearer(slow)).status_code for _ in range(3)]
    assert codes == [202, 202, 429]
    answer = collector.post(json=LIKE, headers=bearer(slow))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert collector.post(json=LIKE, headers=bearer(small)).status_code == 202, "another key is not concerned"
    time.sleep(0.6)
    assert collector.post(json=LIKE, headers=bearer(slow)).status_code == 202


def test_requests_at_a_time(keys: Keys) -> None:
    _, token = keys.add(concurrency=2)
    collector = keys.collector()

    async def three() -> list[int]:
        collector.sender.hold = asyncio.Event()
        async with collector.client() as client:
            posts = [client.post("/v1/events", json=LIKE, headers=bearer(token)) for _ in range(3)]
            tasks = [asyncio.create_task(post) for post in posts]
            await asyncio.sleep(0.1)
            collector.sender.hold.set()
            first = sorted([(await task).status_code for task in tasks])
            return [*first, (await client.post("/v1/events", json=LIKE, headers=bearer(token))).status_code]

    assert asyncio.run(three()) == [202, 202, 429, 202]


def test_the_token_bucket() -> None:
    load, limits = SenderLoad(), SenderLimits(rate=10)
    taken = 0
    for tick in range(1000):  # 10 s in ticks of 10 ms
        try:
            load.enter(limits, tick / 100)
        except SlowDown:
            continue
        load.leave()
        taken += 1
    assert taken == pytest.approx(10 + 10 * 9.99, abs=1)
    assert load.active == 0


def test_keys_are_read_again(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.collector.access.grants.RELOAD_SECONDS", 0.0)
    collector = keys.collector()
    key_id, token = keys.add()
    assert collector.post(json=LIKE, headers=bearer(token)).status_code == 202, "made after the start"
    keys.path.write_text("keys: [oops")
    assert collector.post(json=LIKE, headers=bearer(token)).status_code == 202, "a broken file changes nothing"
    write_keys(keys.path, keys.document)
    done = CliRunner().invoke(engagement, ["collect-keys", "revoke", key_id, "--file", str(keys.path)])
    assert done.exit_code == 0, done.output
    assert collector.post(json=LIKE, headers=bearer(token)).status_code == 401


def test_the_commands(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.yaml"

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(engagement, ["collect-keys", arguments[0], "--file", str(path), *arguments[1:]])

    made = run("add", "--source", "shop", "--channel", "shop", "--rate", "5", "--secret", "--json")
    assert made.exit_code == 0, made.output
    said = json.loads(made.stdout)
    text = path.read_text()
    assert said["key"] not in text
    assert said["secret"] in text, "signatures need the secret itself"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Access(AccessPolicy(path)) is not None
    plain = run("add", "--source", "other").stdout
    assert "ek_" in plain
    listed = json.loads(run("list", "--json").stdout)
    assert [(entry["source"], entry.get("channels")) for entry in listed] == [("shop", ["shop"]), ("other", None)]
    assert "sha256" not in json.dumps(listed)
    assert "valid" in run("list").stdout
    assert run("revoke", said["id"]).exit_code == 0
    assert "revoked" in run("list").stdout
    assert isinstance(run("revoke", "nobody").exception, EngagementError)
    assert isinstance(run("add", "--source", "no spaces").exception, SettingsError)
    assert isinstance(run("add", "--source", "x", "--rate", "-1").exception, SettingsError)
    nowhere = CliRunner().invoke(engagement, ["collect-keys", "list"])
    assert nowhere.exit_code == 2
    assert "ENGAGEMENT_COLLECT_KEYS" in nowhere.output


HASH = "a" * 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keys: 3", "keys: "),
        ("keys:\n- {id: a, source: s}", "keys.0.sha256: "),
        (f"keys:\n- {{id: a, source: s, sha256: {HASH}, colour: red}}", "keys.0.colour: "),
        (f"keys:\n- {{id: a, source: s, sha256: {HASH}, channels: []}}", "keys.0.channels: "),
        (f"keys:\n- {{id: a, source: s, sha256: {HASH}, secret: {{}}}}", "one of {env: NAME}"),
        (f"keys:\n- {{id: a, source: s, sha256: {HASH}}}\n- {{id: a, source: t, sha256: {HASH}}}", "there twice"),
        (f"keys:\n- {{id: a, source: s, sha256: {HASH}, secret: {{env: NOT_SET_ANYWHERE}}}}", "NOT_SET_ANYWHERE"),
        (f"keys:\n- {{id: a, source: s, sha256: {HASH}, secret: {{file: /nowhere/at/all}}}}", "/nowhere/at/all"),
    ],
)
def test_flaws_of_the_file_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as found:
        Access(AccessPolicy(path))
    assert said in str(found.value)


def test_a_secret_of_the_file_is_shown_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(f"keys:\n- {{id: a, source: s, sha256: {HASH}, secret: {{clear: hunter2}}}}")
    document = read_keys(path)
    [entry] = document.keys
    assert entry.secret is not None
    assert "hunter2" not in f"{document} {document!r} {vars(entry.secret)} {document.model_dump()}"
    write_keys(path, document)
    [again] = read_keys(path).keys
    assert again.secret is not None
    assert again.secret.read() == "hunter2"


@pytest.mark.parametrize("text", ["keys:\n- {id: a, source: s,\n   sha256: x}", "[" * 20_000, "keys:\n  - 1\n\tx: 2"])
def test_a_flaw_of_the_file_has_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"keys\.yaml:[123]: "):
        read_keys(path)


def test_an_empty_file_opens_to_nobody(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("")
    assert read_keys(path) == KeysDocument()
    assert FakeCollector(access=AccessPolicy(path)).post(json=LIKE).status_code == 401
    with pytest.raises(SettingsError, match="cannot be read"):
        Access(AccessPolicy(tmp_path / "none.yaml"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "engagement.example"])
def test_an_open_address_wants_keys(host: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="collect-keys add"):
        check_exposure(Settings(), host)
    check_exposure(Settings(collect_keys=tmp_path / "keys.yaml"), host)


def test_loopback_needs_none_and_tls_needs_both(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        check_exposure(Settings(), host)
    (tmp_path / "a.pem").touch()
    with pytest.raises(SettingsError, match="PRIVATE_KEY"):
        check_exposure(Settings(collect_certificate=tmp_path / "a.pem"), "127.0.0.1")
    with pytest.raises(ValueError, match="not a file"):
        Settings(collect_certificate=tmp_path / "b.pem")


def test_a_port_that_is_taken_and_a_certificate_that_is_none(tmp_path: Path) -> None:
    with bind_listener("127.0.0.1", 0) as taken, pytest.raises(SettingsError, match="--port"):
        bind_listener("127.0.0.1", taken.getsockname()[1])
    empty = tmp_path / "empty.pem"
    empty.touch()
    with (
        bind_listener("127.0.0.1", 0) as listener,
        pytest.raises(SettingsError, match="COLLECT_CERTIFICATE"),
    ):
        run_server(FakeCollector().app, ListenPolicy("127.0.0.1", 0, empty, empty), listener)
    done = CliRunner().invoke(engagement, ["collect", "--cors-origin", "shop.example"])
    assert done.exit_code == 2
    assert "--cors-origin" in done.output
    assert os.environ.get("ENGAGEMENT_COLLECT_KEYS") is None

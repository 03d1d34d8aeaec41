"""`engagement bluesky` before anything is opened: wrong use, what the options mean. And its status server."""

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from fakes_bluesky import did

from pipeline.cli import main
from pipeline.errors import SettingsError
from pipeline.observability.source_metrics import SourceMetrics
from pipeline.settings import Settings
from producers.bluesky.jetstream.endpoints import (
    DEFAULT_HOSTS,
    METHOD,
    Request,
    Wanted,
    parse_endpoint,
    subscription_url,
)
from producers.bluesky.status import serve_status
from producers.destinations import FileDestination
from producers.source import BadInput
from producers.state_files import default_state_file

WRONG_USE = [
    (["--host", "http://a.example/subscribe"], "is no URL of a WebSocket; give one such as wss://"),
    (["--host", "wss://a.example/"], "the path names no protocol; end it in /subscribe"),
    (["--collections", "like,follow"], "follow is none of like, repost, post"),
    (["--authors", "ana.example"], "ana.example is no DID such as did:plc:"),
    (["--actors", ",".join(did(f"u{n}") for n in range(10_001))], "10001 are more than the 10000 that a host takes"),
    (["--until-idle", "0"], "--until-idle"),
    (["--dictionary", "/nowhere/zstd"], "--dictionary /nowhere/zstd: cannot be read"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG_USE, ids=lambda value: str(value)[:24])
def test_wrong_use_names_the_option(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bluesky", *arguments])
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_default_hosts_can_be_asked() -> None:
    for url in DEFAULT_HOSTS:
        endpoint = parse_endpoint(url)
        assert endpoint.version == "v2"
        assert url.startswith("wss://")
        assert endpoint.http_root + "x" == url.replace("wss", "https").removesuffix(METHOD) + "x"


def test_a_url_keeps_what_is_not_ours_and_asks_for_what_is_wanted() -> None:
    endpoint = parse_endpoint("ws://[::1]:6008/a/subscribe?key=a%20b")
    url = subscription_url(endpoint, Request(Wanted(("app.bsky.feed.like",), ("did:plc:a",)), 17, {"compress": "true"}))
    assert url == (
        "ws://[::1]:6008/a/subscribe?key=a+b&wantedCollections=app.bsky.feed.like&wantedDids=did:plc:a"
        "&maxMessageSizeBytes=2097152&compress=true&cursor=17"
    )


def test_each_cluster_and_prefix_has_a_state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings = Settings()
    others = [settings.model_copy(update={"topic_prefix": "x"}), settings.model_copy(update={"kafka": "b:1"})]
    files = {default_state_file(each, "bluesky", ".sqlite") for each in (settings, settings, *others)}
    assert len(files) == 3
    assert all(file.parent == tmp_path / "engagement" for file in files)


def test_status_is_served_where_a_setting_asks_for_it() -> None:
    metrics, trouble = SourceMetrics(), ["not connected: refused"]
    with serve_status(Settings(), metrics, lambda: trouble[0]) as url:
        assert url is None
    with serve_status(Settings(source_metrics_port=0), metrics, lambda: trouble[0]) as url:
        assert url is not None
        assert url.startswith("http://127.0.0.1:")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url + "/readyz")
        assert caught.value.code == 503
        assert json.loads(caught.value.read())["reasons"] == trouble
        caught.value.close()
        trouble[0] = ""
        assert json.loads(urllib.request.urlopen(url + "/readyz").read())["ready"]
        shown = urllib.request.urlopen(url + "/metrics").read().decode()
    assert 'engagement_source_events_total{action="retract",kind="like"} 0.0' in shown
    assert "engagement_source_lag_seconds NaN" in shown


def test_a_port_that_is_taken_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(source_metrics_port=taken.getsockname()[1])
        with (
            pytest.raises(SettingsError, match="ENGAGEMENT_SOURCE_METRICS_PORT"),
            serve_status(settings, SourceMetrics(), lambda: ""),
        ):
            pass


def test_a_file_keeps_bad_inputs_beside_malformed_records(tmp_path: Path) -> None:
    with FileDestination(tmp_path / "events.ndjson") as destination:
        destination.add_dead(BadInput("wss://a.example 7", "not JSON", b"\xff"))
    kept = json.loads((tmp_path / "events.ndjson.malformed").read_text())
    assert kept == {"source": "wss://a.example 7", "reason": "not JSON", "value_base64": "/w=="}

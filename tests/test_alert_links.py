"""The link of the example file opens the dashboard that it names, at the conversation and the time of the spike. Truth
is the JSON of the dashboards, and how an address is read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from deploy.grafana.expansion import DASHBOARDS
from processors.alerts.config import load_alerts
from processors.alerts.receivers.wording import Links
from processors.alerts.values.addresses import check_page
from tests.fakes_alerts import NOON, spike
from tests.hostile_names import HOSTILE
from tests.test_alert_config import EXAMPLE, SECRETS

KEYS: Final = ("hashtag:größe & co", "mention:bob", "brand:acme", "author:bluesky/did:plc:a/b", "thread:at://x/1?y=2#z")


def followed(link: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the dashboard that an address opens, and the query of the address."""
    parts = urlsplit(link)
    _, page, uid, _ = parts.path.split("/")
    assert (page, parts.fragment) == ("d", "")
    [dashboard] = [each for each in DASHBOARDS.values() if each["uid"] == uid]
    asked = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
    assert len(dict(asked)) == len(asked)
    return dashboard, dict(asked)


@pytest.mark.parametrize("key", [*KEYS, *(f"hashtag:{name}" for name in HOSTILE)])
def test_the_link_of_the_example_sets_variables_of_its_dashboard(key: str) -> None:
    template = load_alerts(EXAMPLE, SECRETS).link
    link = Links(template).of_dashboard(spike(conversation=key, top_posts=["p & 1"]))
    assert link is not None
    dashboard, asked = followed(link)
    variables = {f"var-{each['name']}" for each in dashboard["templating"]["list"] if each["type"] == "query"}
    assert {name for name in asked if name.startswith("var-")} == variables, "each thing that is shown, and no other"
    assert asked["var-conversation"] == key
    assert asked["var-post"] == (key.removeprefix("thread:") if key.startswith("thread:") else "p & 1")


def test_the_link_shows_the_time_of_the_spike() -> None:
    template = load_alerts(EXAMPLE, SECRETS).link
    _, open_ = followed(Links(template).of_dashboard(spike()) or "")
    assert (_time(open_["from"]), open_["to"]) == (NOON - timedelta(minutes=61), "now")
    _, over = followed(Links(template).of_dashboard(spike(state="resolved", minute=30)) or "")
    assert (_time(over["from"]), _time(over["to"])) == (NOON - timedelta(minutes=61), NOON + timedelta(minutes=45))


def test_the_documentation_names_every_placeholder_of_the_example() -> None:
    page = Path(__file__).parent.parent / "docs/alerts.md"
    template = load_alerts(EXAMPLE, SECRETS).link or ""
    assert template.partition("?")[2].split("&")[1:] == ["var-post={post}", "from={from}", "to={to}"]
    assert all(f"`{name}`" in page.read_text() for name in ("{conversation}", "{post}", "{from}", "{to}"))


def test_the_live_page_opens_the_spike_its_conversation_and_its_posts() -> None:
    links = Links(None, load_alerts(EXAMPLE, SECRETS).page)
    alert = spike(conversation="hashtag:größe & co/?#")
    assert links.of_spike(alert) == "https://engagement.example/spike/5f"
    address = urlsplit(links.of_conversation(alert) or "")
    asked = dict(parse_qsl(address.query, strict_parsing=True))
    assert unquote(address.path) == "/conversation/hashtag:größe & co/?#"
    assert address.path.count("/") == 2, "the key is one part of the path"
    assert (_time(asked["from"]), asked["to"]) == (NOON - timedelta(minutes=61), "now")
    assert links.of_post("at://x/1") == "https://engagement.example/post/at%3A%2F%2Fx%2F1"
    assert Links().named(alert) == {}


@pytest.mark.parametrize(
    "page", ["ftp://x", "https://x/?a=1", "https://x/{post}", "https://u:p@x", "https://x/#a", "x", "https://x/?"]
)
def test_an_address_to_which_nothing_can_be_added_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match=r"address of the live page|holds a password"):
        check_page(page)
    assert check_page("https://x.example/live/") == "https://x.example/live"


def _time(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)

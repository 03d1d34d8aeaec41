"""The link of the example file opens the dashboard that it names, at the conversation and the time of the spike. Truth
is the JSON of the dashboards, and how an address is read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest

from deploy.grafana.expansion import DASHBOARDS
from processors.alerts.config import load_alerts
from processors.alerts.receivers.wording import link_to
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
    link = link_to(template, spike(conversation=key, top_posts=["p & 1"]))
    assert link is not None
    dashboard, asked = followed(link)
    variables = {f"var-{variable['name']}" for variable in dashboard["templating"]["list"]}
    assert {name for name in asked if name.startswith("var-")} == variables, "each variable of the page, and no other"
    assert asked["var-conversation"] == key
    assert asked["var-post"] == (key.removeprefix("thread:") if key.startswith("thread:") else "p & 1")


def test_the_link_shows_the_time_of_the_spike() -> None:
    template = load_alerts(EXAMPLE, SECRETS).link
    _, open_ = followed(link_to(template, spike()) or "")
    assert (_time(open_["from"]), open_["to"]) == (NOON - timedelta(minutes=61), "now")
    _, over = followed(link_to(template, spike(state="resolved", minute=30)) or "")
    assert (_time(over["from"]), _time(over["to"])) == (NOON - timedelta(minutes=61), NOON + timedelta(minutes=45))


def test_the_documentation_names_every_placeholder_of_the_example() -> None:
    page = Path(__file__).parent.parent / "docs/alerts.md"
    template = load_alerts(EXAMPLE, SECRETS).link or ""
    assert template.partition("?")[2].split("&")[1:] == ["var-post={post}", "from={from}", "to={to}"]
    assert all(f"`{name}`" in page.read_text() for name in ("{conversation}", "{post}", "{from}", "{to}"))


def _time(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)

"""The wording of a spike for people, which all kinds of receivers share."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple
from urllib.parse import quote

from processors.alerts.ports import Notice
from schemas.alert_words import (
    clock,
    comparison_in_words,
    count_in_words,
    counted_in,
    in_digits,
    name_of,
    names_in_words,
    plain_line,
    rate_in_words,
    usual_in_words,
    web_link,
)
from schemas.alerts import SEVERITIES, AlertState, SpikeAlert

VERBS: Final[dict[AlertState, tuple[str, str]]] = {
    "opened": ("spikes", "spike"),
    "grown": ("has grown", "have grown"),
    "resolved": ("no longer spikes", "no longer spike"),
}
"""What a spike does in each state: one conversation, several."""

MOST_NAMES: Final = 3
"""A headline with more names would hide its numbers; the reasons name all conversations."""

LEADING_POSTS: Final = 5
SHOWN_BEFORE: Final = timedelta(hours=1)
SHOWN_AFTER: Final = timedelta(minutes=15)
"""The time that a link shows beside that of the spike."""


def headline(alert: SpikeAlert) -> str:
    """Returns one line: `#acme spikes: 80 comments and posts a minute, 8 times the usual 10 a minute`."""
    names = alert["conversations"] or [alert["conversation"]]
    shown = len(names) if len(names) <= MOST_NAMES else MOST_NAMES - 1
    is_plural = len(names) > 1 or names[0].startswith("author:")
    level = rate_in_words(alert["observed"])
    number, _, unit = level.partition(" a")
    rate = f"{number} {counted_in(alert['conversation'])} a{unit}"
    height = ("at its height ", "at their height ")[is_plural] if alert["state"] == "resolved" else ""
    verb = VERBS[alert["state"]][is_plural]
    return f"{names_in_words(names, shown)} {verb}: {height}{rate}, {comparison_in_words(alert)}"


def details(alert: SpikeAlert) -> dict[str, str]:
    """Returns the numbers of a spike for people: name -> text."""
    counted = counted_in(alert["conversation"])
    return {
        "since": clock(alert["started_at"]),
        "until": clock(alert["ended_at"]) if alert["ended_at"] is not None else "it goes on",
        "counted": count_in_words(alert),
        "usual": usual_in_words(alert).removeprefix("usually "),
        "severity": alert["severity"],
        "people": _with_usual(alert["voices"], alert["voices_usual"]),
        "channels": _with_usual(alert["channels"], alert["channels_usual"]),
        "in one post": f"{alert['concentration']:.0%} of the {counted}",
    }


def reasons_of(alert: SpikeAlert) -> list[str]:
    """Returns the reasons of a spike, a line each, and the other conversations of the cause."""
    others = [name for name in alert["conversations"] if name != alert["conversation"]]
    group = [f"the same posts made {names_in_words(others)} spike; the numbers are those of {_name(alert)}"]
    return [plain_line(reason) for reason in alert["reasons"]] + (group if others else [])


def digest_headline(alerts: Sequence[SpikeAlert]) -> str:
    """Returns the line above several spikes: `3 spikes, 1 of them still open`."""
    still_open = sum(alert["state"] != "resolved" for alert in alerts)
    shown = "all over by now" if not still_open else f"{still_open:,} of them still open"
    return f"{len(alerts):,} spikes, {shown if still_open < len(alerts) else 'all still open'}"


def ordered_in_digest(notices: Sequence[Notice]) -> list[Notice]:
    """Returns the notices of a digest, the most severe first, then the newest."""
    rank = SEVERITIES.index
    return sorted(notices, key=lambda each: (-rank(each.alert["severity"]), -each.alert["as_of"].timestamp(), each.key))


def digest_key(notices: Sequence[Notice]) -> str:
    """Returns the idempotency key of a digest, which follows from its notices."""
    keys = "\n".join(sorted(notice.key for notice in notices))
    return f"digest-{hashlib.sha256(keys.encode()).hexdigest()[:16]}"


def posts_of(alert: SpikeAlert) -> list[tuple[str, str | None]]:
    """Returns the leading posts with their addresses, None for an unknown address or no web link."""
    urls = [*alert["top_urls"], *[""] * len(alert["top_posts"])]
    pairs = zip(alert["top_posts"], urls, strict=False)
    return [(plain_line(post), web_link(url)) for post, url in pairs][:LEADING_POSTS]


def authors_of(alert: SpikeAlert) -> list[str]:
    """Returns the authors of the leading posts, each on one line."""
    return [plain_line(author) for author in alert["top_authors"]]


class Links(NamedTuple):
    """The addresses at which people look at a spike. `dashboard`: address with placeholders (check_link); `page`:
    address of the live page, without a slash at its end. None: there is no address."""

    dashboard: str | None = None
    page: str | None = None

    def of_dashboard(self, alert: SpikeAlert) -> str | None:
        """Returns the address of the dashboard at the time of the spike, None without a dashboard.

        `{post}` is the post of a thread, or the leading post elsewhere; `{from}` and `{to}` are milliseconds since
        1970, or `now` while the spike goes on, as Grafana reads them.
        """
        if self.dashboard is None:
            return None
        kind, _, name = alert["conversation"].partition(":")
        begins, ends = shown_span(alert)
        values = {
            "conversation": alert["conversation"],
            "post": name if kind == "thread" else next(iter(alert["top_posts"]), ""),
            "from": begins,
            "to": ends,
        }
        address = self.dashboard
        for placeholder, value in values.items():
            address = address.replace(f"{{{placeholder}}}", _quoted(value))
        return address

    def of_spike(self, alert: SpikeAlert) -> str | None:
        """Returns the address of the spike on the live page."""
        return None if self.page is None else f"{self.page}/spike/{_quoted(alert['spike_id'])}"

    def of_conversation(self, alert: SpikeAlert) -> str | None:
        """Returns the address of the conversation on the live page, at the time of the spike."""
        if self.page is None:
            return None
        begins, ends = shown_span(alert)
        return f"{self.page}/conversation/{_quoted(alert['conversation'])}?from={begins}&to={ends}"

    def of_post(self, post: str) -> str | None:
        """Returns the address of a post on the live page."""
        return None if self.page is None else f"{self.page}/post/{_quoted(post)}"

    def named(self, alert: SpikeAlert) -> dict[str, str]:
        """Returns the addresses that are known, by the words under which people find them."""
        addresses = {
            "Spike": self.of_spike(alert),
            "Conversation": self.of_conversation(alert),
            "Dashboard": self.of_dashboard(alert),
        }
        return {name: address for name, address in addresses.items() if address is not None}


def shown_span(alert: SpikeAlert) -> tuple[str, str]:
    """Returns the time that links show, in milliseconds since 1970; its end is `now` while the spike goes on."""
    begins, ended = alert["started_at"] - SHOWN_BEFORE, alert["ended_at"]
    until = "now" if ended is None else f"{round((ended + SHOWN_AFTER).timestamp() * 1000)}"
    return f"{round(begins.timestamp() * 1000)}", until


def shorten(text: str, limit: int) -> str:
    """Returns the text within `limit` characters, with an ellipsis where the end is cut off."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _name(alert: SpikeAlert) -> str:
    return name_of(alert["conversation"])


def _with_usual(value: int | None, usual: float | None) -> str:
    if value is None:
        return "not known"
    return f"{value:,}" if usual is None else f"{value:,}, usually {in_digits(usual)}"

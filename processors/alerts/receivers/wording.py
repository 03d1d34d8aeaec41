"""The wording of a spike for people, which all kinds of receivers share."""

from datetime import timedelta
from typing import Final
from urllib.parse import quote

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
from schemas.alerts import AlertState, SpikeAlert

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


def posts_of(alert: SpikeAlert) -> list[tuple[str, str | None]]:
    """Returns the leading posts with their addresses, None for an unknown address or no web link."""
    urls = [*alert["top_urls"], *[""] * len(alert["top_posts"])]
    pairs = zip(alert["top_posts"], urls, strict=False)
    return [(plain_line(post), web_link(url)) for post, url in pairs][:LEADING_POSTS]


def authors_of(alert: SpikeAlert) -> list[str]:
    """Returns the authors of the leading posts, each on one line."""
    return [plain_line(author) for author in alert["top_authors"]]


def link_to(template: str | None, alert: SpikeAlert) -> str | None:
    """Returns the address of a conversation's page at the time of the spike, None without a template.

    `{post}` is the post of a thread, or the leading post elsewhere; `{from}` and `{to}` are milliseconds since 1970, or
    `now` while the spike goes on, as Grafana reads them.
    """
    if template is None:
        return None
    kind, _, name = alert["conversation"].partition(":")
    begins, ended = alert["started_at"] - SHOWN_BEFORE, alert["ended_at"]
    values = {
        "conversation": alert["conversation"],
        "post": name if kind == "thread" else next(iter(alert["top_posts"]), ""),
        "from": f"{round(begins.timestamp() * 1000)}",
        "to": "now" if ended is None else f"{round((ended + SHOWN_AFTER).timestamp() * 1000)}",
    }
    for placeholder, value in values.items():
        template = template.replace(f"{{{placeholder}}}", quote(value, safe="", errors="replace"))
    return template


def shorten(text: str, limit: int) -> str:
    """Returns the text within `limit` characters, with an ellipsis where the end is cut off."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _name(alert: SpikeAlert) -> str:
    return name_of(alert["conversation"])


def _with_usual(value: int | None, usual: float | None) -> str:
    if value is None:
        return "not known"
    return f"{value:,}" if usual is None else f"{value:,}, usually {in_digits(usual)}"

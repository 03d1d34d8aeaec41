"""The messages of Slack: text and blocks (Block Kit), within Slack's limits. Pure.

Text of strangers cannot become a mention, a link or a channel: `&`, `<` and `>` are escaped, and Slack is told to take
the text as it stands (`verbatim`).
"""

from collections.abc import Sequence
from typing import Any, Final

from processors.alerts.ports import Notice
from processors.alerts.receivers.wording import (
    Links,
    authors_of,
    details,
    digest_headline,
    headline,
    ordered_in_digest,
    posts_of,
    reasons_of,
    shorten,
)
from schemas.alert_words import clock, plain_line
from schemas.alerts import SpikeAlert

HEADER_LIMIT: Final = 150
SECTION_LIMIT: Final = 3_000
TEXT_LIMIT: Final = 4_000
FIELD_LIMIT: Final = 2_000
NAME_LIMIT: Final = 200
URL_LIMIT: Final = 1_200
LISTED_URL_LIMIT: Final = 500
"""Slack's limits (https://docs.slack.dev/reference/block-kit/blocks); a longer message is refused as a whole."""

DIGEST_SPIKES: Final = 20
"""A digest names so many spikes, the most severe first, and the number of the others."""

Content = dict[str, Any]
Block = dict[str, Any]


def slack_content(notice: Notice, links: Links) -> Content:
    """Returns `text` and `blocks` of a notice."""
    alert, line = notice.alert, headline(notice.alert)
    blocks: list[Block] = [
        _header(line),
        {"type": "section", "text": _markdown(_reasons(alert))},
        {
            "type": "section",
            "fields": [_markdown(f"*{name}*\n{text}", FIELD_LIMIT) for name, text in details(alert).items()],
        },
    ]
    if posts := posts_of(alert):
        blocks.append({"type": "section", "text": _posts(alert, posts, links)})
    if authors := authors_of(alert):
        blocks.append({"type": "section", "text": _markdown("*Authors*\n" + "\n".join(authors))})
    blocks += _link_block(alert, links)
    # Cut before it is fenced, so that the fence is never cut. A backtick would end the fence; in SQL it stands in a
    # literal alone, where its byte means the same.
    evidence = shorten(_escape(alert["evidence"].replace("`", "\\x60")), SECTION_LIMIT - 10)
    blocks.append({"type": "section", "text": _verbatim(f"```{evidence}```")})
    blocks.append(_foot(notice))
    return _content(f"{line}\n{_reasons(alert)}", blocks)


def slack_reply(notice: Notice, links: Links) -> Content:
    """Returns `text` and `blocks` of a reply in the thread of a spike: what is new."""
    alert, line = notice.alert, headline(notice.alert)
    blocks = [
        {"type": "section", "text": _markdown(f"*{line}*\n{_reasons(alert)}")},
        *_link_block(alert, links),
        _foot(notice),
    ]
    return _content(f"{line}\n{_reasons(alert)}", blocks)


def slack_digest(notices: Sequence[Notice], links: Links) -> Content:
    """Returns `text` and `blocks` of a digest: a line for each spike, the most severe first."""
    ordered = ordered_in_digest(notices)
    title = digest_headline([notice.alert for notice in ordered])
    blocks = [_header(title)]
    for notice in ordered[:DIGEST_SPIKES]:
        alert = notice.alert
        told = _escape(f"{headline(alert)}\n{notice.severity}, since {clock(alert['started_at'])}")
        named = _named_links(alert, links)
        room = SECTION_LIMIT - len(named) - 1
        blocks.append({"type": "section", "text": _verbatim(shorten(told, room) + (f"\n{named}" if named else ""))})
    if (more := len(ordered) - DIGEST_SPIKES) > 0:
        blocks.append({"type": "context", "elements": [_markdown(f"and {more:,} more, none of them more severe")]})
    return _content("\n".join([title, *(headline(notice.alert) for notice in ordered)]), blocks)


def _content(text: str, blocks: list[Block]) -> Content:
    return {
        "text": shorten(_escape(text), TEXT_LIMIT),
        "blocks": blocks,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _header(line: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": shorten(_escape(line), HEADER_LIMIT)}}


def _reasons(alert: SpikeAlert) -> str:
    return "\n".join(f"• {reason}" for reason in reasons_of(alert)) or "no reasons were given"


def _foot(notice: Notice) -> Block:
    key = shorten(notice.alert["conversation"], NAME_LIMIT)
    as_of = clock(notice.alert["as_of"])
    foot = f"{notice.severity} · as of {as_of} · {plain_line(notice.key)} · {plain_line(key)}"
    return {"type": "context", "elements": [_markdown(foot)]}


def _link_block(alert: SpikeAlert, links: Links) -> list[Block]:
    named = _named_links(alert, links)
    return [{"type": "section", "text": _verbatim(named)}] if named else []


def _named_links(alert: SpikeAlert, links: Links) -> str:
    """Returns the links to look at a spike; one that is too long for Slack is left out."""
    addresses = links.named(alert)
    if addresses.get("Conversation") and len(addresses["Conversation"]) > URL_LIMIT // 2:
        del addresses["Conversation"]
    known = [f"<{_escape(url)}|{name}>" for name, url in addresses.items() if len(url) < URL_LIMIT]
    return " · ".join(known)


def _posts(alert: SpikeAlert, posts: list[tuple[str, str | None]], links: Links) -> Block:
    """Returns a line for each post, a link where the address is known; lines beyond Slack's limit are left out."""
    lines = ["*Posts*"]
    for (name, url), post in zip(posts, alert["top_posts"], strict=False):
        line = _link(name, url)
        if page := links.of_post(post):
            line += f" ({_link('spread', page)})" if len(page) < LISTED_URL_LIMIT else ""
        if len("\n".join([*lines, line])) <= SECTION_LIMIT:
            lines.append(line)
    return _verbatim("\n".join(lines))


def _link(name: str, url: str | None) -> str:
    shown = shorten(_escape(name).replace("|", "¦"), NAME_LIMIT)
    return f"<{_escape(url)}|{shown}>" if url is not None and len(url) < LISTED_URL_LIMIT else shown


def _markdown(text: str, limit: int = SECTION_LIMIT) -> Block:
    return _verbatim(shorten(_escape(text), limit))


def _verbatim(text: str) -> Block:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

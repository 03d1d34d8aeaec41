"""Slack: an incoming webhook, text and blocks (Block Kit)."""

from functools import partial
from typing import Any, Final, Literal

from pydantic import SecretStr

from processors.alerts.fields import SecretUrl
from processors.alerts.ports import Notice, Receiver
from processors.alerts.receivers.http import Message, compact_json
from processors.alerts.receivers.settings import ReceiverSettings, Sender
from processors.alerts.receivers.wording import (
    authors_of,
    details,
    headline,
    link_to,
    posts_of,
    reasons_of,
    shorten,
)
from schemas.alert_words import clock, plain_line

HEADER_LIMIT: Final = 150
SECTION_LIMIT: Final = 3_000
TEXT_LIMIT: Final = 4_000
FIELD_LIMIT: Final = 2_000
NAME_LIMIT: Final = 200
URL_LIMIT: Final = 500
"""Slack's limits (https://docs.slack.dev/reference/block-kit/blocks); a longer message is refused as a whole."""


class SlackSettings(ReceiverSettings):
    """A Slack channel, or any service with the format of Slack's incoming webhooks. Knowledge of the address is the
    permission to post: the address is a secret."""

    kind: Literal["slack"]
    url: SecretUrl

    @property
    def addresses(self) -> list[SecretStr]:
        return [self.url]

    def open(self, name: str, sender: Sender) -> Receiver:
        return self.open_http(name, partial(slack_message, link=sender.link))


def slack_message(notice: Notice, now: float, link: str | None) -> Message:
    """Returns the message of a notice, within Slack's limits. Text of the spike cannot become a mention or a link."""
    alert = notice.alert
    key = shorten(alert["conversation"], NAME_LIMIT)
    line = headline(alert)
    reasons = "\n".join(f"• {reason}" for reason in reasons_of(alert)) or "no reasons were given"
    fields = [f"*{name}*\n{text}" for name, text in details(alert).items()]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": shorten(_escape(line), HEADER_LIMIT)}},
        {"type": "section", "text": _markdown(reasons)},
        {"type": "section", "fields": [_markdown(text, FIELD_LIMIT) for text in fields]},
    ]
    if posts := posts_of(alert):
        blocks.append({"type": "section", "text": _links("*Posts*", posts)})
    if authors := authors_of(alert):
        blocks.append({"type": "section", "text": _markdown("*Authors*\n" + "\n".join(authors))})
    page = link_to(link, alert)
    if page and len(page) < SECTION_LIMIT - 20:
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": f"<{page}|Look at it>"}})
    # Cut before it is fenced, so that the fence is never cut. A backtick would end the fence; in SQL it stands in a
    # literal alone, where its byte means the same.
    evidence = shorten(_escape(alert["evidence"].replace("`", "\\x60")), SECTION_LIMIT - 10)
    blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": f"```{evidence}```"}})
    foot = f"{notice.severity} · as of {clock(alert['as_of'])} · {plain_line(notice.key)} · {plain_line(key)}"
    blocks.append({"type": "context", "elements": [_markdown(foot)]})
    text = shorten(_escape(f"{line}\n{reasons}"), TEXT_LIMIT)
    return Message(compact_json({"text": text, "blocks": blocks}), {"Content-Type": "application/json"})


def _links(title: str, posts: list[tuple[str, str | None]]) -> dict[str, str]:
    """Returns a line for each post, a link where the address is known; lines beyond Slack's limit are left out."""
    lines = [title]
    for post, url in posts:
        name = shorten(_escape(post).replace("|", "¦"), NAME_LIMIT)
        line = f"<{_escape(url)}|{name}>" if url is not None and len(url) < URL_LIMIT else name
        if len("\n".join([*lines, line])) <= SECTION_LIMIT:
            lines.append(line)
    return {"type": "mrkdwn", "text": "\n".join(lines)}


def _markdown(text: str, limit: int = SECTION_LIMIT) -> dict[str, str]:
    return {"type": "mrkdwn", "text": shorten(_escape(text), limit)}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

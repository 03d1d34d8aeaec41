"""Slack: an incoming webhook, text and blocks (Block Kit)."""

from functools import partial
from typing import Any, Final, Literal

from pydantic import SecretStr

from processors.alerts.fields import SecretUrl
from processors.alerts.ports import Notice, Receiver
from processors.alerts.receivers.http import Message, compact_json
from processors.alerts.receivers.settings import ReceiverSettings, Sender
from processors.alerts.receivers.wording import clock, details, headline, link_to, shorten

HEADER_LIMIT: Final = 150
SECTION_LIMIT: Final = 3_000
TEXT_LIMIT: Final = 4_000
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
    line = headline(alert)
    reasons = "\n".join(f"• {reason}" for reason in alert["reasons"]) or "no reasons were given"
    fields = [f"*{name}*\n{text}" for name, text in details(alert).items()]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": shorten(_escape(line), HEADER_LIMIT)}},
        {"type": "section", "text": _markdown(reasons)},
        {"type": "section", "fields": [_markdown(text) for text in fields]},
    ]
    for name, values in (("Posts", alert["top_posts"]), ("Authors", alert["top_authors"])):
        if values:
            blocks.append({"type": "section", "text": _markdown(f"*{name}*\n" + "\n".join(values[:10]))})
    page = link_to(link, alert["conversation"])
    if page and len(page) < SECTION_LIMIT - 20:
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": f"<{page}|Look at it>"}})
    # Cut before it is fenced, so that the fence is never cut. A backtick would end the fence; in SQL it stands in a
    # literal alone, where its byte means the same.
    evidence = shorten(_escape(alert["evidence"].replace("`", "\\x60")), SECTION_LIMIT - 10)
    blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": f"```{evidence}```"}})
    foot = f"{notice.severity} · as of {clock(alert['as_of'])} · {notice.key}"
    blocks.append({"type": "context", "elements": [_markdown(foot)]})
    text = shorten(_escape(f"{line}\n{reasons}"), TEXT_LIMIT)
    return Message(compact_json({"text": text, "blocks": blocks}), {"Content-Type": "application/json"})


def _markdown(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": shorten(_escape(text), SECTION_LIMIT)}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

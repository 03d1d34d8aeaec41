"""What receivers are sent: pure functions of a notice. docs/alerts.md describes each format.

Alertmanager   POST /api/v2/alerts (its OpenAPI 2.0 document, since 0.16)
webhook        CloudEvents 1.0, structured JSON; signed as Standard Webhooks 1.0.0 say
Slack          an incoming webhook: text and blocks (Block Kit)
"""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from processors.alerts.ports import Notice
from processors.alerts.receivers.wording import clock, details, headline, link_to
from schemas.alerts import SPIKE_ALERT

ALERT_NAME: Final = "EngagementSpike"
EVENT_TYPE: Final = "engagement.spike"

ANNOTATION_LIMIT: Final = 4_000
HEADER_LIMIT: Final = 150
SECTION_LIMIT: Final = 3_000
TEXT_LIMIT: Final = 4_000
"""Slack's: https://docs.slack.dev/reference/block-kit/blocks; more is refused whole."""


class Content(NamedTuple):
    """The body of a POST and its headers."""

    body: bytes
    headers: dict[str, str]


def for_alertmanager(notice: Notice, now: float, hold: float, link: str | None) -> Content:
    """Labels are the same over the whole life of a spike: they are its identity there. It ends `hold` seconds from now
    unless posted again, or with its resolution."""
    alert = notice.alert
    at = datetime.fromtimestamp(now, UTC)
    ended = alert["ended_at"]
    # A clock that is behind must not make a resolution an alert that goes on.
    ends = datetime.fromtimestamp(now + hold, UTC) if alert["state"] != "resolved" else min(ended or at, at)
    said: dict[str, Any] = {
        "labels": {
            "alertname": ALERT_NAME,
            "conversation": alert["conversation"],
            "kind": alert["conversation"].partition(":")[0],
            "spike_id": alert["spike_id"],
            "severity": notice.severity,
        },
        "annotations": {
            "summary": headline(alert),
            "description": "\n".join(alert["reasons"]),
            "state": alert["state"],
            **{name.replace(" ", "_"): text for name, text in details(alert).items()},
            "top_posts": _cut("\n".join(alert["top_posts"]), ANNOTATION_LIMIT),
            "top_authors": _cut("\n".join(alert["top_authors"]), ANNOTATION_LIMIT),
            "evidence": alert["evidence"],
            "detector": alert["detector"],
        },
        "startsAt": min(alert["started_at"], ends).isoformat(),
        "endsAt": ends.isoformat(),
    }
    if page := link_to(link, alert["conversation"]):
        said["generatorURL"] = page
    return Content(_json([said]), {"Content-Type": "application/json"})


def for_webhook(notice: Notice, now: float, source: str, secret: str | None) -> Content:
    """The id of the event is the idempotency key; `data` is the SpikeAlert as the topic has it."""
    event = {
        "specversion": "1.0",
        "id": notice.key,
        "source": source,
        "type": f"{EVENT_TYPE}.{notice.alert['state']}",
        "subject": notice.alert["conversation"],
        "time": notice.alert["as_of"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "severity": notice.severity,
        "data": SPIKE_ALERT.dump_python(notice.alert, mode="json"),
    }
    body = _json(event)
    headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    if secret is not None:
        headers |= {
            "Webhook-Id": notice.key,
            "Webhook-Timestamp": str(int(now)),
            "Webhook-Signature": sign(secret, notice.key, int(now), body),
        }
    return Content(body, headers)


def sign(secret: str, key: str, timestamp: int, body: bytes) -> str:
    """`v1,` + base64 of the HMAC-SHA256 of `key.timestamp.body`. A secret that begins with `whsec_` is base64 after
    that, any other is its own bytes."""
    raw = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    digest = hmac.new(raw, f"{key}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def for_slack(notice: Notice, now: float, link: str | None) -> Content:
    """Within Slack's limits, whatever the spike says; nothing of it is taken for a mention or a link."""
    alert = notice.alert
    line = headline(alert)
    reasons = "\n".join(f"• {reason}" for reason in alert["reasons"]) or "no reasons were given"
    fields = [f"*{name}*\n{text}" for name, text in details(alert).items()]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(_escape(line), HEADER_LIMIT)}},
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
    evidence = _cut(_escape(alert["evidence"].replace("`", "\\x60")), SECTION_LIMIT - 10)
    blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": f"```{evidence}```"}})
    foot = f"{notice.severity} · as of {clock(alert['as_of'])} · {notice.key}"
    blocks.append({"type": "context", "elements": [_markdown(foot)]})
    text = _cut(_escape(f"{line}\n{reasons}"), TEXT_LIMIT)
    return Content(_json({"text": text, "blocks": blocks}), {"Content-Type": "application/json"})


def _markdown(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": _cut(_escape(text), SECTION_LIMIT)}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

"""The messages of e-mail: text and HTML with the picture inside. Pure.

Text of strangers is one line and escaped; headers are made by the standard library, which refuses a line break. The
states of a spike have ids that follow from their keys, and refer to the opening: a mail program shows one thread, and
recognises a message that comes twice.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from typing import Final

from processors.alerts.ports import Notice
from processors.alerts.receivers.wording import (
    Links,
    authors_of,
    details,
    digest_headline,
    digest_key,
    headline,
    ordered_in_digest,
    posts_of,
    reasons_of,
    shorten,
)
from processors.alerts.values.mailboxes import mailbox_of
from schemas.alert_words import clock, name_of, plain_line
from schemas.alerts import idempotency_key

SUBJECT_LIMIT: Final = 160
LIST_NAME: Final = "engagement-alerts"
PICTURE_ID: Final = "minutes"
PICTURE_TEXT: Final = "The minutes of the conversation, its usual level, and the spike"
URGENT: Final = "critical"

PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body style="margin:0;padding:16px;background:#ffffff;color:#1f2933;font:15px/1.5 sans-serif">
<div style="max-width:640px;margin:0 auto">
{body}
</div></body></html>
"""


def spike_email(notice: Notice, now: float, sender: str, to: Sequence[str], links: Links) -> EmailMessage:
    """Returns the message of a notice. The subject stays the same over the life of a spike, as the threads of mail
    programs need."""
    alert = notice.alert
    own = alert["conversations"][0] if alert["conversations"] else alert["conversation"]
    subject = f"Spike of {name_of(own)}"
    message = _message(f"Re: {subject}" if alert["state"] != "opened" else subject, now, sender, to)
    message["Message-ID"] = _message_id(notice.key, sender)
    if alert["state"] != "opened":
        root = _message_id(idempotency_key(alert["spike_id"], "opened", alert["as_of"]), sender)
        message["In-Reply-To"] = message["References"] = root
    if notice.severity == URGENT:
        message["Importance"] = "high"
    message.set_content(_text(notice, links))
    message.add_alternative(_html(notice, links), subtype="html")
    if notice.picture is not None:
        page = message.get_payload()[1]  # type: ignore[index]
        name = f"{_plain_id(alert['spike_id'])}.png"
        page.add_related(  # type: ignore[union-attr]
            notice.picture, "image", "png", cid=f"<{PICTURE_ID}>", filename=name, disposition="inline"
        )
    return message


def digest_email(notices: Sequence[Notice], now: float, sender: str, to: Sequence[str], links: Links) -> EmailMessage:
    """Returns the message of several notices, the most severe first."""
    ordered = ordered_in_digest(notices)
    title = digest_headline([notice.alert for notice in ordered])
    message = _message(title, now, sender, to)
    message["Message-ID"] = _message_id(digest_key(notices), sender)
    lines, parts = [title, ""], [f"<h1 style='font-size:20px'>{escape(title)}</h1>"]
    for notice in ordered:
        alert, addresses = notice.alert, links.named(notice.alert)
        about = f"{notice.severity}, since {clock(alert['started_at'])}"
        lines += [headline(alert), about, *(f"{name}: {url}" for name, url in addresses.items()), ""]
        parts.append(f"<p><b>{escape(headline(alert))}</b><br>{escape(about)}<br>{_anchors(addresses)}</p>")
    message.set_content("\n".join(lines))
    message.add_alternative(PAGE.format(title=escape(title), body="\n".join(parts)), subtype="html")
    return message


def _message(subject: str, now: float, sender: str, to: Sequence[str]) -> EmailMessage:
    message = EmailMessage(SMTP)
    message["From"] = mailbox_of(sender)
    message["To"] = [mailbox_of(mailbox) for mailbox in to]
    message["Subject"] = shorten(plain_line(subject), SUBJECT_LIMIT)
    message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    message["List-Id"] = f"<{LIST_NAME}.{mailbox_of(sender).domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    return message


def _text(notice: Notice, links: Links) -> str:
    alert = notice.alert
    lines = [headline(alert), "", *(f"- {reason}" for reason in reasons_of(alert)), ""]
    lines += [f"{name}: {text}" for name, text in details(alert).items()]
    if posts := posts_of(alert):
        lines += ["", "Posts", *(f"- {name} {url or ''}".rstrip() for name, url in posts)]
    if authors := authors_of(alert):
        lines += ["", "Authors", *(f"- {author}" for author in authors)]
    lines += ["", *(f"{name}: {address}" for name, address in links.named(alert).items())]
    lines += ["", "SQL that proves it:", plain_line(alert["evidence"]), "", _foot(notice), ""]
    return "\n".join(lines)


def _html(notice: Notice, links: Links) -> str:
    alert, line = notice.alert, headline(notice.alert)
    parts = [f"<h1 style='font-size:20px'>{escape(line)}</h1>"]
    if notice.picture is not None:
        style = "width:100%;max-width:600px;height:auto;border-radius:6px"
        parts.append(f"<p><img src='cid:{PICTURE_ID}' width='600' alt='{PICTURE_TEXT}' style='{style}'></p>")
    parts.append(_bullets([escape(reason) for reason in reasons_of(alert)]))
    rows = (
        f"<tr><td style='padding:2px 16px 2px 0'>{escape(name)}</td><td>{escape(text)}</td></tr>"
        for name, text in details(alert).items()
    )
    parts.append(f"<table role='presentation' style='font-size:14px'>{''.join(rows)}</table>")
    if posts := posts_of(alert):
        items = []
        for (name, url), post in zip(posts, alert["top_posts"], strict=False):
            page = links.of_post(post)
            shown = escape(name) if url is None else _anchor(name, url)
            items.append(shown if page is None else f"{shown} ({_anchor('spread', page)})")
        parts += ["<h2 style='font-size:16px'>Posts</h2>", _bullets(items)]
    if authors := authors_of(alert):
        parts += ["<h2 style='font-size:16px'>Authors</h2>", _bullets([escape(author) for author in authors])]
    parts.append(f"<p>{_anchors(links.named(alert))}</p>")
    code = "white-space:pre-wrap;overflow-wrap:anywhere;font-size:12px"
    parts.append(f"<p>SQL that proves it:</p><pre style='{code}'>{escape(plain_line(alert['evidence']))}</pre>")
    parts.append(f"<p style='font-size:12px'>{escape(_foot(notice))}</p>")
    return PAGE.format(title=escape(line), body="\n".join(parts))


def _foot(notice: Notice) -> str:
    return f"{notice.severity}, as of {clock(notice.alert['as_of'])}, {plain_line(notice.key)}"


def _bullets(items: Sequence[str]) -> str:
    return f"<ul style='padding-left:20px'>{''.join(f'<li>{item}</li>' for item in items)}</ul>" if items else ""


def _anchors(addresses: dict[str, str]) -> str:
    return " &middot; ".join(_anchor(name, address) for name, address in addresses.items())


def _anchor(name: str, address: str) -> str:
    return f"<a href='{escape(address)}'>{escape(name)}</a>"


def _message_id(key: str, sender: str) -> str:
    """Returns the id of a message, which follows from its key."""
    return f"<{_plain_id(key)}@{mailbox_of(sender).domain}>"


def _plain_id(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", ".", text).strip(".")[:120] or "spike"

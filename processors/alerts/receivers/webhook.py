"""A webhook: a CloudEvent 1.0 in structured JSON mode, signed as Standard Webhooks 1.0.0 specify."""

import base64
import hashlib
import hmac
from datetime import UTC
from functools import partial
from typing import Final, Literal

from pydantic import SecretStr

from processors.alerts.fields import ReceiverUrl, Secret
from processors.alerts.ports import Notice, Receiver
from processors.alerts.receivers.http import Message, compact_json
from processors.alerts.receivers.settings import ReceiverSettings, Sender
from schemas.alerts import SPIKE_ALERT

EVENT_TYPE: Final = "engagement.spike"


class WebhookSettings(ReceiverSettings):
    """A webhook. `secret`: key of the HMAC; without a secret messages are not signed."""

    kind: Literal["webhook"]
    url: ReceiverUrl
    secret: Secret | None = None

    @property
    def addresses(self) -> list[SecretStr]:
        return [self.url]

    def open(self, name: str, sender: Sender) -> Receiver:
        secret = self.secret.get_secret_value() if self.secret else None
        return self.open_http(name, partial(webhook_message, source=sender.source, secret=secret))


def webhook_message(notice: Notice, now: float, source: str, secret: str | None) -> Message:
    """Returns the message of a notice. The id of the event is the idempotency key; `data` is the SpikeAlert as the
    topic has it."""
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
    body = compact_json(event)
    headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    if secret is not None:
        headers |= {
            "Webhook-Id": notice.key,
            "Webhook-Timestamp": str(int(now)),
            "Webhook-Signature": sign(secret, notice.key, int(now), body),
        }
    return Message(body, headers)


def sign(secret: str, key: str, timestamp: int, body: bytes) -> str:
    """Returns `v1,` and the base64 of the HMAC-SHA256 of `key.timestamp.body`. A secret that begins with `whsec_` is
    base64 after the prefix; any other secret is used as it stands."""
    raw = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    digest = hmac.new(raw, f"{key}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()

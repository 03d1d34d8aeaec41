"""A webhook: a CloudEvent 1.0 in structured JSON mode, signed as Standard Webhooks 1.0.0 specify."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, SecretStr
from standardwebhooks.webhooks import Webhook

from pipeline.errors import SettingsError
from processors.alerts.fields import ReceiverUrl, Secret
from processors.alerts.ports import Notice, Receiver
from processors.alerts.receivers.http import Message, compact_json
from processors.alerts.receivers.settings import HttpSettings, Sender
from processors.alerts.receivers.wording import digest_headline, digest_key, headline, ordered_in_digest
from processors.alerts.values.signing_keys import check_signing_key, key_note, signing_key
from schemas.alert_words import plain_line
from schemas.alerts import SPIKE_ALERT

EVENT_TYPE: Final = "engagement.spike"


class WebhookSettings(HttpSettings):
    """A webhook. `secret`: key of the HMAC; without a secret messages are not signed."""

    kind: Literal["webhook"]
    url: ReceiverUrl
    secret: Annotated[Secret, AfterValidator(check_signing_key)] | None = None

    @property
    def addresses(self) -> list[SecretStr]:
        return [self.url]

    @property
    def notes(self) -> list[str]:
        note = None if self.secret is None else key_note(self.secret)
        return [] if note is None else [note]

    def open(self, name: str, sender: Sender) -> Receiver:
        signer = None if self.secret is None else signer_of(name, self.secret)
        return self.open_http(
            name,
            partial(webhook_message, sender=sender, signer=signer),
            partial(webhook_digest, sender=sender, signer=signer),
        )


def webhook_message(notice: Notice, now: float, sender: Sender, signer: Webhook | None) -> Message:
    """Returns the message of a notice. The id of the event is the idempotency key; `data` is the SpikeAlert as the
    topic has it."""
    alert = notice.alert
    links = {f"{name.lower()}url": address for name, address in sender.links.named(alert).items()}
    event = {
        "specversion": "1.0",
        "id": notice.key,
        "source": sender.source,
        "type": f"{EVENT_TYPE}.{alert['state']}",
        "subject": plain_line(alert["conversation"]),
        "time": _time(alert["as_of"]),
        "datacontenttype": "application/json",
        "severity": notice.severity,
        "summary": headline(alert),
        **links,
        "data": SPIKE_ALERT.dump_python(alert, mode="json"),
    }
    return _signed(event, now, signer)


def webhook_digest(notices: Sequence[Notice], now: float, sender: Sender, signer: Webhook | None) -> Message:
    """Returns the message of several notices: `data` is a list of SpikeAlerts, the most severe first."""
    ordered = ordered_in_digest(notices)
    event = {
        "specversion": "1.0",
        "id": digest_key(notices),
        "source": sender.source,
        "type": f"{EVENT_TYPE}.digest",
        "time": _time(max(notice.alert["as_of"] for notice in notices)),
        "datacontenttype": "application/json",
        "severity": ordered[0].severity,
        "summary": digest_headline([notice.alert for notice in ordered]),
        "data": [SPIKE_ALERT.dump_python(notice.alert, mode="json") for notice in ordered],
    }
    return _signed(event, now, signer)


def _signed(event: dict[str, Any], now: float, signer: Webhook | None) -> Message:
    body = compact_json(event)
    headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    if signer is not None:
        headers |= {
            "Webhook-Id": event["id"],
            "Webhook-Timestamp": str(int(now)),
            "Webhook-Signature": signer.sign(event["id"], datetime.fromtimestamp(int(now), UTC), body.decode()),
        }
    return Message(body, headers)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def signer_of(name: str, secret: SecretStr) -> Webhook:
    """Returns the signer of the receiver `name`. A secret that begins with `whsec_` is base64 after the prefix; any
    other secret is used as it stands. Raises SettingsError."""
    try:
        return Webhook(signing_key(secret))
    except ValueError as error:
        raise SettingsError(f"receivers.{name}.secret: {error}") from None

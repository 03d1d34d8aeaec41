"""A webhook: a CloudEvent 1.0 in structured JSON mode, signed as Standard Webhooks 1.0.0 specify."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, SecretStr
from standardwebhooks.webhooks import Webhook

from pipeline.errors import SettingsError
from processors.alerts.fields import ReceiverUrl, Secret
from processors.alerts.ports import Notice, Receiver
from processors.alerts.receivers.http import Message, compact_json
from processors.alerts.receivers.settings import ReceiverSettings, Sender
from processors.alerts.receivers.wording import headline
from processors.alerts.values.signing_keys import check_signing_key, key_note, signing_key
from schemas.alert_words import plain_line
from schemas.alerts import SPIKE_ALERT

EVENT_TYPE: Final = "engagement.spike"


class WebhookSettings(ReceiverSettings):
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
        return self.open_http(name, partial(webhook_message, source=sender.source, signer=signer))


def webhook_message(notice: Notice, now: float, source: str, signer: Webhook | None) -> Message:
    """Returns the message of a notice. The id of the event is the idempotency key; `data` is the SpikeAlert as the
    topic has it."""
    event = {
        "specversion": "1.0",
        "id": notice.key,
        "source": source,
        "type": f"{EVENT_TYPE}.{notice.alert['state']}",
        "subject": plain_line(notice.alert["conversation"]),
        "time": notice.alert["as_of"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "severity": notice.severity,
        "summary": headline(notice.alert),
        "data": SPIKE_ALERT.dump_python(notice.alert, mode="json"),
    }
    body = compact_json(event)
    headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    if signer is not None:
        headers |= {
            "Webhook-Id": notice.key,
            "Webhook-Timestamp": str(int(now)),
            "Webhook-Signature": signer.sign(notice.key, datetime.fromtimestamp(int(now), UTC), body.decode()),
        }
    return Message(body, headers)


def signer_of(name: str, secret: SecretStr) -> Webhook:
    """Returns the signer of the receiver `name`. A secret that begins with `whsec_` is base64 after the prefix; any
    other secret is used as it stands. Raises SettingsError."""
    try:
        return Webhook(signing_key(secret))
    except ValueError as error:
        raise SettingsError(f"receivers.{name}.secret: {error}") from None

"""Alertmanager: POST /api/v2/alerts (its OpenAPI 2.0 document, since 0.16)."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from processors.alerts.fields import FlawAt, ReceiverUrl, Seconds, between
from processors.alerts.ports import Notice, Receiver
from processors.alerts.receivers.http import Message, compact_json
from processors.alerts.receivers.settings import HttpSettings, Sender
from processors.alerts.receivers.wording import (
    Links,
    authors_of,
    details,
    headline,
    posts_of,
    reasons_of,
    shorten,
)
from schemas.alert_words import plain_line

ALERT_NAME: Final = "EngagementSpike"
API_PATH: Final = "/api/v2/alerts"
ANNOTATION_LIMIT: Final = 4_000


def _check_urls(urls: list[SecretStr]) -> list[SecretStr]:
    """Returns the addresses. Raises ValueError for an address without room for the path of the API, or given twice."""
    texts = [url.get_secret_value().rstrip("/") for url in urls]
    for number, text in enumerate(texts):
        if "?" in text or text.endswith(API_PATH):
            raise FlawAt((number,), f"must end before {API_PATH} and without ?: http://alertmanager:9093")
        if text in texts[:number]:
            raise FlawAt((number,), "is there twice; leave one out")
    return urls


class AlertmanagerSettings(HttpSettings):
    """An Alertmanager. `urls`: every instance of a cluster. `hold`: seconds for which an open spike stays open without
    another post."""

    is_forgetful: ClassVar[bool] = True

    kind: Literal["alertmanager"]
    urls: Annotated[list[ReceiverUrl], Field(min_length=1, max_length=16), AfterValidator(_check_urls)]
    hold: Annotated[Seconds, AfterValidator(between("2m", "7d"))] = 900.0

    @model_validator(mode="after")
    def _is_told_at_once(self) -> "AlertmanagerSettings":
        if flaw := next((name for name in ("quiet", "digest") if getattr(self, name) is not None), None):
            raise FlawAt(
                (flaw,),
                "is not for Alertmanager, which repeats and groups alerts itself; leave it out, and give a route of "
                "alertmanager.yml mute_time_intervals or a group_interval",
            )
        return self

    @property
    def addresses(self) -> list[SecretStr]:
        return [SecretStr(url.get_secret_value().rstrip("/") + API_PATH) for url in self.urls]

    def open(self, name: str, sender: Sender) -> Receiver:
        return self.open_http(name, partial(alertmanager_message, hold=self.hold, links=sender.links))


def alertmanager_message(notice: Notice, now: float, hold: float, links: Links) -> Message:
    """Returns the message of a notice. Labels stay the same over the life of a spike: they are its identity at
    Alertmanager. The alert ends `hold` seconds from `now` unless posted again, or with the resolution."""
    alert = notice.alert
    at = datetime.fromtimestamp(now, UTC)
    ended = alert["ended_at"]
    key = alert["conversations"][0] if alert["conversations"] else alert["conversation"]
    # A clock that is behind must not make a resolution an alert that goes on.
    ends = datetime.fromtimestamp(now + hold, UTC) if alert["state"] != "resolved" else min(ended or at, at)
    posted: dict[str, Any] = {
        "labels": {
            "alertname": ALERT_NAME,
            "conversation": plain_line(key),
            "kind": plain_line(key.partition(":")[0]),
            "spike_id": plain_line(alert["spike_id"]),
            "severity": notice.lasting_severity,
        },
        "annotations": {
            "summary": headline(alert),
            "description": "\n".join(reasons_of(alert)),
            "state": alert["state"],
            "conversations": "\n".join(map(plain_line, alert["conversations"])),
            **{name.replace(" ", "_"): text for name, text in details(alert).items()},
            "top_posts": "\n".join(f"{post} {url or ''}".strip() for post, url in posts_of(alert)),
            "top_authors": "\n".join(authors_of(alert)),
            "evidence": alert["evidence"],
            "detector": alert["detector"],
            "group_id": plain_line(alert["group_id"]),
        },
        "startsAt": min(alert["started_at"], ends).isoformat(),
        "endsAt": ends.isoformat(),
    }
    posted["annotations"] = {name: shorten(text, ANNOTATION_LIMIT) for name, text in posted["annotations"].items()}
    addresses = links.named(alert)
    posted["annotations"] |= {name.lower(): address for name, address in addresses.items()}
    if page := addresses.get("Dashboard") or addresses.get("Spike"):
        posted["generatorURL"] = page
    return Message(compact_json([posted]), {"Content-Type": "application/json"})

"""The alerts file: receivers, routes by conversation, silences. deploy/alerts.example.yaml shows every field.

load_alerts(path, environment) -> AlertsConfig, all or nothing: an error names the file, the line, the field and the
cure, never a secret. A file that is accepted works: what no request or conversation could ever fit is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from pipeline.brands import load_brands
from pipeline.errors import SettingsError
from pipeline.files.field_flaws import flaw_reason
from pipeline.files.yaml_documents import Document, Place, read_yaml
from pipeline.settings import Settings
from processors.alerts.fields import FlawAt, Name, Seconds, SecretUrl, Section, Switch, Time, Words, between
from processors.alerts.receivers import RECEIVERS, AnyReceiver
from processors.alerts.values.addresses import check_link, check_page, check_source
from processors.alerts.values.patterns import (
    WATCHED_KINDS,
    KnownConversations,
    check_pattern,
    first_covering,
    normalise,
)
from processors.alerts.values.quiet_hours import LONGEST_QUIET_SECONDS
from schemas.alerts import Severity

ALERTS_SETTING: Final = "ENGAGEMENT_ALERTS"
EXAMPLE: Final = "deploy/alerts.example.yaml"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _check_pattern(pattern: str, info: ValidationInfo) -> str:
    return check_pattern(pattern, (info.context or {}).get("known", KnownConversations()))


Patterns = Annotated[
    list[Annotated[str, AfterValidator(_check_pattern)]], BeforeValidator(_listed), Field(min_length=1)
]


class Route(Section):
    """A route: spikes from `min_severity` on of conversations that fit one of `match` go `to` these receivers.

    Later routes count only with `continue`. `severity`: what receivers get as the severity of an alert, instead of the
    spike's own.
    """

    match: Patterns
    to: Annotated[list[Name], BeforeValidator(_listed), Field(min_length=1)]
    severity: Words | None = None
    min_severity: Severity = "warning"
    continues: Switch = Field(False, alias="continue")


class Silence(Section):
    """A silence: openings and growth of these conversations are not delivered between `from` and `until`."""

    match: Patterns
    begins: Time | None = Field(None, alias="from")
    until: Time
    comment: Words

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> "Silence":
        if self.begins is not None and self.begins >= self.until:
            raise FlawAt(("until",), "must be after from")
        return self


class Heartbeat(Section):
    """An address that gets a request every so often while alerts can be delivered. The service behind the address
    alerts when the requests end."""

    url: SecretUrl
    every: Annotated[Seconds, AfterValidator(between("10s", "1d"))] = 60.0
    timeout: Annotated[Seconds, AfterValidator(between("1s", "60s"))] = 10.0

    @model_validator(mode="after")
    def _requests_do_not_overlap(self) -> "Heartbeat":
        if self.timeout > self.every:
            raise ValueError("timeout: must not be longer than every")
        return self


class AlertsConfig(Section):
    """The whole alerts file. `oldest`: age in event time, in seconds, from which a state is recorded and not delivered.
    `source`: name of the sender. `link`: address of a conversation's page, with {conversation} for its key, {post} for
    its thread's or leading post, {from} and {to} for the time to show. `page`: address of the live page."""

    receivers: Annotated[dict[Name, AnyReceiver], Field(min_length=1)]
    routes: Annotated[list[Route], Field(min_length=1)]
    silences: list[Silence] = Field(default=[])
    oldest: Annotated[Seconds, AfterValidator(between("5m", "365d"))] = 3600.0
    source: Annotated[str, AfterValidator(check_source)] = "engagement"
    link: Annotated[str, AfterValidator(check_link)] | None = None
    page: Annotated[str, AfterValidator(check_page)] | None = None
    heartbeat: Heartbeat | None = None

    @property
    def longest_pending(self) -> float:
        """The age in seconds from which no state is pending any more, failures aside: what a receiver holds back for
        its quiet hours or its digest is older than `oldest` when it is delivered."""
        is_held = any(receiver.quiet or receiver.digest for receiver in self.receivers.values())
        return max(self.oldest, LONGEST_QUIET_SECONDS if is_held else 0.0)

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> "AlertsConfig":
        for number, route in enumerate(self.routes):
            for name in route.to:
                if name not in self.receivers:
                    raise FlawAt(
                        ("routes", number, "to"), f"{name!r} is no receiver; there are {', '.join(self.receivers)}"
                    )
        if unused := self.receivers.keys() - {name for route in self.routes for name in route.to}:
            raise FlawAt(("receivers", min(unused)), "no route leads to it; name it in a route or leave it out")
        return self

    @model_validator(mode="after")
    def _routes_can_be_reached(self) -> "AlertsConfig":
        routes = [([normalise(pattern) for pattern in route.match], route.continues) for route in self.routes]
        for number in range(len(routes)):
            if (earlier := first_covering(routes, number)) is not None:
                raise FlawAt(
                    ("routes", number, "match"),
                    f"can never be reached, because routes.{earlier} takes all that would fit; "
                    f"put this route before it, or say `continue: true` there",
                )
        return self


ALERTS_FILE: Final[TypeAdapter[AlertsConfig]] = TypeAdapter(AlertsConfig)


def load_alerts(path: Path, environment: Mapping[str, str], known: KnownConversations | None = None) -> AlertsConfig:
    """Reads the file and its secrets, which blocks. `known`: conversations that can spike here. Raises SettingsError
    that names file, line, field and cure."""
    document = read_yaml(path)
    if not isinstance(document.content, dict):
        raise document.error((), f"must have receivers and routes, as {EXAMPLE}")
    context = {"environment": environment, "known": known or KnownConversations()}
    try:
        return ALERTS_FILE.validate_python(document.content, context=context)
    except ValidationError as error:
        raise _explain(document, error) from None


def known_conversations(settings: Settings) -> KnownConversations:
    """Returns the kinds of conversations watched for spikes, and the brands. Blocks on reading the brands. Raises
    SettingsError."""
    brands = None if settings.brands is None else frozenset(load_brands(settings.brands).entries)
    return KnownConversations(settings.spike_kinds or WATCHED_KINDS, brands, settings.label_conversations)


def _explain(document: Document, error: ValidationError) -> SettingsError:
    """Returns the error of the first flaw, with the number of the others."""
    flaws = error.errors(include_url=False, include_input=False, include_context=True)
    flaw = flaws[0]
    place: Place = flaw["loc"]
    if place[:1] == ("receivers",) and place[2:3] and place[2] in RECEIVERS:
        place = place[:2] + place[3:]  # without the kind that pydantic took it for
    cause = flaw.get("ctx", {}).get("error")
    hidden = 0
    if isinstance(cause, FlawAt):
        place, hidden = place + cause.place, cause.hidden
    if place[-1:] == ("[key]",):
        place = place[:-1]
    reason = flaw_reason(flaw, EXAMPLE)
    if flaw["type"].startswith("union_tag"):
        place, reason = (*place, "kind"), f"must be one of {', '.join(RECEIVERS)}"
    more = f" (and {len(flaws) - 1} more)" if len(flaws) > 1 else ""
    return document.error(place, reason + more, len(place) - hidden)

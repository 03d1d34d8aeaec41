"""The alerts' file: receivers, routes by conversation, silences. deploy/alerts.example.yaml shows all of it.

load_alerts(path, environment) -> AlertsConfig, all or nothing: an error names the field and the cure, never a secret.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from pipeline.documents import read_yaml
from pipeline.errors import SettingsError
from processors.alerts.fields import Limit, Seconds, Secret, SecretUrl, Text, Url, check_header

SETTING: Final = "ENGAGEMENT_ALERTS"
EXAMPLE: Final = "deploy/alerts.example.yaml"

KINDS: Final = ("alertmanager", "webhook", "slack")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Patterns = Annotated[list[Pattern], BeforeValidator(_listed), Field(min_length=1)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class _Receiver(_Part):
    """What all receivers have. `rate`: requests that it bears; `timeout`: of one request, in seconds."""

    is_forgetful: ClassVar[bool] = False

    rate: Limit | None = None
    timeout: Annotated[Seconds, Field(gt=0, le=120)] = 10.0
    ca: Path | None = Field(None, strict=False)
    headers: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")], Text] = Field(default={})

    @model_validator(mode="before")
    @classmethod
    def _headers_hide_secrets(cls, value: Any) -> Any:
        headers = value.get("headers") if isinstance(value, dict) else None
        if isinstance(headers, dict):
            for name, said in headers.items():
                check_header(str(name), said)
        return value


class AlertmanagerReceiver(_Receiver):
    """`urls`: every instance of a cluster. `hold`: how long it keeps an open spike when nobody posts it again,
    seconds."""

    is_forgetful: ClassVar[bool] = True

    kind: Literal["alertmanager"]
    urls: Annotated[list[Url], Field(min_length=1)]
    hold: Annotated[Seconds, Field(ge=120)] = 900.0


class WebhookReceiver(_Receiver):
    """`secret`: key of the HMAC; without it nothing is signed."""

    kind: Literal["webhook"]
    url: Url
    secret: Secret | None = None


class SlackReceiver(_Receiver):
    """Whoever has its address may post: so the address is a secret."""

    kind: Literal["slack"]
    url: SecretUrl


ReceiverConfig = Annotated[AlertmanagerReceiver | WebhookReceiver | SlackReceiver, Field(discriminator="kind")]


class Route(_Part):
    """Conversations that fit one of `match` go `to` these receivers; the routes after it are asked only with
    `continue`."""

    match: Patterns
    to: Annotated[list[Name], BeforeValidator(_listed), Field(min_length=1)]
    severity: Words = "warning"
    continues: bool = Field(False, alias="continue")


class Silence(_Part):
    """Openings and growth of these conversations are not told between `from` and `until`."""

    match: Patterns
    begins: AwareDatetime | None = Field(None, alias="from")
    until: AwareDatetime
    comment: Words

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> "Silence":
        if self.begins is not None and self.begins >= self.until:
            raise ValueError("until: must be after from")
        return self


class Heartbeat(_Part):
    """An address that is asked every so often while alerts can be delivered; whoever owns it tells when that ends."""

    url: SecretUrl
    every: Annotated[Seconds, Field(ge=10)] = 60.0
    timeout: Annotated[Seconds, Field(gt=0, le=60)] = 10.0


class AlertsConfig(_Part):
    """The whole file. `oldest`: a state of a spike that is older in event time is recorded, not delivered, seconds.
    `link`: what an alert links to, with {conversation} in it."""

    receivers: Annotated[dict[Name, ReceiverConfig], Field(min_length=1)]
    routes: Annotated[list[Route], Field(min_length=1)]
    silences: list[Silence] = Field(default=[])
    oldest: Seconds = 3600.0
    source: Words = "engagement"
    link: Annotated[str, StringConstraints(pattern=r"^https?://[^\s{}]*(\{conversation\}[^\s{}]*)*$")] | None = None
    heartbeat: Heartbeat | None = None

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> "AlertsConfig":
        for number, route in enumerate(self.routes):
            for name in route.to:
                if name not in self.receivers:
                    raise ValueError(
                        f"routes.{number}.to: {name!r} is no receiver; there are {', '.join(self.receivers)}"
                    )
        if unused := self.receivers.keys() - {name for route in self.routes for name in route.to}:
            raise ValueError(f"receivers.{min(unused)}: no route leads to it; name it in a route or leave it out")
        return self


FILE: Final[TypeAdapter[AlertsConfig]] = TypeAdapter(AlertsConfig)


def load_alerts(path: Path, environment: Mapping[str, str]) -> AlertsConfig:
    """The file's content, its secrets read. Blocks on reading. Raises SettingsError that names file, field and cure."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: must have receivers and routes, as {EXAMPLE}")
    try:
        return FILE.validate_python(content, context={"environment": environment})
    except ValidationError as error:
        raise SettingsError(f"{path}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    flaws = error.errors(include_url=False, include_input=False, include_context=True)
    flaw = flaws[0]
    where = [str(part) for part in flaw["loc"]]
    if where[:1] == ["receivers"] and where[2:3] and where[2] in KINDS:
        del where[2]  # the kind that pydantic took it for
    said = flaw["msg"].removeprefix("Value error, ")
    if where[-1:] == ["[key]"]:
        where, said = where[:-1], "must be a name of letters, digits, _ . and -"
    elif flaw["type"] == "extra_forbidden":
        said = f"is not known here; {EXAMPLE} shows all there is"
    elif flaw["type"] == "missing":
        said = f"is missing; see {EXAMPLE}"
    elif flaw["type"].startswith("union_tag"):
        said = f"kind must be one of {', '.join(KINDS)}"
    elif flaw["type"] == "timezone_aware":
        said = "names no zone; add Z for UTC: 2026-12-24T00:00:00Z"
    more = f" (and {len(flaws) - 1} more)" if len(flaws) > 1 else ""
    return ": ".join(filter(None, (".".join(where), said))) + more

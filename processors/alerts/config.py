"""The alerts file: receivers, routes by conversation, silences. deploy/alerts.example.yaml shows every field.

load_alerts(path, environment) -> AlertsConfig, all or nothing: an error names the field and the cure, never a secret.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from pipeline.documents import read_yaml
from pipeline.errors import SettingsError
from processors.alerts.fields import Seconds, SecretUrl, Section
from processors.alerts.receivers import RECEIVERS, AnyReceiver

ALERTS_SETTING: Final = "ENGAGEMENT_ALERTS"
EXAMPLE: Final = "deploy/alerts.example.yaml"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Patterns = Annotated[list[Pattern], BeforeValidator(_listed), Field(min_length=1)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Route(Section):
    """A route: conversations that fit one of `match` go `to` these receivers. Later routes count only with
    `continue`."""

    match: Patterns
    to: Annotated[list[Name], BeforeValidator(_listed), Field(min_length=1)]
    severity: Words = "warning"
    continues: bool = Field(False, alias="continue")


class Silence(Section):
    """A silence: openings and growth of these conversations are not delivered between `from` and `until`."""

    match: Patterns
    begins: AwareDatetime | None = Field(None, alias="from")
    until: AwareDatetime
    comment: Words

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> "Silence":
        if self.begins is not None and self.begins >= self.until:
            raise ValueError("until: must be after from")
        return self


class Heartbeat(Section):
    """An address that gets a request every so often while alerts can be delivered. The service behind the address
    alerts when the requests end."""

    url: SecretUrl
    every: Annotated[Seconds, Field(ge=10)] = 60.0
    timeout: Annotated[Seconds, Field(gt=0, le=60)] = 10.0

    @model_validator(mode="after")
    def _requests_do_not_overlap(self) -> "Heartbeat":
        if self.timeout > self.every:
            raise ValueError("timeout: must not be longer than every")
        return self


class AlertsConfig(Section):
    """The whole alerts file. `oldest`: age in event time, in seconds, from which a state is recorded and not delivered.
    `source`: name of the sender. `link`: address of a conversation's page, with {conversation} for its key."""

    receivers: Annotated[dict[Name, AnyReceiver], Field(min_length=1)]
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


ALERTS_FILE: Final[TypeAdapter[AlertsConfig]] = TypeAdapter(AlertsConfig)


def load_alerts(path: Path, environment: Mapping[str, str]) -> AlertsConfig:
    """Reads the file and its secrets, which blocks. Raises SettingsError that names file, field and cure."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: must have receivers and routes, as {EXAMPLE}")
    try:
        return ALERTS_FILE.validate_python(content, context={"environment": environment})
    except ValidationError as error:
        raise SettingsError(f"{path}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    flaws = error.errors(include_url=False, include_input=False, include_context=True)
    flaw = flaws[0]
    where = [str(part) for part in flaw["loc"]]
    if where[:1] == ["receivers"] and where[2:3] and where[2] in RECEIVERS:
        del where[2]  # the kind that pydantic took it for
    text = flaw["msg"].removeprefix("Value error, ")
    if where[-1:] == ["[key]"]:
        where, text = where[:-1], "must be a name of letters, digits, _ . and -"
    elif flaw["type"] == "extra_forbidden":
        text = f"is not known here; {EXAMPLE} shows all there is"
    elif flaw["type"] == "missing":
        text = f"is missing; see {EXAMPLE}"
    elif flaw["type"].startswith("union_tag"):
        text = f"kind must be one of {', '.join(RECEIVERS)}"
    elif flaw["type"] == "timezone_aware":
        text = "names no zone; add Z for UTC: 2026-12-24T00:00:00Z"
    more = f" (and {len(flaws) - 1} more)" if len(flaws) > 1 else ""
    return ": ".join(filter(None, (".".join(where), text))) + more

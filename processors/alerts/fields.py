"""Values of the alerts file that need reading: durations, rates, times, switches, and secrets, which stand in the file
in clear only where the file says so.

    timeout: 10s            90s, 5m, 2h, 7d
    rate: 30/minute         .../second, .../hour
    until: 2026-12-27T00:00:00Z
    secret: {env: NAME}     the environment variable NAME; {file: PATH}: a file's content; {clear: TEXT}: TEXT itself

Every reader raises ValueError with the cure, and never quotes a value, which may be a secret.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationInfo, model_validator

from pipeline.files.yaml_documents import Place, is_text
from pipeline.holds_secrets import HoldsSecrets
from processors.alerts.values.addresses import check_url, userinfo_of
from schemas.event_time import without_leap_second

DURATION_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
RATE_PERIODS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
SECRET_PLACES: Final = ("env", "file", "clear")
MOST_SECRET_BYTES: Final = 65_536
SWITCHES: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

ELSEWHERE: Final = "{env: NAME} or {file: PATH}; {clear: ...} where it may stand here for all to read"
TIME_CURE: Final = "must be a time with its zone: 2026-12-24T00:00:00Z"


class FlawAt(ValueError):
    """A flaw at `place` within the value of a validator. `hidden`: how many of the last parts of the place are not
    shown, because they may be secrets in the place of a name."""

    def __init__(self, place: Place, reason: str, hidden: int = 0) -> None:
        super().__init__(reason)
        self.place, self.hidden = place, hidden


class Section(HoldsSecrets, BaseModel):
    """A part of the alerts file: strict, and without unknown fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _no_field_is_empty(cls, value: Any) -> Any:
        """Refuses a field without a value: a secret that was forgotten would mean messages without signature."""
        for name, content in value.items() if isinstance(value, dict) else ():
            if content is None:
                raise FlawAt((name,), "is empty; write a value, or leave the field out")
        return value


class Rate(NamedTuple):
    """`requests` in `seconds`; as many may come at once."""

    requests: int
    seconds: float


def read_duration(value: Any) -> Any:
    """Returns the seconds of `90s`, `5m`, `2h`, `7d`.

    >>> read_duration("2h")
    7200.0
    """
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a number with its unit: 90s, 5m, 2h, 7d")
    return timedelta(**{DURATION_UNITS[match[2]]: int(match[1])}).total_seconds()


def between(least: str, most: str) -> Callable[[float], float]:
    """Returns a check of seconds against two durations, both included."""
    low, high = read_duration(least), read_duration(most)

    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"must be from {least} to {most}")
        return value

    return check


def read_rate(value: Any) -> Any:
    """Returns the rate of `30/minute`.

    >>> read_rate("30/minute")
    Rate(requests=30, seconds=60.0)
    """
    match = re.fullmatch(r"([1-9][0-9]{0,5})/(second|minute|hour)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a number a second, minute or hour: 30/minute")
    return Rate(int(match[1]), RATE_PERIODS[match[2]])


def read_time(value: Any) -> Any:
    """Returns the time of ISO 8601 text with its zone, quoted or not; a time is returned as it is.

    >>> read_time("2026-12-24T18:00:00+01:00")
    datetime.datetime(2026, 12, 24, 17, 0, tzinfo=datetime.timezone.utc)
    """
    if not isinstance(value, datetime):
        if not isinstance(value, str) or not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]", value):
            raise ValueError(TIME_CURE)
        try:
            value = datetime.fromisoformat(without_leap_second(value.strip()) or value.strip())
        except ValueError:
            raise ValueError(f"is no time of the calendar; it {TIME_CURE}") from None
    if value.tzinfo is None:
        raise ValueError("names no zone; add Z for UTC: 2026-12-24T00:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"is no time of the calendar; it {TIME_CURE}") from None


def read_switch(value: Any) -> Any:
    """Returns whether `true` or `false` is said."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in SWITCHES:
        raise ValueError("must be true or false")
    return SWITCHES[value.lower()]


def read_words(value: Any) -> Any:
    """Returns one line of text of 1 to 100 characters."""
    if not is_text(value):
        raise ValueError("must be text; put it in quotes")
    if not 1 <= len(value) <= 100 or not value.isprintable() or not value.strip():
        raise ValueError("must be text in one line, of 1 to 100 characters; shorten it, or leave the field out")
    return value


def read_name(value: Any) -> Any:
    """Returns the name of a receiver."""
    if not is_text(value) and isinstance(value, str):
        raise ValueError("a name must be text; put it in quotes")
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value):
        raise ValueError("must be a name of letters, digits, _ . and -, at most 64 of them")
    return value


def read_secret(value: Any, info: ValidationInfo) -> Any:
    """Returns a secret from the place named in the file. The context of the validation has the environment."""
    if not isinstance(value, dict):
        raise ValueError(f"is a secret and must not stand in the file; say {ELSEWHERE}")
    return read_text(value, info)


def read_text(value: Any, info: ValidationInfo) -> Any:
    """Returns text of the file itself, or of the place named in the file."""
    if is_text(value):
        return SecretStr(value)
    if isinstance(value, str):
        raise ValueError("must be text; put it in quotes")
    if not isinstance(value, dict) or len(value) != 1 or not set(value) <= set(SECRET_PLACES):
        raise ValueError(f"must be text, or say where it is: {ELSEWHERE}")
    [(source, name)] = value.items()
    if not is_text(name) or not name:
        raise ValueError(f"{source} must be text, not empty; name the place, or put the text in quotes")
    if source == "clear":
        return SecretStr(name)
    if source == "env":
        return SecretStr(_from_environment(name, (info.context or {}).get("environment", {})))
    return SecretStr(_from_file(name))


def read_url(value: Any, info: ValidationInfo) -> Any:
    """Returns an address as `read_text` does. Raises ValueError where a password in the address stands in the file."""
    if isinstance(value, str) and userinfo_of(value):
        raise ValueError(f"holds a password and must not stand in the file; say {ELSEWHERE}")
    return read_text(value, info)


def host_of(url: SecretStr) -> str:
    """Returns host and port of an address, the parts that are no secret.

    >>> host_of(SecretStr("https://user:pass@hooks.example:8443/services/T0/B0/xyz"))
    'hooks.example:8443'
    """
    return urlsplit(url.get_secret_value()).netloc.rpartition("@")[2]


def _check_secret_url(value: SecretStr) -> SecretStr:
    check_url(value.get_secret_value())
    return value


def _from_environment(name: str, environment: Mapping[str, str]) -> str:
    text = environment.get(name, "")
    # A secret may stand where its name belongs: only what looks like a name is shown.
    variable = f"environment variable {name}" if re.fullmatch(r"[A-Z_][A-Z0-9_]{0,79}", name) else "named variable"
    if not text:
        raise ValueError(f"the {variable} is not set; export it, or name another")
    if not text.isascii() and re.search(r"[\ud800-\udfff]", text):
        raise ValueError(f"the {variable} is not UTF-8; set it to text")
    return text


def _from_file(name: str) -> str:
    cure = "name a file of the secret alone, which this user may read"
    # A secret may stand where its place belongs: only what looks like a path is shown.
    shown = f"file {name[:80]}" if name.startswith(("/", "./", "../", "~")) else "named file"
    path = Path(name)
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"the {shown} is no file; {cure}")
        with path.open("rb") as file:
            content = file.read(MOST_SECRET_BYTES + 1)
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueError(f"the {shown} cannot be read (not UTF-8); {cure}") from None
    except OSError as error:
        raise ValueError(f"the {shown} cannot be read ({error.strerror}); {cure}") from None
    if not text or len(content) > MOST_SECRET_BYTES:
        raise ValueError(f"the {shown} is {'too large' if text else 'empty'}; {cure}")
    return text


Seconds = Annotated[float, BeforeValidator(read_duration)]
Limit = Annotated[Rate, BeforeValidator(read_rate)]
Time = Annotated[datetime, BeforeValidator(read_time)]
Switch = Annotated[bool, BeforeValidator(read_switch)]
Words = Annotated[str, BeforeValidator(read_words)]
Name = Annotated[str, BeforeValidator(read_name)]
Secret = Annotated[SecretStr, BeforeValidator(read_secret)]
Text = Annotated[SecretStr, BeforeValidator(read_text)]
ReceiverUrl = Annotated[SecretStr, BeforeValidator(read_url), AfterValidator(_check_secret_url)]
SecretUrl = Annotated[SecretStr, BeforeValidator(read_secret), AfterValidator(_check_secret_url)]

"""Values of the alerts file that need reading: durations, rates, times, and secrets, which stand in the file in clear
only where the file says so.

    timeout: 10s            90s, 5m, 2h, 7d
    rate: 30/minute         .../second, .../hour
    secret: {env: NAME}     the environment variable NAME; {file: PATH}: a file's content; {clear: TEXT}: TEXT itself
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationInfo

DURATION_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
RATE_PERIODS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
SECRET_PLACES: Final = ("env", "file", "clear")

ELSEWHERE: Final = "{env: NAME} or {file: PATH}; {clear: ...} where it may stand here for all to read"


class Section(BaseModel):
    """A part of the alerts file: strict, and without unknown fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class Rate(NamedTuple):
    """`requests` in `seconds`; as many may come at once."""

    requests: int
    seconds: float


def read_duration(value: Any) -> Any:
    """Returns the seconds of `90s`, `5m`, `2h`, `7d`.

    >>> read_duration("2h")
    7200.0
    """
    match = re.fullmatch(r"(\d{1,6})([smhd])", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a number with its unit: 90s, 5m, 2h, 7d")
    return timedelta(**{DURATION_UNITS[match[2]]: int(match[1])}).total_seconds()


def read_rate(value: Any) -> Any:
    """Returns the rate of `30/minute`.

    >>> read_rate("30/minute")
    Rate(requests=30, seconds=60.0)
    """
    match = re.fullmatch(r"([1-9]\d{0,5})/(second|minute|hour)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a number a second, minute or hour: 30/minute")
    return Rate(int(match[1]), RATE_PERIODS[match[2]])


def read_secret(value: Any, info: ValidationInfo) -> Any:
    """Returns a secret from the place that the file names. The context of the validation has the environment."""
    if not isinstance(value, dict):
        raise ValueError(f"is a secret and must not stand in the file; say {ELSEWHERE}")
    return read_text(value, info)


def read_text(value: Any, info: ValidationInfo) -> Any:
    """Returns text of the file itself, or of the place named in the file."""
    if isinstance(value, str):
        return SecretStr(value)
    if not isinstance(value, dict) or len(value) != 1 or not set(value) <= set(SECRET_PLACES):
        raise ValueError(f"must be text, or say where it is: {ELSEWHERE}")
    [(source, name)] = value.items()
    if not isinstance(name, str) or not name:
        raise ValueError(f"{source} must be text; put it in quotes")
    if source == "clear":
        return SecretStr(name)
    if source == "env":
        environment: Mapping[str, str] = (info.context or {}).get("environment", {})
        if not environment.get(name):
            raise ValueError(f"the environment variable {name} is not set")
        return SecretStr(environment[name])
    try:
        text = Path(name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"the file {name} cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})"
        ) from None
    if not text:
        raise ValueError(f"the file {name} is empty")
    return SecretStr(text)


def read_url(value: Any, info: ValidationInfo) -> Any:
    """Returns an address as `read_text` does. Raises ValueError where a password in the address stands in the file."""
    if isinstance(value, str) and "@" in value.partition("://")[2].partition("/")[0]:
        raise ValueError(f"holds a password and must not stand in the file; say {ELSEWHERE}")
    return read_text(value, info)


def check_url(value: SecretStr) -> SecretStr:
    """Returns an http:// or https:// address with a host. Errors do not quote the address, which may be a secret."""
    try:
        url = urlsplit(value.get_secret_value())
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        usable = False
    if not usable or url.fragment or re.search(r"[\s\x00-\x1f]", value.get_secret_value()):
        raise ValueError("must be http://host/... or https://host/...")
    return value


def check_header(name: str, value: Any) -> None:
    """Raises ValueError for a header whose name speaks of a secret and whose value stands in the file in clear."""
    if isinstance(value, str) and re.search(r"auth|token|secret|cookie|key", name, re.IGNORECASE):
        raise ValueError(f"headers.{name}: is a secret and must not stand in the file; say {ELSEWHERE}")


def host_of(url: SecretStr) -> str:
    """Returns host and port of an address, the parts that are no secret.

    >>> host_of(SecretStr("https://user:pass@hooks.example:8443/services/T0/B0/xyz"))
    'hooks.example:8443'
    """
    return urlsplit(url.get_secret_value()).netloc.rpartition("@")[2]


Seconds = Annotated[float, BeforeValidator(read_duration)]
Limit = Annotated[Rate, BeforeValidator(read_rate)]
Secret = Annotated[SecretStr, BeforeValidator(read_secret)]
Text = Annotated[SecretStr, BeforeValidator(read_text)]
ReceiverUrl = Annotated[SecretStr, BeforeValidator(read_url), AfterValidator(check_url)]
SecretUrl = Annotated[SecretStr, BeforeValidator(read_secret), AfterValidator(check_url)]

"""Values of the alerts' file that need reading: durations, rates, times, and secrets, which never stand in it in clear
unless it says so.

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

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo

DURATION_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
RATE_PERIODS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
SOURCES: Final = ("env", "file", "clear")

ELSEWHERE: Final = "{env: NAME} or {file: PATH}; {clear: ...} where it may stand here for all to read"


class Rate(NamedTuple):
    """`requests` in `seconds`; so many may come at once."""

    requests: int
    seconds: float


def read_duration(value: Any) -> Any:
    """Seconds of `90s`, `5m`, `2h`, `7d`.

    >>> read_duration("2h")
    7200.0
    """
    found = re.fullmatch(r"(\d{1,6})([smhd])", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a number with its unit: 90s, 5m, 2h, 7d")
    return timedelta(**{DURATION_UNITS[found[2]]: int(found[1])}).total_seconds()


def read_rate(value: Any) -> Any:
    """A rate of `30/minute`.

    >>> read_rate("30/minute")
    Rate(requests=30, seconds=60.0)
    """
    found = re.fullmatch(r"([1-9]\d{0,5})/(second|minute|hour)", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a number a second, minute or hour: 30/minute")
    return Rate(int(found[1]), RATE_PERIODS[found[2]])


def read_secret(value: Any, info: ValidationInfo) -> Any:
    """The text that the file tells where to find. The context of the validation has the environment."""
    if not isinstance(value, dict):
        raise ValueError(f"is a secret and must not stand in the file; say {ELSEWHERE}")
    return read_text(value, info)


def read_text(value: Any, info: ValidationInfo) -> Any:
    """Text that may stand in the file, or that the file tells where to find."""
    if isinstance(value, str):
        return SecretStr(value)
    if not isinstance(value, dict) or len(value) != 1 or not set(value) <= set(SOURCES):
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
    """As `read_text`, but an address with a password in it must not stand in the file."""
    if isinstance(value, str) and "@" in value.partition("://")[2].partition("/")[0]:
        raise ValueError(f"holds a password and must not stand in the file; say {ELSEWHERE}")
    return read_text(value, info)


def check_url(value: SecretStr) -> SecretStr:
    """Passes http:// and https:// with a host. Its errors do not quote it: it may be a secret."""
    try:
        url = urlsplit(value.get_secret_value())
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        usable = False
    if not usable or url.fragment or re.search(r"[\s\x00-\x1f]", value.get_secret_value()):
        raise ValueError("must be http://host/... or https://host/...")
    return value


def check_header(name: str, value: Any) -> None:
    """Raises ValueError where a header that speaks of a secret stands in the file in clear."""
    if isinstance(value, str) and re.search(r"auth|token|secret|cookie|key", name, re.IGNORECASE):
        raise ValueError(f"headers.{name}: is a secret and must not stand in the file; say {ELSEWHERE}")


def host_of(url: SecretStr) -> str:
    """Host and port alone: what may be shown of an address.

    >>> host_of(SecretStr("https://user:pass@hooks.example:8443/services/T0/B0/xyz"))
    'hooks.example:8443'
    """
    return urlsplit(url.get_secret_value()).netloc.rpartition("@")[2]


Seconds = Annotated[float, BeforeValidator(read_duration)]
Limit = Annotated[Rate, BeforeValidator(read_rate)]
Secret = Annotated[SecretStr, BeforeValidator(read_secret)]
Text = Annotated[SecretStr, BeforeValidator(read_text)]
Url = Annotated[SecretStr, BeforeValidator(read_url), AfterValidator(check_url)]
SecretUrl = Annotated[SecretStr, BeforeValidator(read_secret), AfterValidator(check_url)]

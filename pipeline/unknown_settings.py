"""Environment variables that look like settings and are none: a misspelt one would be ignored without a word."""

import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Final

PREFIX: Final = "ENGAGEMENT_"
READ_BY_TESTS: Final = ("ENGAGEMENT_TEST_", "ENGAGEMENT_REQUIRE_DATA")
"""Beginnings of variables that only the tests of this project read."""

OF_A_SERVICE: Final = "_SERVICE_HOST"
"""The end of a variable that Kubernetes sets for a service, beside others with the same beginning."""


def unknown_variables(names: Iterable[str], fields: Iterable[str], documents: Iterable[Path | None]) -> list[str]:
    """Returns a line for each variable that looks like a setting and is none, with the nearest setting.

    `fields` are the settings in lower case. A variable that one of the `documents` names is a secret of the document.
    """
    known = {field.upper() for field in fields}
    listed = sorted(names)
    services = [name.removesuffix(OF_A_SERVICE) for name in listed if name.endswith(OF_A_SERVICE)]
    foreign = (*READ_BY_TESTS, *(f"{service}{end}" for service in services for end in ("_SERVICE_", "_PORT")))
    unknown = [name for name in listed if _looks_like_a_setting(name.upper(), known) and not name.startswith(foreign)]
    named = "\n".join(path.read_text(errors="replace") for path in documents if path is not None) if unknown else ""
    lines = []
    for name in unknown:
        if not re.search(rf"\b{re.escape(name)}\b", named):
            near = get_close_matches(name.upper().partition("_")[2], sorted(known), n=1)
            cure = f"did you mean {PREFIX}{near[0]}?" if near else "docs/settings.md has all settings"
            lines.append(f"{name} is no setting and has no effect: {cure}")
    return lines


def _looks_like_a_setting(name: str, known: Collection[str]) -> bool:
    """Tells whether a variable has the prefix and is no setting, or is a setting behind a misspelt prefix."""
    if name.startswith(PREFIX):
        return name.removeprefix(PREFIX) not in known
    head, _, rest = name.partition("_")
    return rest in known and bool(get_close_matches(f"{head}_", [PREFIX], cutoff=0.85))


@cache
def warn_once(line: str, *, as_json: bool) -> None:
    """Prints a warning to stderr, once per process. Settings are read before logs are configured."""
    if as_json:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"time": moment, "level": "WARNING", "logger": __name__, "message": line})
        print(line, file=sys.stderr)
    else:
        print(f"engagement: warning: {line}", file=sys.stderr)


def warn_of_unknown_variables(
    environment: Mapping[str, str], fields: Iterable[str], documents: Iterable[Path | None], *, as_json: bool
) -> None:
    """Warns of each variable of the environment that looks like a setting and is none. Blocks on reading documents."""
    for line in unknown_variables(environment, fields, documents):
        warn_once(line, as_json=as_json)

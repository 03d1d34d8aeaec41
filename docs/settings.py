"""Writes docs/settings.md from pipeline/settings.py: python docs/settings.py.

tests/test_docs.py fails while the page is out of date.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from pipeline.settings import Settings

PAGE = Path(__file__).with_suffix(".md")

HEAD = """# Settings

Every setting is an environment variable. This page is generated from `pipeline/settings.py`: `python docs/settings.py`.
An invalid value ends the command with exit code 2 and an error that names the variable, never its value.
"""


def render() -> str:
    """Returns the whole page."""
    parts = [HEAD]
    for group, names in _groups():
        parts.append(f"## {group}\n\n| variable | default | meaning |\n|---|---|---|")
        parts[-1] += "".join("\n" + _line(name, Settings.model_fields[name]) for name in names) + "\n"
    return "\n".join(parts)


def _groups() -> Iterator[tuple[str, list[str]]]:
    """Yields each group of settings, as the comments in the class name it, with the names of its fields."""
    group, names = "", list[str]()
    for line in inspect.getsource(Settings).splitlines():
        if heading := re.match(r"    # (.+)$", line):
            if names:
                yield group, names
            group, names = heading[1], []
        elif (field := re.match(r"    (\w+): ", line)) and field[1] in Settings.model_fields:
            names.append(field[1])
    yield group, names


def _line(name: str, field: FieldInfo) -> str:
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    shown = "none" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"
    return f"| `ENGAGEMENT_{name.upper()}` | {shown} | {(field.description or '').replace('|', '/')}{_choices(field)} |"


def _choices(field: FieldInfo) -> str:
    options = getattr(field.annotation, "__args__", ())
    words = [option for option in options if isinstance(option, str)]
    return f" ({', '.join(words)})" if words else ""


if __name__ == "__main__":
    PAGE.write_text(render())

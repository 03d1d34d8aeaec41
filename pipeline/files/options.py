"""Options of all commands with files."""

from collections.abc import Callable
from typing import Any, Final

import click

from pipeline.files.encodings import canonical_encoding
from pipeline.files.text_file import LINE_BYTES, ReadPolicy

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _encoding(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    try:
        return None if name is None else canonical_encoding(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


ENCODING_OPTION: Final[_Decorator] = click.option(
    "--encoding",
    callback=_encoding,
    help="Encoding of files without a byte order mark, such as cp1252. Detected without: events are UTF-8, UTF-16 or "
    "UTF-32; CSV may be any.",
)
STRICT_OPTION: Final[_Decorator] = click.option(
    "--strict", is_flag=True, help="Stop at the first bad line instead of skipping it."
)


def tell(text: str) -> None:
    """Prints a text for people, away from the results."""
    click.echo(text, err=True)


def reading(encoding: str | None, line_bytes: int = LINE_BYTES) -> ReadPolicy:
    """Returns the policy of a command's files, with notices on stderr."""
    return ReadPolicy(encoding, tell, max(line_bytes, LINE_BYTES))

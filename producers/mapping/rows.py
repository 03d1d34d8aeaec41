"""Rows of foreign files: CSV, NDJSON and Parquet."""

from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any, Final

from pydantic_core import from_json

from pipeline.errors import Refused, SettingsError
from pipeline.files.flaws import Flaw
from pipeline.files.opening import STDIN, check_inputs
from pipeline.files.tables import DELIMITERS, read_table
from pipeline.files.text_file import DEFAULT_READING, ReadPolicy, TextFile
from producers.mapping.rules import Format, InputRule

BATCH_ROWS: Final = 1000
"""Rows of a Parquet file that are read at once."""

SUFFIXES: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "ndjson",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
}

NumberedRow = tuple[int, Any | Flaw]
"""The number of a row, of its first line where the file has lines, and its value or Flaw."""


def format_of(name: str, rule: InputRule) -> Format:
    """Returns the format of a file, by the map or by the file's name. Raises SettingsError where neither tells."""
    if rule.format is not None:
        return rule.format
    suffixes = [suffix for suffix in PurePath(name).suffixes if suffix != ".gz"]
    if suffixes and suffixes[-1].lower() in SUFFIXES:
        return SUFFIXES[suffixes[-1].lower()]
    raise SettingsError(f"{name}: the name tells no format; name it in the map: `input: {{format: csv}}`")


def read_rows(
    name: str, rule: InputRule, columns: tuple[str, ...] = (), policy: ReadPolicy = DEFAULT_READING
) -> Iterator[NumberedRow]:
    """Yields the rows of a file. `columns`: names that the head of a CSV must have.

    Raises Refused for a file that cannot be read, and SettingsError for a format that is not known.
    """
    policy = ReadPolicy(rule.encoding or policy.encoding, policy.notify, policy.line_bytes)
    match format_of(name, rule):
        case "csv":
            yield from read_table(name, columns, policy, rule.delimiter or DELIMITERS, as_written=True)
        case "ndjson":
            yield from _json_rows(name, policy)
        case "parquet":
            yield from _parquet_rows(name)


def _json_rows(name: str, policy: ReadPolicy) -> Iterator[NumberedRow]:
    for number, line in TextFile(name, policy).filled_lines():
        if isinstance(line, Flaw):
            yield number, line
            continue
        try:
            yield number, from_json(line, allow_inf_nan=False)
        except ValueError as error:
            yield number, Flaw(f"not JSON: {error}; one JSON object a line")


def _parquet_rows(name: str) -> Iterator[NumberedRow]:
    if name == STDIN:
        raise Refused("-: a Parquet file cannot be read from standard input; name a file")
    check_inputs([name])
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise SettingsError(
            f"{name}: a Parquet file needs the package {error.name}: pip install 'engagement-pipeline[parquet]'"
        ) from None
    damage: tuple[type[Exception], ...] = (ArrowException, OSError, ValueError)
    rows = _guarded(lambda: iter(ParquetFile(name).iter_batches(BATCH_ROWS)), name, damage)
    yield from enumerate(rows, start=1)


def _guarded(
    open_batches: Callable[[], Iterator[Any]], name: str, damage: tuple[type[Exception], ...]
) -> Iterator[Any]:
    """Yields the rows of batches; damage ends the file with a Flaw. Raises Refused where the file cannot be opened."""
    try:
        batches = open_batches()
    except damage as error:
        raise Refused(f"{name}: no Parquet file ({error}); name another, or its format in the map") from None
    while True:
        try:
            batch = next(batches, None)
            rows = None if batch is None else batch.to_pylist()
        except damage as error:
            yield Flaw(f"damaged Parquet file: {error}; fetch the file again for the rest")
            return
        if rows is None:
            return
        yield from rows

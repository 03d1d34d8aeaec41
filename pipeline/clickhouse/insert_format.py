"""The encoding of inserts: columns are sent as plain numbers and text, and the server makes enums, times and NULLs.

clickhouse-driver handles each datetime, enum and NULL in Python, which costs more than the rest of an insert. An insert
is therefore `INSERT INTO t (...) SELECT ... FROM input(...)`, whose SELECT holds the conversions.

    >>> encode_plain("events", {"occurred_at": [1, 2]})[0].partition(" SELECT ")[2]
    "fromUnixTimestamp64Micro(`occurred_at`, 'UTC') FROM input('`occurred_at` Int64') FORMAT Native"

The driver also writes texts one by one, at 60 ns each. A large insert is therefore packed: up to BLOCK_ROWS rows are
sent as one row that holds one text per column (numbers as little-endian bytes; texts joined by NUL, or as hex where one
of them contains NUL), and an ARRAY JOIN splits them. Planning that costs the server half a millisecond per column, so
small inserts are sent plainly.

    >>> statement, blocks = encode_packed("events", {"post_id": ["a", "b"], "occurred_at": [1, 2]})
    >>> statement.partition(" SELECT ")[2].partition(" FROM ")[0]
    "`post_id.`, fromUnixTimestamp64Micro(`occurred_at.`, 'UTC')"
    >>> statement.partition(" ARRAY JOIN ")[2].partition(", r")[0]
    "splitByChar('\\\\x00', `post_id`) AS `post_id.`"
    >>> blocks
    [[b'a\\x00b'], [b'\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00']]
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from schemas.tables import TABLES, Table

BLOCK_ROWS: Final = 65_536
"""Rows that are packed into one. The server joins them into blocks of a million rows before it writes a part."""

MANY_TEXTS: Final = 50_000
"""Number of texts from which on packing pays."""

BETWEEN: Final = "\0"
"""Separates packed texts."""

BETWEEN_ARRAYS: Final = "\x01"
"""Separates packed arrays of texts, whose own texts are separated by NUL."""


class _WireType(NamedTuple):
    """How the values of a column type are sent.

    `number` is the type of numbers, None for text; `between` separates packed texts; `sql` makes a value of the number
    or text `{}`.
    """

    number: str | None
    between: str
    sql: str


def is_worth_packing(table: str, names: Iterable[str], rows: int) -> bool:
    """Tells whether packing pays for a number of rows with the named columns."""
    declared = _declared(table)
    return rows * sum(_wire_type(declared[name].type).number is None for name in names) >= MANY_TEXTS


def encode_plain(table: str, columns: Mapping[str, Sequence[Any] | Any]) -> tuple[str, list[Any]]:
    """Returns the INSERT of the columns and the data of each: an array of numbers, or a list of texts.

    Columns are lists or arrays of one length, not empty. Times and enums are integers; None is NULL in optional
    numbers; text is str, or bytes sent as they are. Arrays of texts are lists, or one text per array joined by NUL; an
    array of one empty text arrives empty, since no channel, tag or address is. Maps are lists: key, value, key, value.
    Arrays of numbers are lists, text such as '[1, 2]', or little-endian bytes.

    Raises ValueError for undeclared tables or columns and for numbers outside the type, TypeError for values of another
    kind.
    """
    check_declared(table, columns)
    declared = _declared(table)
    values = [_plain(declared[name].type, column) for name, column in columns.items()]
    of_bytes = tuple(isinstance(column[0], bytes) for column in values)
    return _statement(table, tuple(columns), of_bytes, False), values


def encode_packed(table: str, columns: Mapping[str, Sequence[Any] | Any]) -> tuple[str, list[list[bytes]]]:
    """Returns the packed INSERT of the columns and the data of each: one text per BLOCK_ROWS values.

    Takes values, and raises, as `encode_plain`.
    """
    check_declared(table, columns)
    declared = _declared(table)
    found = [_texts(declared[name].type, values) for name, values in columns.items()]
    as_hex = tuple(is_hex for is_hex, _ in found)
    return _statement(table, tuple(columns), as_hex, True), [texts for _, texts in found]


def encode_missing(
    table: str, columns: Mapping[str, Sequence[Any] | Any], settings: Mapping[str, Any], only: str = "1"
) -> tuple[str, str, list[Any]]:
    """Returns the INSERT ... SELECT that stores rows of an external table `sent` whose key the table does not have, and
    which meet the condition `only`.

    Also returns the structure of `sent` and its columns. Takes values, and raises, as `encode_plain`.
    """
    check_declared(table, columns)
    declared = _declared(table)
    values = [_plain(declared[name].type, column) for name, column in columns.items()]
    structure = ", ".join(f"{name} {_wire_type(declared[name].type).number or 'String'}" for name in columns)
    converted = {name: _wire_type(declared[name].type).sql.replace("{}", f"`{name}`") for name in columns}
    into, key = ", ".join(f"`{name}`" for name in columns), ", ".join(f"`{name}`" for name in declared.key)
    sent_key = ", ".join(converted[name] for name in declared.key)
    there = f"SELECT {key} FROM `{table}` WHERE ({key}) IN (SELECT {sent_key} FROM sent)"
    return (
        f"INSERT INTO `{table}` ({into}) SETTINGS {_said(settings)} SELECT {', '.join(converted.values())} FROM sent "
        f"WHERE ({sent_key}) NOT IN ({there}) AND ({only})",
        structure,
        values,
    )


def encode_answer(table: str, names: Sequence[str], sql: str, settings: Mapping[str, Any]) -> str:
    """Returns the INSERT ... SELECT that stores the answer of a query. Raises as `encode_plain`.

    Of tables that are spread over shards, the server that was asked puts the parts of all shards together.
    """
    check_declared(table, names)
    how = _said({**settings, "parallel_distributed_insert_select": 0})
    return f"INSERT INTO `{table}` ({', '.join(f'`{name}`' for name in names)}) SETTINGS {how} {sql}"


def check_declared(table: str, names: Iterable[str]) -> None:
    """Raises ValueError for a table or column that schemas/tables.py does not know: names are not escaped in SQL."""
    known = {column.name for column in _declared(table).columns}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{table} has no column {', '.join(map(repr, unknown))} in schemas/tables.py")


def _said(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in settings.items())


@lru_cache
def _statement(table: str, names: tuple[str, ...], of_bytes: tuple[bool, ...], is_packed: bool) -> str:
    """Builds the INSERT; `of_bytes` tells which columns hold bytes (sent as hex where they are packed)."""
    declared, structure, taken_apart, values = _declared(table), [], [], []
    for name, is_bytes in zip(names, of_bytes, strict=True):
        wire, sent, value = _wire_type(declared[name].type, is_bytes), f"`{name}`", f"`{name}.`"
        if not is_packed:
            structure.append(f"{sent} {wire.number or 'String'}")
            values.append(wire.sql.replace("{}", sent))
            continue
        structure.append(f"{sent} String")
        apart = f"splitByChar('\\x{ord(wire.between):02x}', {sent})"
        taken_apart.append(
            f"reinterpret({sent}, 'Array({wire.number})') AS {value}" if wire.number else f"{apart} AS {value}"
        )
        values.append(wire.sql.replace("{}", f"unhex({value})" if is_bytes else value))
    into, joined = ", ".join(f"`{name}`" for name in names), ", ".join(taken_apart)
    return (
        f"INSERT INTO `{table}` ({into}) SELECT {', '.join(values)} FROM input('{', '.join(structure)}') "
        + (f"ARRAY JOIN {joined} " if joined else "")
        + "FORMAT Native"
    )


def _plain(type_: str, values: Sequence[Any] | Any) -> Any:
    wire = _wire_type(type_)
    return _numbers(wire.number, values) if wire.number else _each_as_text(type_, values)


def _texts(type_: str, values: Sequence[Any] | Any) -> tuple[bool, list[bytes]]:
    """Returns whether a packed column is hex, and the texts, each of BLOCK_ROWS values."""
    wire = _wire_type(type_)
    starts = range(0, len(values), BLOCK_ROWS)
    if wire.number:
        numbers = _numbers(wire.number, values)
        return False, [numbers[start : start + BLOCK_ROWS].tobytes() for start in starts]
    texts = _each_as_text(type_, values)
    parts = [texts[start : start + BLOCK_ROWS] for start in starts]
    if not isinstance(texts[0], bytes):
        joined = [wire.between.join(part) for part in parts]
        if all(text.count(wire.between) == len(part) - 1 for text, part in zip(joined, parts, strict=True)):
            return False, [text.encode() for text in joined]
    return True, [
        wire.between.join([(text if isinstance(text, bytes) else text.encode()).hex() for text in part]).encode()
        for part in parts
    ]


def _numbers(type_: str, values: Sequence[Any] | Any) -> Any:
    found = np.asarray(values)
    wanted = np.dtype(type_.lower()).newbyteorder("<")
    if found.dtype.kind not in ("biuf" if wanted.kind == "f" else "biu"):
        raise TypeError(f"{type_} takes no {found.dtype}")
    numbers = found.astype(wanted)
    if wanted.kind != "f" and not np.array_equal(numbers, found):
        raise ValueError(f"{type_} does not hold values from {found.min()} to {found.max()}")
    return numbers


def _each_as_text(type_: str, values: Sequence[Any] | Any) -> list[Any]:
    """Returns the values of a column that is no plain number, as str or bytes."""
    if type_.startswith("Nullable("):
        return ["" if value is None else str(value) for value in values]
    if not type_.startswith(("Array(", "Map(")) or isinstance(values[0], bytes | str):
        return list(values)
    if type_ != "Array(String)" and not type_.startswith("Map("):
        number = float if "Float" in type_ else int
        return [str([number(each) for each in value]) for value in values]
    texts = ["\0".join(value) if value else "" for value in values]
    if sum(text.count("\0") for text in texts if text) != sum(len(value) - 1 for value in values if value):
        raise ValueError("a text within an array holds NUL")
    return texts


def _declared(table: str) -> Table:
    for each in TABLES:
        if each.name == table:
            return each
    raise ValueError(f"no table {table!r} in schemas/tables.py")


@lru_cache
def _wire_type(type_: str, of_bytes: bool = False) -> _WireType:
    inner = type_.removeprefix("Nullable(")
    if inner == "Array(String)":
        return _WireType(None, BETWEEN_ARRAYS, "if({} = '', [], splitByChar('\\0', {}))")
    if inner.startswith("Map("):
        pairs = "splitByChar('\\0', {})"
        places = "range(1, length({pairs}) + 1, 2)".replace("{pairs}", pairs)
        keys, values = (f"arrayMap(i -> arrayElement({pairs}, i{more}), {places})" for more in ("", " + 1"))
        return _WireType(None, BETWEEN_ARRAYS, f"if({{}} = '', map(), mapFromArrays({keys}, {values}))::{type_}")
    if inner.startswith("Array("):
        return _WireType(None, BETWEEN, f"{'reinterpret' if of_bytes else 'CAST'}({{}}, '{type_}')")
    if "String" in inner:
        return _WireType(None, BETWEEN, "{}")
    if inner.startswith("DateTime64(6"):
        number, sql = "Int64", "fromUnixTimestamp64Micro({}, 'UTC')"
    elif inner.startswith("DateTime64(3"):
        number, sql = "Int64", "fromUnixTimestamp64Milli({}, 'UTC')"
    elif inner.startswith("DateTime("):
        number, sql = "UInt32", "toDateTime({}, 'UTC')"
    elif inner == "Date":
        number, sql = "UInt16", "toDate({})"
    elif inner.startswith("Enum8("):
        number, sql = "Int8", f"CAST({{}}, '{inner.replace(chr(39), chr(92) + chr(39))}')"
    else:
        number, sql = inner.removesuffix(")"), "{}"
    if inner == type_:
        return _WireType(number, BETWEEN, sql)
    return _WireType(None, BETWEEN, sql.replace("{}", f"to{number}OrNull({{}})"))

"""How columns travel to ClickHouse: as plain numbers and text, of which the server makes enums, times and NULLs.

The driver's own conversions cost more than all the rest of an insert: it looks at each datetime, enum and NULL in
Python. So an insert reads `INSERT INTO t (...) SELECT ... FROM input(...)`, and what it selects are these conversions,
done by the server. Beside numpy's arrays a value of an Array column is one text: numbers as their bytes, little-endian,
texts with NUL between.

    >>> insert_statement("events", ("occurred_at",), True).partition(" SELECT ")[2]
    "fromUnixTimestamp64Micro(`occurred_at`, 'UTC') FROM input('`occurred_at` Int64') FORMAT Native"
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from schemas.tables import TABLES, Table


@lru_cache
def insert_statement(table: str, names: tuple[str, ...], numpy: bool) -> str:
    """The INSERT of these columns. Raises ValueError for what is not declared: nothing is escaped here."""
    types = {column.name: column.type for column in _declared(table).columns}
    unknown = [name for name in names if name not in types]
    if unknown or not names:
        raise ValueError(f"{table} has no column {', '.join(map(repr, unknown))} in schemas/tables.py")
    wires = {name: _wire(f"`{name}`", types[name], numpy) for name in names}
    structure = ", ".join(f"`{name}` {wire}" for name, (wire, _) in wires.items()).replace("'", "\\'")
    values = ", ".join(value for _, value in wires.values())
    into = ", ".join(f"`{name}`" for name in names)
    return f"INSERT INTO `{table}` ({into}) SELECT {values} FROM input('{structure}') FORMAT Native"


def is_array(table: str, name: str) -> bool:
    """Whether this column holds arrays."""
    return _declared(table)[name].type.startswith("Array(")


def pack(table: str, name: str, values: Sequence[Any]) -> Any:
    """A column of an Array type as texts, for an insert of numpy's arrays; texts are left as they are. An empty text
    does not pass: it is no channel, tag or address."""
    if len(values) == 0 or isinstance(values[0], bytes | str):
        return values
    packed = np.empty(len(values), object)
    type_ = _declared(table)[name].type
    if type_ == "Array(String)":
        packed[:] = ["\0".join(value) for value in values]
    elif type_ == "Array(UInt32)":
        packed[:] = [str(list(value)) for value in values]
    else:
        width = f"<u{int(type_.removeprefix('Array(UInt').removesuffix(')')) // 8}"
        packed[:] = [np.asarray(value, width).tobytes() for value in values]
    return packed


def _declared(table: str) -> Table:
    for each in TABLES:
        if each.name == table:
            return each
    raise ValueError(f"no table {table!r} in schemas/tables.py")


def _wire(name: str, type_: str, numpy: bool) -> tuple[str, str]:
    """The type that a column travels in, and the SQL that makes the column's value of it."""
    inner = type_.removeprefix("Nullable(")
    optional = inner != type_ and not numpy

    def sent(plain: str) -> str:
        return f"Nullable({plain})" if optional else plain

    if inner.startswith("DateTime64(6"):
        return sent("Int64"), f"fromUnixTimestamp64Micro({name}, 'UTC')"
    if inner.startswith("DateTime64(3"):
        return sent("Int64"), f"fromUnixTimestamp64Milli({name}, 'UTC')"
    if inner.startswith("DateTime("):
        return sent("UInt32"), f"toDateTime({name}, 'UTC')"
    if inner.startswith("Enum8("):
        return "Int8", f"CAST({name}, '{type_.replace(chr(39), chr(92) + chr(39))}')"
    if numpy and type_ == "Array(UInt32)":
        return "String", f"CAST({name}, '{type_}')"  # the driver has no arrays of arrays: they travel as '[1, 2]'
    if type_ == "Nullable(Float64)":
        return sent("Float64"), f"if(isNaN({name}), NULL, {name})"
    if numpy and type_ == "Array(String)":
        return "String", f"if({name} = '', [], splitByChar('\\0', {name}))"
    if numpy and type_.startswith("Array("):
        return "String", f"reinterpret({name}, '{type_}')"
    plain = inner.removesuffix(")") if inner != type_ else inner
    return sent(plain.replace("LowCardinality(String)", "String")), name

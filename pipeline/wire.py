"""How columns travel to ClickHouse: as plain numbers and text, of which the server makes enums, times and NULLs.

The driver's own conversions cost more than all the rest of an insert: it looks at each datetime, enum and NULL in
Python. So an insert reads `INSERT INTO t (...) SELECT ... FROM input(...)`, and what it selects are these conversions,
done by the server.

    >>> insert_statement("events", ("occurred_at",), True).partition(" SELECT ")[2]
    "fromUnixTimestamp64Micro(`occurred_at`, 'UTC') FROM input('`occurred_at` Int64') FORMAT Native"
"""

from functools import lru_cache

from schemas.tables import TABLES


@lru_cache
def insert_statement(table: str, names: tuple[str, ...], numpy: bool) -> str:
    """The INSERT of these columns. Raises ValueError for what is not declared: nothing is escaped here."""
    declared = next((each for each in TABLES if each.name == table), None)
    if declared is None:
        raise ValueError(f"no table {table!r} in schemas/tables.py")
    types = {column.name: column.type for column in declared.columns}
    unknown = [name for name in names if name not in types]
    if unknown or not names:
        raise ValueError(f"{table} has no column {', '.join(map(repr, unknown))} in schemas/tables.py")
    wires = {name: _wire(f"`{name}`", types[name], numpy) for name in names}
    structure = ", ".join(f"`{name}` {wire}" for name, (wire, _) in wires.items()).replace("'", "\\'")
    values = ", ".join(value for _, value in wires.values())
    into = ", ".join(f"`{name}`" for name in names)
    return f"INSERT INTO `{table}` ({into}) SELECT {values} FROM input('{structure}') FORMAT Native"


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
    if type_ == "Nullable(Float64)":
        return sent("Float64"), f"if(isNaN({name}), NULL, {name})"
    plain = inner.removesuffix(")") if inner != type_ else inner
    return sent(plain.replace("LowCardinality(String)", "String")), name

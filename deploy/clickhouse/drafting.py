"""What drafts of views share: how a view is written, and how a table's column looks in one."""

import re
from typing import Final

from schemas.metrics import MEASURES, WeightSet
from schemas.tables import REAL_OR_NAN, STORED_AT, VERSION, Column, Table

HIDDEN: Final = (VERSION.name, STORED_AT.name)
"""How a table keeps its newest row is not what a view says."""

NOW: Final = "toStartOfMinute(now('UTC')) + 60"
SHOWN_AT: Final = Column(
    "windows_at", "DateTime('UTC')", "What the windows look back from: the end of the minute of asking"
)
TEXT_OR_NULL: Final = "Nullable(String)"
REAL_OR_NULL: Final = "Nullable(Float64)"

Shown = tuple[Column, str]
"""A column of a view, and the SQL of its value."""


def view(name: str, comment: str, shown: list[Shown], tail: str, *, head: str = "", typed: bool = True) -> str:
    """CREATE VIEW with typed and commented columns; a view with parameters can have neither."""
    types = ",\n".join(f"    `{c.name}` {c.type} COMMENT '{escaped(c.comment)}'" for c, _ in shown)
    values = ",\n".join(f"    {value}" if value == c.name else f"    {value} AS `{c.name}`" for c, value in shown)
    create = f"CREATE OR REPLACE VIEW {{database}}.{name} {{cluster}}"
    columns = f"\n(\n{types}\n)\nAS" if typed else " AS"
    before = f"{head}\n" if head else ""
    return f"{create}{columns}\n{before}SELECT\n{values}\n{tail}\nCOMMENT '{escaped(comment)}';\n"


def plain_view(table: Table, where: str = "") -> str:
    """A table's current rows."""
    shown = [plain(column) for column in table.columns if column.name not in HIDDEN]
    tail = f"FROM {{database}}.{table.name} FINAL" + (f"\nWHERE {where}" if where else "")
    return view(f"{table.name}_v", table.comment, shown, tail)


def plain(column: Column, value: str | None = None) -> Shown:
    """Text for enums and dictionaries, NULL for NaN."""
    value = value or f"`{column.name}`"
    if column.type == REAL_OR_NAN and "NaN" in column.comment:
        said = column.comment.replace("NaN", "NULL")
        return Column(column.name, REAL_OR_NULL, said), f"if(isNaN({value}), NULL, {value})"
    if column.type.startswith("Enum8") or column.type == "LowCardinality(String)":
        return Column(column.name, "String", column.comment), f"toString({value})"
    return Column(column.name, column.type, column.comment), value


def reasons(column: Column) -> dict[int, str]:
    """What the codes of a reason mean, as the column's comment lists them; 0 is none.

    >>> reasons(Column("why", "UInt8", "Why not: 0 it is, 1 no shares, 2 too many"))
    {1: 'no shares', 2: 'too many'}
    """
    return {int(code): text for code, text in re.findall(r"(\d+) ([^,]+)", column.comment) if code != "0"}


def weighted(weights: WeightSet, form: str) -> str:
    """The sum of the measures by their weights; `form` has `{}` for a measure's name."""
    terms = zip(MEASURES, weights.weights, strict=True)
    return " + ".join(f"{weight:g} * {form.format(measure)}" for measure, weight in terms)


def ratio(upper: str, lower: str, factor: str = "") -> str:
    """NULL where there is nothing to divide by."""
    return f"if({lower} > 0, {factor}{upper} / {lower}, NULL)"


def any_count() -> str:
    """A pane that was emptied stays, as a row of zeros; this is where one is not."""
    return " + ".join(f"{measure} + {measure}_retracted" for measure in MEASURES) + " > 0"


def indent(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")

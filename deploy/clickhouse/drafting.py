"""The SQL of views: writes CREATE VIEW statements, and shows columns of tables in them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from schemas.metrics import MEASURES, WeightSet
from schemas.tables import LABELS, NAN, NOT_A_TIME, STORED_AT, VERSION, ZERO, Column, Table

HIDDEN: Final = (VERSION.name, STORED_AT.name)
"""Columns by which a table keeps its newest row; views leave them out."""

NOW: Final = "toStartOfMinute(now('UTC')) + 60"
SHOWN_AT: Final = Column(
    "windows_at", "DateTime('UTC')", "What the windows look back from: the end of the minute of asking"
)
TEXT_OR_NULL: Final = "Nullable(String)"
REAL_OR_NULL: Final = "Nullable(Float64)"
PLAIN_LABELS: Final = "Map(String, String)"
RIGHTS: Final = "DEFINER = CURRENT_USER SQL SECURITY DEFINER"
"""A view reads its tables with the rights of the user who ran `init`: a reader needs no grant on any table."""

AS_TEXT: Final = {
    "Array(String)": "arrayStringConcat({0}, ', ')",
    "Array(UInt32)": "arrayStringConcat(arrayMap(number -> toString(number), {0}), ', ')",
    "Array(Float64)": "arrayStringConcat(arrayMap(number -> toString(number), {0}), ', ')",
    PLAIN_LABELS: "arrayStringConcat(arrayMap((k, v) -> concat(k, '=', v), mapKeys({0}), mapValues({0})), ', ')",
}
"""Type of several values -> the SQL of one text for tools that cannot show such a type."""

NULL_WHERE_STORED: Final = {
    NAN: "if(isNaN({0}), NULL, {0})",
    NOT_A_TIME: "nullIf({0}, toDateTime(0, 'UTC'))",
    ZERO: "nullIf({0}, 0)",
}
"""The value that a table stores for "not known" -> the SQL that turns it into NULL."""

LAST_TIME: Final = "2106-01-01 00:00:00"
"""Times given to a view end here, shortly before the last one of a DateTime."""

TIME_TEXT: Final = (
    "^([0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]"
    "([T ]([01][0-9]|2[0-3]):[0-5][0-9](:([0-5][0-9]|60)([.][0-9]+)?)? ?(Z|UTC|[+-][0-9][0-9]:?[0-9][0-9])?)?"
    "|[0-9]?[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]([.][0-9]+)?)$"
)
"""Matches the spellings of a time that have one meaning. ClickHouse alone would guess more, such as hour 25."""

Shown = tuple[Column, str]
"""A column of a view, and the SQL of its value."""


@dataclass(frozen=True)
class View:
    """A view with its CREATE OR REPLACE statement, in which stand the placeholders of pipeline.clickhouse.ddl."""

    name: str
    sql: str


def time_parameter(name: str) -> str:
    """Writes a time that a view is asked with, as a DateTime in UTC, a fraction of a second rounded up.

    Takes text as in events (`2026-01-01T12:00:00Z`, with an offset, with fractions), with a blank for the T and without
    a zone (then UTC), a date, seconds since 1970, and a DateTime or DateTime64 in UTC. A DateTime comes here as text
    without its zone.
    """
    given = f"upper(trimBoth({{{name}:String}}))"
    parsed = f"parseDateTime64BestEffortOrNull({given}, 6, 'UTC')"
    is_none = f"isNull({parsed}) OR NOT match({given}, '{TIME_TEXT}')"
    refused = f"throwIf({is_none}, '{name} must be a time such as 2026-01-01T12:00:00Z')"
    rounded_up = f"addMicroseconds(assumeNotNull({parsed}), 999999 + {refused})"
    earliest, latest = "toDateTime64(0, 6, 'UTC')", f"toDateTime64('{LAST_TIME}', 6, 'UTC')"
    moment = f"toDateTime(least(greatest({rounded_up}, {earliest}), {latest}), 'UTC')"
    # A scalar subquery is a constant before tables are read; throwIf alone is none, and would prune no day.
    return f"assumeNotNull((SELECT {moment}))"


def view(
    name: str,
    comment: str,
    shown: list[Shown],
    tail: str,
    *,
    typed: bool = True,
) -> View:
    """Writes a view from the columns shown and `tail`, the FROM clause up to the end.

    With `typed` the columns have declared types and comments, which ClickHouse refuses for a view with parameters.
    Behind each column of several values comes the same as one text.
    """
    shown = [each for one in shown for each in (one, *_as_text(one))]
    types = ",\n".join(f"    `{c.name}` {c.type} COMMENT '{escaped_text(c.comment)}'" for c, _ in shown)
    values = ",\n".join(f"    {value}" if value == c.name else f"    {value} AS `{c.name}`" for c, value in shown)
    create = f"CREATE OR REPLACE VIEW {{database}}.{name} {{cluster}}"
    columns = f"\n(\n{types}\n)\n{RIGHTS}\nAS" if typed else f"\n{RIGHTS}\nAS"
    return View(name, f"{create}{columns}\nSELECT\n{values}\n{tail}\nCOMMENT '{escaped_text(comment)}'")


def plain_view(table: Table) -> View:
    """Shows the current rows of a table."""
    shown = with_buckets([shown_column(column) for column in table.columns if column.name not in HIDDEN])
    tail = f"FROM {{database}}.{table.name} FINAL"
    return view(f"{table.name}_v", table.comment, shown, tail)


def shown_column(column: Column, source: str = "") -> Shown:
    """Shows a column of `source` (an alias; empty: the only table).

    Enums, dictionaries and codes of reasons become text, also in maps, unknown values NULL.

    >>> from schemas.tables import Unknown
    >>> guests = Unknown("of guests", stored="0", flag="is_guest")
    >>> shown_column(Column("likes", "UInt32", "Likes", unknown=(guests,)), "m")[1]
    'if(m.is_guest != 0, NULL, m.likes)'
    """
    prefix, stored = (f"{source}.", f"{source}.{column.name}") if source else ("", f"`{column.name}`")
    type_, value = column.type, stored
    if column.reasons:
        codes = list(range(1, len(column.reasons) + 1))
        text = f"transform({stored}, {codes}, {list(column.reasons)}, concat('code ', toString({stored})))"
        type_, value = TEXT_OR_NULL, f"if({stored} = 0, NULL, {text})"
    elif type_.startswith("Enum8") or type_ == "LowCardinality(String)":
        type_, value = "String", f"toString({stored})"
    elif type_ == LABELS:
        type_, value = PLAIN_LABELS, f"CAST({stored}, '{PLAIN_LABELS}')"
    for case in column.unknown:
        value = (
            f"if({prefix}{case.flag} != 0, NULL, {value})"
            if case.flag
            else NULL_WHERE_STORED[case.stored].format(value)
        )
    if column.unknown and not type_.startswith("Nullable"):
        type_ = f"Nullable({type_})"
    return Column(column.name, type_, column.comment_in_view()), value


def with_buckets(shown: list[Shown]) -> list[Shown]:
    """Adds the kind of a `conversation`, and the hour and the day of a `minute`, behind the columns.

    ClickHouse takes a bucket that is called `minute` like its column for the column in WHERE (docs/bi.md), so tools get
    buckets with names of their own.
    """
    names = {column.name for column, _ in shown}
    added: list[Shown] = []
    for column, value in shown:
        added.append((column, value))
        if column.name == "conversation":
            added.append(kind_of(value))
        if column.name == "minute":
            buckets = (
                ("hour", "DateTime('UTC')", f"toStartOfHour({value})"),
                ("day", "Date", f"toDate({value}, 'UTC')"),
            )
            added += [
                (Column(name, type_, f"The {name} in UTC that the minute is in"), sql)
                for name, type_, sql in buckets
                if name not in names
            ]
    return added


AUTHOR_KIND: Final = "author:"
THREAD_KIND: Final = "thread:"
"""How the keys of conversations of an author's posts, and of a post, begin."""


def author_of(conversation: str) -> tuple[Shown, Shown]:
    """Shows author and channel from the SQL of a key `author:<channel>/<id>`."""
    key = f"substring({conversation}, {len(AUTHOR_KIND) + 1})"
    return (
        (Column("author_id", "String", "Author (posts.author_id)"), f"substring({key}, position({key}, '/') + 1)"),
        (
            Column("channel", "String", "Where it was posted (posts.channel); empty: not known"),
            f"substring({key}, 1, position({key}, '/') - 1)",
        ),
    )


def kind_of(conversation: str) -> Shown:
    """Shows the kind of a conversation from the SQL of the key."""
    said = "hashtag, mention, brand, author, thread or label: a post counts in several, so add up within one kind"
    return Column("kind", "String", said), f"substring({conversation}, 1, position({conversation}, ':') - 1)"


def weighted(weights: WeightSet, form: str) -> str:
    """Writes the weighted sum of the measures; `form` is the SQL of a measure, with `{}` for its name."""
    terms = zip(MEASURES, weights.weights, strict=True)
    return " + ".join(f"{weight:g} * {form.format(measure)}" for measure, weight in terms)


def ratio_or_null(upper: str, lower: str, factor: str = "") -> str:
    """Writes `factor` upper / lower, NULL where `lower` is not positive."""
    return f"if({lower} > 0, {factor}{upper} / {lower}, NULL)"


def any_count() -> str:
    """Writes the condition of a pane with content: an emptied pane stays as a row of zeros."""
    return " + ".join(f"{measure} + {measure}_retracted" for measure in MEASURES) + " > 0"


def named(names: Iterable[tuple[str, str]]) -> str:
    """Writes columns of a subquery from their names and SQL."""
    return ", ".join(f"{sql} AS {name}" for name, sql in names)


def _as_text(shown: Shown) -> tuple[Shown, ...]:
    column, _ = shown
    form = AS_TEXT.get(column.type)
    if form is None:
        return ()
    return ((Column(f"{column.name}_text", "String", f"{column.name} as one text"), form.format(f"`{column.name}`")),)


def indent(text: str) -> str:
    """Indents every line by four spaces."""
    return "\n".join("    " + line for line in text.splitlines())


def escaped_text(text: str) -> str:
    """Escapes text for a string literal of ClickHouse."""
    return text.replace("\\", "\\\\").replace("'", "\\'")

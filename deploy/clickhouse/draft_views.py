"""Prints the SQL of the views, drafted from schemas/: what a new migration starts from. Run by people and by a test.

python deploy/clickhouse/draft_views.py > deploy/clickhouse/migrations/NNNN_views.sql
"""

from collections.abc import Iterator
from typing import Final

from schemas.metrics import HOT_HALF_LIFE, MEASURES, WEIGHT_SETS, WINDOWS
from schemas.tables import POST_METRICS, POST_MINUTES, REAL_OR_NAN, TABLES, Column, Table

HEAD: Final = """\
-- Views for people and BI tools: current rows only, plain types, a comment on every column.
-- Drafted by deploy/clickhouse/draft_views.py.
"""

HIDDEN: Final = ("version", "stored_at")
"""How a table keeps its newest row is not what a view says."""

LONGEST: Final = 2 * max(WINDOWS.values()) * 60
"""Seconds that a window and the one before it look back."""

NOW: Final = "toStartOfMinute(now('UTC')) + 60"
AT: Final = "toStartOfMinute({t:DateTime('UTC')} + 59)"
WINDOWED: Final = frozenset(
    [
        f"{measure}{part}_{window}"
        for measure in MEASURES
        for part in ("", "_velocity", "_acceleration", "_z")
        for window in WINDOWS
    ]
    + [f"score_{name}_{window}" for name in WEIGHT_SETS for window in WINDOWS]
)
TEXT: Final = "Nullable(String)"
SHOWN_AT: Final = "What the windows look back from: the end of the minute of asking"
POST_COLUMNS: Final = (
    (Column("author_id", TEXT, "Author; NULL until the post itself has come"), "nullIf(author_id, '')"),
    (Column("channel", TEXT, "Where it was posted; NULL: not known"), "nullIf(toString(channel), '')"),
    (
        Column("created_at", "Nullable(DateTime64(6, 'UTC'))", "When it was first posted; NULL: not known"),
        "toNullable(created_at)",
    ),
    (Column("url", TEXT, "Where it can be seen; NULL: not known"), "nullIf(url, '')"),
    (Column("deleted_at", "Nullable(DateTime64(6, 'UTC'))", "When it was deleted; NULL: it stands"), "deleted_at"),
)


def draft() -> str:
    """The whole file."""
    views = [post_metrics_view() if table is POST_METRICS else plain_view(table) for table in TABLES]
    return "\n".join([HEAD, *views, metrics_at_view()])


def plain_view(table: Table) -> str:
    """A table's current rows."""
    shown = [
        (Column(c.name, plain_type(c), plain_comment(c)), plain_value(c)) for c in table.columns if c.name not in HIDDEN
    ]
    # A pane that was emptied stays, as a row of zeros.
    where = f"\nWHERE {_any_count()}" if table is POST_MINUTES else ""
    return view(f"{table.name}_v", table.comment, shown, f"FROM {{database}}.{table.name} FINAL{where}")


def post_metrics_view() -> str:
    """post_metrics with its windows as of now: from the panes of the last two days, nothing where there are none."""
    stored = [c for c in POST_METRICS.columns if c.name not in (*HIDDEN, *WINDOWED)]
    shown = [(Column(c.name, plain_type(c), plain_comment(c)), plain_value(c, f"m.{c.name}")) for c in stored]
    half_life = f"hot_{HOT_HALF_LIFE[0]}"
    at = next(number for number, (column, _) in enumerate(shown) if column.name == half_life) + 1
    hot_now = f"if(isNaN(m.{half_life}), NULL, exp2(m.{half_life} - toUnixTimestamp({NOW}) / {HOT_HALF_LIFE[1] * 60}))"
    shown.insert(
        at, (Column(f"{half_life}_now", "Nullable(Float64)", "Hot score as of now; NULL without engagement"), hot_now)
    )
    shown += [*window_columns("now"), (Column("windows_at", "DateTime('UTC')", SHOWN_AT), NOW)]
    shown += [(column, f"p.{column.name}") for column, _ in POST_COLUMNS]
    shown.append((Column("stored_at", "DateTime64(3, 'UTC')", "When the row was written"), "m.stored_at"))
    shown.append(
        (
            Column("stored_seconds_ago", "Float64", "Seconds since the row was written"),
            "dateDiff('millisecond', m.stored_at, now64(3, 'UTC')) / 1000",
        )
    )
    of_posts = ", ".join(f"{value} AS {column.name}" for column, value in POST_COLUMNS)
    tail = f"""\
FROM {{database}}.post_metrics AS m FINAL
LEFT ANY JOIN
(
{_indent(window_sums(NOW))}
) AS w ON w.post_id = m.post_id
LEFT ANY JOIN
(
    SELECT post_id, {of_posts}
    FROM {{database}}.posts FINAL
) AS p ON p.post_id = m.post_id"""
    comment = "One row per post: its totals as last stored, its windows as of now"
    return view("post_metrics_v", comment, shown, tail)


def metrics_at_view() -> str:
    """Counts, windows and scores as of any time, all from the panes."""
    shown = [
        (Column("post_id", "String", POST_METRICS["post_id"].comment), "w.post_id"),
        (Column("windows_at", "DateTime('UTC')", "t, or the end of the minute that t is in"), AT),
        *((Column(m, "Int64", f"Net {m} before t: added less taken back by then"), f"w.{m}_total") for m in MEASURES),
    ]
    for name, weights in WEIGHT_SETS.items():
        total = " + ".join(f"{weight:g} * w.{m}_total" for m, weight in zip(MEASURES, weights.weights, strict=True))
        shown.append((Column(f"score_{name}", "Float64", POST_METRICS[f"score_{name}"].comment), total))
    shown += window_columns("t")
    tail = f"FROM\n(\n{_indent(window_sums(AT, totals=True))}\n) AS w"
    comment = (
        "One row per post that had a like, share or comment before t: "
        "SELECT * FROM post_metrics_at(t = '2026-01-01 00:00:00')"
    )
    return view("post_metrics_at", comment, shown, tail, typed=False)


def window_sums(at: str, *, totals: bool = False) -> str:
    """Per post the net of each window before `at` and of the one before it, and with `totals` of all time."""
    sums = []
    for measure in MEASURES:
        net = f"toInt64({measure}) - {measure}_retracted"
        if totals:
            sums.append(f"sum({net}) AS {measure}_total")
        for window, minutes in WINDOWS.items():
            w = minutes * 60
            sums.append(f"sumIf({net}, age <= {w}) AS {measure}_{window}_new")
            sums.append(f"sumIf({net}, age > {w} AND age <= {2 * w}) AS {measure}_{window}_old")
    lines = ",\n    ".join(sums)
    # By the sorting key rows may be left out before FINAL chooses among versions: that spares reading years of panes.
    since = "" if totals else f"minute >= toDateTime(greatest(toUnixTimestamp({at}) - {LONGEST}, 0), 'UTC') AND "
    return f"""\
WITH toUnixTimestamp({at}) - toUnixTimestamp(minute) AS age
SELECT
    post_id,
    {lines}
FROM {{database}}.post_minutes FINAL
PREWHERE {since}minute < {at}
WHERE {_any_count()}
GROUP BY post_id"""


def window_columns(moment: str) -> Iterator[tuple[Column, str]]:
    for name, weights in WEIGHT_SETS.items():
        for window in WINDOWS:
            terms = zip(MEASURES, weights.weights, strict=True)
            value = " + ".join(f"{weight:g} * ifNull(w.{measure}_{window}_new, 0)" for measure, weight in terms)
            yield _windowed(f"score_{name}_{window}", moment), value
    for measure in MEASURES:
        for window, minutes in WINDOWS.items():
            new, old = (f"ifNull(w.{measure}_{window}_{part}, 0)" for part in ("new", "old"))
            yield _windowed(f"{measure}_{window}", moment), new
            yield _windowed(f"{measure}_velocity_{window}", moment), f"{new} / {minutes}"
            yield _windowed(f"{measure}_acceleration_{window}", moment), f"({new} - {old}) / {minutes**2}"
            z = f"if({new} + {old} > 0, ({new} - {old}) / sqrt({new} + {old}), NULL)"
            yield _windowed(f"{measure}_z_{window}", moment), z


def view(name: str, comment: str, shown: list[tuple[Column, str]], tail: str, *, typed: bool = True) -> str:
    """CREATE VIEW with typed and commented columns; a view with parameters can have neither."""
    types = ",\n".join(f"    `{c.name}` {c.type} COMMENT '{_escaped(c.comment)}'" for c, _ in shown)
    values = ",\n".join(f"    {value}" if value == c.name else f"    {value} AS `{c.name}`" for c, value in shown)
    head = f"CREATE OR REPLACE VIEW {{database}}.{name} {{cluster}}"
    columns = f"\n(\n{types}\n)\nAS" if typed else " AS"
    return f"{head}{columns}\nSELECT\n{values}\n{tail}\nCOMMENT '{_escaped(comment)}';\n"


def plain_type(column: Column) -> str:
    if column.type == REAL_OR_NAN and "NaN" in column.comment:
        return "Nullable(Float64)"
    return "String" if column.type.startswith("Enum8") else column.type.replace("LowCardinality(String)", "String")


def plain_comment(column: Column) -> str:
    return column.comment.replace("NaN", "NULL")


def plain_value(column: Column, value: str | None = None) -> str:
    value = value or f"`{column.name}`"
    if column.type == REAL_OR_NAN and "NaN" in column.comment:
        return f"if(isNaN({value}), NULL, {value})"
    if column.type.startswith("Enum8") or column.type == "LowCardinality(String)":
        return f"toString({value})"
    return f"CAST({value}, 'Array(String)')" if column.type == "Array(LowCardinality(String))" else value


def _windowed(name: str, moment: str) -> Column:
    column = POST_METRICS[name]
    return Column(name, plain_type(column), plain_comment(column).replace("before as_of", f"before {moment}"))


def _any_count() -> str:
    return " + ".join(f"{measure} + {measure}_retracted" for measure in MEASURES) + " > 0"


def _indent(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


if __name__ == "__main__":
    print(draft(), end="")

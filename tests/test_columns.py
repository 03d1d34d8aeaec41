"""What a column says of itself: its comment in its table and in views, and where it has no value."""

from dataclasses import replace

import pytest

from deploy.clickhouse.drafting import shown_column
from schemas.metrics import WINDOWS
from schemas.tables import MOMENT, NAN, NOT_A_TIME, POST_METRICS, TABLES, UNSAID, ZERO, Column, Table, Unknown

EACH_TABLE = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


@pytest.mark.parametrize(
    ("name", "in_table", "in_view", "type_", "value"),
    [
        (
            "concentration",
            "Share of net engagement by the most active 1 % of actors (rounded up); NaN below 100 actors",
            "Share of net engagement by the most active 1 % of actors (rounded up); NULL below 100 actors",
            "Nullable(Float64)",
            "if(isNaN(m.concentration), NULL, m.concentration)",
        ),
        (
            "share_depth",
            "Most edges from the post; 0 where tree_truncated",
            "Most edges from the post; NULL where tree_truncated",
            "Nullable(UInt32)",
            "if(m.tree_truncated != 0, NULL, m.share_depth)",
        ),
        (
            "oldest_unanswered_at",
            "Minute of the oldest of these; 1970 where there is none",
            "Minute of the oldest of these; NULL where there is none; NULL: see thread_reason",
            "Nullable(DateTime('UTC'))",
            "if(m.thread_reason != 0, NULL, nullIf(m.oldest_unanswered_at, toDateTime(0, 'UTC')))",
        ),
        (
            "reproduction_low",
            "5 % quantile of R_t; NaN: see spread_reason",
            "5 % quantile of R_t; NULL: see spread_reason",
            "Nullable(Float64)",
            "if(isNaN(m.reproduction_low), NULL, m.reproduction_low)",
        ),
        (
            "thread_reason",
            "Why it is not known which turns the brand took: 0 it is, 1 the post itself has not come, 2 truncated",
            "Why it is not known which turns the brand took: the post itself has not come, truncated; "
            "NULL: it is known",
            "Nullable(String)",
            "if(m.thread_reason = 0, NULL, transform(m.thread_reason, [1, 2], ['the post itself has not come', "
            "'truncated'], concat('code ', toString(m.thread_reason))))",
        ),
        (
            "likes_5m",
            "Net likes in the 5m before as_of: added less taken back",
            "Net likes in the 5m before as_of: added less taken back",
            "Int64",
            "m.likes_5m",
        ),
    ],
)
def test_comments_types_and_values(name: str, in_table: str, in_view: str, type_: str, value: str) -> None:
    column = POST_METRICS[name]
    assert column.comment == in_table
    shown, sql = shown_column(column, "m")
    assert (shown.comment, shown.type, sql) == (in_view, type_, value)


def test_a_window_tells_what_it_looks_back_from() -> None:
    said = POST_METRICS["score_plain_1h"].comment_in_view("now")
    assert said.startswith("Weighted net engagement in the 1h before now: ")


@EACH_TABLE
def test_what_columns_point_at_is_there(table: Table) -> None:
    for column in table.columns:
        assert column.window is None or (column.window in WINDOWS and column.name.endswith(f"_{column.window}"))
        assert (MOMENT not in column.meaning) or column.window
        for case in column.unknown:
            assert bool(case.when) != bool(case.reason)
            assert case.stored in (NAN, NOT_A_TIME, ZERO) or case.flag, "nothing tells this case"
            if case.reason:
                assert table[case.reason].reasons
            if case.flag:
                assert table[case.flag].type == "UInt8"


@EACH_TABLE
def test_no_word_of_a_meaning_says_what_a_field_has_to_say(table: Table) -> None:
    """Else views would show NaN, or the words of one window for another."""
    for column in table.columns:
        assert "NaN" not in column.meaning
        assert "before as_of" not in column.meaning
        assert "tree_truncated" not in column.meaning
        assert (column.window is not None) == any(column.name.endswith(f"_{window}") for window in WINDOWS)
        assert bool(column.reasons) == column.name.endswith("_reason")


def test_a_plain_column_is_shown_as_it_is() -> None:
    assert shown_column(Column("likes", "UInt32", "Likes")) == (Column("likes", "UInt32", "Likes"), "`likes`")
    kind = Column("kind", "Enum8('post' = 1)", "What was done")
    assert shown_column(kind) == (Column("kind", "String", "What was done"), "toString(`kind`)")


def test_a_value_that_the_comment_leaves_out_is_null_in_the_view() -> None:
    case = Unknown("at night", UNSAID, flag="is_night")
    column = Column("n", "UInt8", "Number", unknown=(case,))
    assert column.comment == "Number"
    assert replace(column, unknown=(replace(case, stored=ZERO),)).comment == "Number; 0 at night"
    assert shown_column(column) == (
        Column("n", "Nullable(UInt8)", "Number; NULL at night"),
        "if(is_night != 0, NULL, `n`)",
    )

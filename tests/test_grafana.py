"""The expander of deploy/grafana/expansion.py against the examples of Grafana's documentation and of its own tests."""

import pytest

from deploy.grafana.expansion import (
    Value,
    as_the_data_source_sends_it,
    as_the_link_leads,
    interpolate,
)

DOCUMENTED: list[tuple[str, Value, str]] = [
    ("${servers:csv}", ["test1", "test2"], "test1,test2"),
    ("${servers:doublequote}", ["test1", "test2"], '"test1","test2"'),
    ("${servers:doublequote}", ["test", 'test"2'], '"test","test\\"2"'),
    ("${servers:glob}", ["test1", "test2"], "{test1,test2}"),
    ("${servers:json}", ["test1", "test2"], '["test1","test2"]'),
    ("${servers:json}", "test", "test"),
    ("${servers:percentencode}", ["foo()bar BAZ", "test2"], "%7Bfoo%28%29bar%20BAZ%2Ctest2%7D"),
    ("${servers:pipe}", ["test1.", "test2"], "test1.|test2"),
    ("${servers:raw}", ["test1", "test2"], "test1,test2"),
    ("${servers:singlequote}", ["test1", "test2"], "'test1','test2'"),
    ("${servers:singlequote}", ["test", "test'2"], "'test','test\\'2'"),
    ("${servers:sqlstring}", ["test'1", "test2"], "'test''1','test2'"),
    ("${servers:sqlstring}", 'test"value', "'test\\\"value'"),
    ("${servers:queryparam}", ["test1", "test2"], "var-servers=test1&var-servers=test2"),
    ("${servers:queryparam}", "helloAZ%=", "var-servers=helloAZ%25%3D"),
    (
        "${servers:uriencode}",
        "/any-path/any-second-path?query=foo()bar BAZ",
        "/any-path/any-second-path?query=foo%28%29bar%20BAZ",
    ),
]


@pytest.mark.parametrize(("text", "value", "expected"), DOCUMENTED)
def test_documented_examples(text: str, value: Value, expected: str) -> None:
    assert interpolate(text, {"servers": value}) == expected
    assert interpolate(text.replace("${", "[[").replace("}", "]]"), {"servers": value}) == expected


def test_syntax() -> None:
    variables: dict[str, Value] = {"a": "1", "b": ["x"], "c": ["x", "y"], "d.raw": "& "}
    assert interpolate("$a ${a} [[a]] $b $c", variables) == "1 1 1 x {x,y}"
    assert interpolate("${d.raw} ${d.raw:percentencode} $ab $unknown ${unknown:csv} $ 5$", variables) == (
        "&  %26%20 $ab $unknown ${unknown:csv} $ 5$"
    )
    assert interpolate("${c:nothing} ${c:csv:argument}", variables) == "{x,y} x,y", "glob where the format is unknown"


def test_a_value_is_not_looked_through_for_variables() -> None:
    assert interpolate("$a", {"a": "$b ${b} [[b]]", "b": "1"}) == "$b ${b} [[b]]"


def test_the_data_source_expands_macros_in_values_too_and_escapes_nothing() -> None:
    query = "SELECT $__interval_s WHERE $__timeFilter(minute) AND x IN ($x) AND y = '$y' AND z = '${y:percentencode}'"
    assert as_the_data_source_sends_it(query, {"x": ["1", "2"], "y": "$__fromTime"}, 60, 120) == (
        "SELECT 15 WHERE minute >= toDateTime(60) AND minute <= toDateTime(120) AND x IN ('1','2') "
        "AND y = 'toDateTime(60)' AND z = '%24__fromTime'"
    )


def test_a_link_keeps_what_has_a_meaning_in_an_address_unless_told_otherwise() -> None:
    assert as_the_link_leads("/d/x?v=${v.raw}", {"v.raw": "a&b=c#d'e f%"}) == "/d/x?v=a&b=c#d%27e%20f%25"
    assert as_the_link_leads("/d/x?v=${v.raw:percentencode}", {"v.raw": "a&b"}) == "/d/x?v=a%26b"

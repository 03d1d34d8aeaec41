"""The ClickHouse client against a real server: every declared column, NULLs, streams, errors with their cure."""

import math
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pipeline.clickhouse import insert_format
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.insert_format import BLOCK_ROWS
from pipeline.embedded.stack import Stack
from pipeline.errors import Exhausted, Refused, SchemaDrift, Unavailable
from pipeline.settings import Settings
from schemas.tables import TABLES, Column, Table
from tests.patience import SOON

SECOND = int(time.time()) // 60 * 60  # some tables keep rows for days
TICKS = {"DateTime64(6": SECOND * 10**6 + 123_456, "DateTime64(3": SECOND * 1000 + 123, "DateTime(": SECOND}


@pytest.fixture
def lists(tables: Settings) -> Iterator[ClickHouse]:
    with ClickHouse(tables) as client:
        yield client


@pytest.fixture
def arrays(lists: ClickHouse, tables: Settings) -> Iterator[ClickHouse]:
    with ClickHouse(tables, numpy=True) as client:
        yield client


@pytest.fixture(params=["plain", "packed"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows travel as many do, or as few do."""
    monkeypatch.setattr(insert_format, "MANY_TEXTS", 0 if request.param == "packed" else 10**9)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_lists_of_every_declared_column_come_back(lists: ClickHouse, table: Table) -> None:
    rows = 3
    sent = {c.name: [_value(c, row) for row in range(rows)] for c in table.columns}
    if table.version and table.version in sent:
        sent[table.version] = sorted(sent[table.version])
    assert lists.insert(table.name, sent) == rows
    back = lists.select(
        f"SELECT {', '.join(_ticks(c) for c in table.columns)} FROM {table.name} ORDER BY {', '.join(table.key)}"
    )
    order = sorted(range(rows), key=lambda row: [sent[name][row] for name in table.key])
    for column, values in zip(table.columns, back, strict=True):
        assert values == [_as_read(column, sent[column.name][row]) for row in order], column.name


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", ["post_metrics", "post_minutes"])
def test_arrays_come_back(arrays: ClickHouse, name: str) -> None:
    table = next(table for table in TABLES if table.name == name)
    sent = {c.name: _array([_value(c, row) for row in range(3)], c) for c in table.columns if c.default is None}
    assert arrays.insert(name, sent) == 3
    columns = [table[name] for name in sent]
    back = arrays.select(f"SELECT {', '.join(map(_ticks, columns))} FROM {name} ORDER BY {', '.join(table.key)}")
    for column, values in zip(columns, back, strict=True):
        assert list(values) == sent[column.name].tolist(), column.name


@pytest.mark.usefixtures("way")
def test_nan_stays_nan_until_a_view_makes_it_null(arrays: ClickHouse, lists: ClickHouse) -> None:
    names, values = np.array(["a", "b"], object), np.array([math.nan, 0.5])
    arrays.insert("post_metrics", {"post_id": names, "share_structural_virality": values, "version": np.array([1, 1])})
    lists.insert("post_metrics", {"post_id": ["c"], "share_structural_virality": [math.nan], "version": [1]})
    found = lists.select("SELECT post_id, isNaN(share_structural_virality) FROM post_metrics ORDER BY post_id")
    assert found == [["a", "b", "c"], [1, 0, 1]]
    shown = lists.select("SELECT share_structural_virality FROM post_metrics_v ORDER BY post_id")
    assert shown == [[None, 0.5, None]]


@pytest.mark.usefixtures("way")
def test_bytes_that_are_no_text_are_kept(lists: ClickHouse) -> None:
    lists.insert("dead_letters", {"topic": ["t"], "partition": [0], "offset": [1], "bytes": [b"\xff\x00\xfe"]})
    assert lists.select("SELECT hex(bytes) FROM dead_letters") == [["FF00FE"]]


def test_more_rows_than_travel_as_one_are_one_insert(lists: ClickHouse) -> None:
    rows = 2 * BLOCK_ROWS + 1
    names = [f"p{number}" for number in range(rows)]
    names[BLOCK_ROWS] = "with a \0 within"
    tags = [["#a", "#b"][: number % 3] for number in range(rows)]
    sent = {
        "post_id": names,
        "event_id": list(map(str, range(rows))),
        "kind": np.full(rows, 2),
        "occurred_at": np.arange(rows) + SECOND * 10**6,
        "conversations": tags,
        "followers": [None if number % 2 else number for number in range(rows)],
        "version": np.arange(rows, dtype=np.uint64),
    }
    assert lists.insert("events", sent) == rows
    found = lists.select(
        "SELECT post_id, conversations, followers, toUnixTimestamp64Micro(occurred_at) FROM events ORDER BY version"
    )
    assert found == [names, tags, sent["followers"], sent["occurred_at"].tolist()]
    parts = "SELECT count(), sum(rows) FROM system.parts WHERE database = currentDatabase() AND table = 'events'"
    assert lists.select(f"{parts} AND level = 0 AND rows > 0") == [[1], [rows]]


def test_a_column_that_is_not_named_gets_its_default(lists: ClickHouse) -> None:
    lists.insert("posts", {"post_id": ["p"], "version": [1]})
    url, deleted, fresh = lists.select("SELECT url, deleted_at, now64(3) - stored_at < 60 FROM posts")
    assert (url, deleted, fresh) == ([""], [None], [1])


def test_one_insert_may_span_all_years(lists: ClickHouse) -> None:
    minutes = [year * 31_556_952 // 60 * 60 for year in range(130)]
    names = ["p"] * len(minutes)
    lists.insert("post_minutes", {"post_id": names, "minute": minutes, "likes": [1] * 130, "version": [1] * 130})
    assert lists.select("SELECT count(), uniqExact(_partition_id) > 100 FROM post_minutes") == [[130], [1]]


def test_columns_are_checked_before_anything_is_sent(lists: ClickHouse) -> None:
    with pytest.raises(ValueError, match="posts: columns differ in length: post_id 2, version 1"):
        lists.insert("posts", {"post_id": ["a", "b"], "version": [1]})
    with pytest.raises(ValueError, match="posts has no column 'post_idd'"):
        lists.insert("posts", {"post_idd": ["a"]})
    assert lists.insert("posts", {"post_id": [], "version": []}) == 0


@pytest.mark.parametrize("numpy", [False, True])
def test_parameters_and_tables_of_a_query(settings: Settings, numpy: bool) -> None:
    with ClickHouse(settings, numpy=numpy) as client:
        [found] = client.select("SELECT %(text)s", {"text": "it's \\ 100%"})
        assert list(found) == ["it's \\ 100%"]
        tables = {"wanted": ("post_id String, n UInt32", [("a'b", 1), ("c", 2)])}
        names, total = client.select(
            "SELECT groupArray(post_id), sum(n) FROM wanted WHERE post_id != ''", tables=tables
        )
        assert sorted(names[0]) == ["a'b", "c"]
        assert total[0] == 3
        [none] = client.select("SELECT number FROM numbers(9) WHERE number > 99")
        assert len(none) == 0


@pytest.mark.parametrize("numpy", [False, True])
def test_a_stream_comes_in_bounded_blocks(settings: Settings, numpy: bool) -> None:
    with ClickHouse(settings, numpy=numpy) as client:
        blocks = [len(block[0]) for block in client.stream("SELECT number, number FROM numbers(10000)", block=1000)]
        assert sum(blocks) == 10_000
        assert max(blocks) <= 1000
        assert list(client.stream("SELECT number FROM numbers(10) WHERE number > 99")) == []


def test_a_stream_that_is_left_half_read_harms_nobody(settings: Settings) -> None:
    with ClickHouse(settings) as client:
        stream = client.stream("SELECT number FROM numbers(1000000)", block=10)
        assert len(next(stream)[0]) == 10
        assert client.select("SELECT 7") == [[7]]
        with pytest.raises(RuntimeError, match=r"another query was sent"):
            next(stream)
        assert client.select("SELECT 8") == [[8]]


@pytest.mark.parametrize(
    ("sql", "error", "said"),
    [
        ("SELECT nope FROM posts", SchemaDrift, r"`nope`.*code 47.*run `engagement init`"),
        ("SELECT 1 FROM nope", SchemaDrift, "code 60"),
        ("SELEC 1", Refused, "code 62"),
        ("SELECT throwIf(1)", Refused, "code 395"),
        ("SELECT sleep(3) SETTINGS max_execution_time = 1", Exhausted, "code 159.*tried again"),
        (
            "SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 1000000",
            Exhausted,
            "code 241",
        ),
    ],
)
def test_errors_of_the_server(lists: ClickHouse, sql: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        lists.select(sql)
    assert type(caught.value) is error
    assert len(str(caught.value)) < 900
    assert lists.select("SELECT 1") == [[1]]


@pytest.mark.usefixtures("way")
def test_values_of_a_wrong_kind_are_refused_and_the_next_call_works(lists: ClickHouse) -> None:
    wrongs: list[dict[str, list[Any]]] = [
        {"post_id": [1]},
        {"post_id": ["\ud800"]},
        {"post_id": ["p"], "version": ["x"]},
        {"post_id": ["p"], "version": [-1]},
        {"post_id": ["p"], "version": [0.5]},
        {"post_id": ["p"], "version": [None]},
        {"post_id": ["p"], "links": [["a\0b"]]},
    ]
    for wrong in wrongs:
        with pytest.raises(Refused, match=r"insert into posts.*check the values"):
            lists.insert("posts", wrong)
    assert lists.insert("posts", {"post_id": ["p"], "version": [1]}) == 1


def test_a_wrong_password_is_not_repeated(settings: Settings) -> None:
    host = f"{settings.clickhouse_url.host}:{settings.clickhouse_url.port}"
    wrong = Settings(clickhouse=f"clickhouse://somebody:hunter2-secret@{host}/engagement")
    with ClickHouse(wrong) as client, pytest.raises(Refused, match="does not let user 'somebody' in") as caught:
        client.select("SELECT 1")
    assert "hunter2" not in f"{caught.value} {client!r} {caught.value.__context__!r}"


def test_nobody_there_is_unavailable_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(Unavailable, match=rf"127.0.0.1:{port} does not answer.*ENGAGEMENT_CLICKHOUSE"):
        ClickHouse(Settings(clickhouse=f"clickhouse://127.0.0.1:{port}/engagement")).select("SELECT 1")
    assert time.monotonic() - started < SOON


def test_who_hangs_up_or_speaks_another_language_is_unavailable() -> None:
    for answer in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=_answer, args=(listener, answer), daemon=True).start()
            port = listener.getsockname()[1]
            with pytest.raises(Unavailable):
                ClickHouse(Settings(clickhouse=f"clickhouse://127.0.0.1:{port}/engagement")).select("SELECT 1")


def test_goes_on_after_the_server_was_killed(fragile_stack: Stack, lists: ClickHouse) -> None:
    assert lists.insert("posts", {"post_id": ["p"], "version": [1]}) == 1
    fragile_stack.kill("clickhouse")
    with pytest.raises(Unavailable):
        lists.insert("posts", {"post_id": ["q"], "version": [1]})
    fragile_stack.up()
    assert lists.insert("posts", {"post_id": ["q"], "version": [1]}) == 1
    assert lists.select("SELECT post_id FROM posts ORDER BY post_id") == [["p", "q"]]


def test_a_setting_that_the_server_does_not_know_is_an_error(lists: ClickHouse) -> None:
    lists._insert_settings["fsync_of_every_insert"] = 1
    with pytest.raises(Refused, match="code 115"):
        lists.insert("posts", {"post_id": ["p"], "version": [1]})


def _answer(listener: socket.socket, answer: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(answer)


def _value(column: Column, row: int) -> Any:
    for start, ticks in TICKS.items():
        if start in column.type:
            return ticks + 60 * row if start == "DateTime(" else ticks + row
    if column.type.startswith("Enum8"):
        return 1 + row % 2
    if column.type.startswith("Array"):
        kinds = {"UInt": 7 + row, "Float": row / 3}
        return [next((value for kind, value in kinds.items() if kind in column.type), f"ключ-{row}")] * row
    if "String" in column.type:
        return f"{column.name}-é\x00{row}"
    if "Float" in column.type:
        return row + 0.25
    return (1 << 63) + row if column.type == "UInt64" else row


def _array(values: list[Any], column: Column) -> Any:
    if column.type != "String" and not column.type.startswith("Array"):
        return np.array(values)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _as_read(column: Column, value: Any) -> Any:
    """A map is sent as a list of keys and values, or as one text of them, and read as a dict."""
    if not column.type.startswith("Map("):
        return value
    parts = value.split("\0") if isinstance(value, str) else value
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _ticks(column: Column) -> str:
    name = f"`{column.name}`"
    if "DateTime64(6" in column.type:
        return f"toUnixTimestamp64Micro({name})"
    if "DateTime64(3" in column.type:
        return f"toUnixTimestamp64Milli({name})"
    if "DateTime(" in column.type:
        return f"toUnixTimestamp({name})"
    if column.type == "Date":
        return f"toUInt16({name})"
    return f"toInt8({name})" if column.type.startswith("Enum8") else name

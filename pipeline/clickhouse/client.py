"""ClickHouse over its native protocol, by columns. No other file imports clickhouse_driver.

Times are integers in the unit of the column's type: seconds, milliseconds or microseconds since 1970.
"""

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

import numpy as np
from clickhouse_driver import Client, errors

from pipeline.clickhouse.driver_columns import answer_column, driver_column, driver_table, join_blocks
from pipeline.clickhouse.insert_format import (
    check_declared,
    encode_answer,
    encode_missing,
    encode_packed,
    encode_plain,
    is_worth_packing,
)
from pipeline.clickhouse.shards import SHARDED_SETTINGS, each_shard, for_stored, is_for_shards
from pipeline.errors import EngagementError, Exhausted, Refused, SchemaDrift, Unavailable
from pipeline.settings import Settings

CLICKHOUSE_CONNECT_SECONDS: Final = 3.0
SILENCE_SECONDS: Final = 60.0
"""Longest silence of the server before a call fails; a server at work reports its progress every 0.1 s."""

INSERT_PARTITIONS: Final = 1000
"""Most partitions of one INSERT. A batch of old posts spans years, and one INSERT over 48 partitions takes 0.14 s, one
INSERT a partition 0.35 s."""

PASSING_CODES: Final = frozenset(
    {
        *(3, 32, 33, 95, 96, 159, 209, 210, 279, 319, 394, 745),  # cut off, timed out, cancelled, overloaded
        *(173, 201, 202, 203, 241, 252, 290, 439, 700),  # memory, quota, queries, connections, parts, threads
        *(74, 75, 76, 172, 204, 243, 1000, 1001),  # the disk is full or broken
        *(225, 236, 242, 244, 254, 265, 278, 285, 286, 289, 292, 319, 369, 999),  # replicas and their keeper
    }
)
"""Codes of server errors that pass: another try may succeed."""

EXHAUSTED_CODES: Final = frozenset({159, 241})
"""The passing codes of statements that took too long or too much memory, whether by their own fault or the server's."""

DRIFT_CODES: Final = frozenset({8, 10, 16, 20, 47, 53, 60, 70, 81, 349})
"""Codes of an unknown database, table or column, and of another type."""

ACCESS_CODES: Final = frozenset({192, 193, 194, 195, 516})
"""Codes of an unknown user, a wrong password or a refused address."""

Parameters = Mapping[str, Any] | None
ExternalTables = Mapping[str, tuple[str, Sequence[Sequence[Any]]]]
"""Tables that exist as long as the query: name -> structure (`post_id String, minute UInt32`, plain types) and rows."""


class ClickHouse:
    """A connection to ClickHouse; connects with the first call, and again after an error.

    Calls block. A connection belongs to one thread; only `cut` may be called from another one. Every method raises
    Unavailable (no answer, or an error that passes: another try may succeed; Exhausted where memory or time ran out),
    SchemaDrift (a table or column is not as declared) or Refused (another try changes nothing). Connecting may take
    CLICKHOUSE_CONNECT_SECONDS, and silence of the server SILENCE_SECONDS.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        numpy: bool = False,
        database: str | None = None,
        reads_for_seconds: int | None = None,
    ) -> None:
        """With `numpy`, columns are arrays, else lists. `database` overrides the database of the settings.

        With `reads_for_seconds`, the server refuses everything but reading, and ends a query after as long.
        """
        self._url = settings.clickhouse_url
        self._numpy = numpy
        self._stream: object | None = None
        self._insert_settings: dict[str, Any] = {
            "max_partitions_per_insert_block": INSERT_PARTITIONS,
            # Inserts are batches already; an asynchronous insert would only be acknowledged later.
            "async_insert": 0,
            # The rows of a batch have different keys; looking for equal keys is a fifth of an insert's cost.
            "optimize_on_insert": 0,
            # A repeated batch must reach the materialized views even where the table has its rows already.
            "insert_deduplicate": 0,
        }
        query_settings: dict[str, Any] = {"low_cardinality_allow_in_native_format": 0}
        self._sharded = settings if settings.clickhouse_sharded else None
        if self._sharded:
            query_settings |= SHARDED_SETTINGS
        elif settings.clickhouse_cluster:
            # A cold read must see what any worker has stored (law 3).
            self._insert_settings |= {"insert_quorum": "auto", "insert_quorum_parallel": 0}
            query_settings |= {"select_sequential_consistency": 1}
        if reads_for_seconds is not None:
            # A user who reads only has these already: ClickHouse takes a setting that changes nothing.
            query_settings |= {"readonly": 2, "max_execution_time": reads_for_seconds}
        self._client = Client(
            host=self._url.host,
            port=self._url.port,
            user=self._url.user,
            password=self._url.password,
            database=self._url.database if database is None else database,
            secure=self._url.secure,
            verify=True,
            ca_certs=str(settings.clickhouse_ca) if settings.clickhouse_ca else None,
            client_name="engagement",
            connect_timeout=CLICKHOUSE_CONNECT_SECONDS,
            send_receive_timeout=SILENCE_SECONDS,
            sync_request_timeout=CLICKHOUSE_CONNECT_SECONDS,
            tcp_keepalive=True,
            # The server must refuse settings that it does not know.
            settings_is_important=True,
            settings={"use_numpy": numpy, **query_settings},
        )

    def __repr__(self) -> str:
        return f"ClickHouse({self._url!r})"

    def __enter__(self) -> "ClickHouse":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def insert(self, table: str, columns: Mapping[str, Any]) -> int:
        """Inserts columns, lists or arrays of equal length, in a single INSERT and returns the number of rows.

        Columns that are not named get their default. Values are as `insert_format.encode_plain` takes them; arrays of
        numbers cost a tenth of lists. Per row, where there are many (see insert_format.py), the 20 columns of `events`
        cost 0.5 us of CPU here, a quarter of what the driver alone takes, and 0.8 us of the server.

        Raises ValueError for a table or column that schemas/tables.py does not know, or lengths that differ.
        """
        check_declared(table, columns)
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ValueError(f"{table}: columns differ in length: {said}")
        rows = next(iter(lengths.values()), 0)
        if rows:
            with self._translated(f"insert into {table}"):
                statement, values = (encode_packed if is_worth_packing(table, columns, rows) else encode_plain)(
                    table, columns
                )
                sent = [driver_column(column, self._numpy) for column in values]
                self._client.execute(statement, sent, columnar=True, settings=self._insert_settings)
        return rows

    def insert_missing(self, table: str, columns: Mapping[str, Any], only: str = "1") -> int:
        """Inserts the rows that meet the condition `only` and whose key (Table.key) the table does not have.
        Returns the number of rows that were written, or fewer where the server does not say so.

        The server decides while it writes, in one statement, so a delayed INSERT overwrites nothing. Meant for
        thousands of rows, not millions: values are sent one by one. Takes values, and raises ValueError, as `insert`.
        """
        if not len(next(iter(columns.values()), ())):
            return 0
        statement, structure, values = encode_missing(table, columns, self._insert_settings, only)
        rows = list(zip(*(driver_column(column, False) for column in values), strict=True))
        self.select(statement, tables={"sent": (structure, rows)})
        query = self._client.last_query
        return int(query.progress.written_rows) if query is not None and query.progress is not None else 0

    def insert_answer(self, table: str, names: Sequence[str], sql: str, tables: ExternalTables | None = None) -> None:
        """Inserts the answer of a query, whose columns are `names` in their order. Raises ValueError as `insert`."""
        self.select(encode_answer(table, names, sql, self._insert_settings), tables=tables)

    def select(
        self, sql: str, params: Mapping[str, Any] | None = None, tables: ExternalTables | None = None
    ) -> list[Any]:
        """Runs a query and returns the columns, as lists, or as arrays with `numpy`; empty where no row was found.

        `params` fill `%(name)s` in the SQL, escaped. With `numpy`, times are datetime64 and NULLs make an array of
        objects: select ticks (`toUnixTimestamp64Micro`) and plain types instead.
        """
        blocks = list(self._blocks(sql, params, tables, None, None))
        return [join_blocks([block[number] for block in blocks]) for number in range(len(blocks[0]))] if blocks else []

    def stream(
        self,
        sql: str,
        params: Mapping[str, Any] | None = None,
        tables: ExternalTables | None = None,
        block: int = 65_536,
        query_id: str | None = None,
    ) -> Iterator[list[Any]]:
        """Runs a query and yields the columns in blocks of about `block` rows at most, none empty. A server runs no
        second query with the same `query_id`.

        Another query on the connection ends the stream: reading on then raises RuntimeError.
        """
        return (columns for columns in self._blocks(sql, params, tables, block, query_id) if len(columns[0]))

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> None:
        """Runs a statement without an answer; on each shard where it changes rows that are spread over shards."""
        if self._sharded is not None and is_for_shards(sql):
            for on_shard in each_shard(self._sharded, self, ClickHouse):
                with on_shard:
                    on_shard.execute(for_stored(sql, self._sharded), params)
            return
        with self._translated(sql):
            self._client.execute(sql, params)

    def close(self) -> None:
        """Closes the connection; a later call opens another one."""
        self._stream = None
        self._client.disconnect()

    def cut(self) -> None:
        """Cuts the connection from another thread: a call that waits raises Unavailable; the next call connects."""
        waiting: socket.socket | None = self._client.connection.socket
        if waiting is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown, which two threads may not share.
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)

    def _blocks(
        self, sql: str, params: Parameters, tables: ExternalTables | None, block: int | None, query_id: str | None
    ) -> Iterator[list[Any]]:
        settings = {} if block is None else {"max_block_size": block}
        external = [driver_table(name, *table, self._numpy) for name, table in (tables or {}).items()]
        client = self._client
        with self._translated(sql), client.disconnect_on_error(sql, settings):
            query = sql if params is None else client.substitute_params(sql, params, client.connection.context)
            client.connection.send_query(query, query_id=query_id)
            client.connection.send_external_tables(external)
            stream = self._stream = object()
            for packet in client.packet_generator():
                found = getattr(packet, "block", None)
                # The first block has no rows; of an empty block the driver keeps only the names of its columns.
                if found is not None and found.columns_with_types:
                    columns = found.get_columns()
                    if len(columns):
                        yield [answer_column(column) for column in columns]
                    else:
                        yield [np.empty(0) if self._numpy else [] for _ in found.columns_with_types]
                    if self._stream is not stream:
                        raise RuntimeError("another query was sent before this stream was at its end")
            self._stream = None

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Raises errors of the driver as errors of this project; after any error the next call connects again."""
        if self._stream is not None:
            self.close()
        try:
            yield
        except Exception as error:
            self.close()
            self._raise(error, what)

    def _raise(self, error: Exception, what: str) -> NoReturn:
        if isinstance(error, EngagementError | RuntimeError):
            raise error
        said = self._said(error)
        where = f"ClickHouse at {self._url.host}:{self._url.port}"
        code = error.code if isinstance(error, errors.Error) else None
        if isinstance(error, EOFError | OSError | errors.NetworkError | errors.SocketTimeoutError):
            raise Unavailable(
                f"{where} does not answer ({said}): is it running, and is ENGAGEMENT_CLICKHOUSE right?"
            ) from None
        if isinstance(error, errors.ServerException) and code in PASSING_CODES:
            raise (Exhausted if code in EXHAUSTED_CODES else Unavailable)(
                f"{where} cannot now (code {code}: {said}): see its log, disk and memory; it is tried again"
            ) from None
        if isinstance(error, errors.ServerException) and code in DRIFT_CODES:
            raise SchemaDrift(f"{where}: {said} (code {code}): run `engagement init`") from None
        if code in ACCESS_CODES:
            raise Refused(
                f"{where} does not let user {self._url.user!r} in (code {code}): "
                "check user and password in ENGAGEMENT_CLICKHOUSE"
            ) from None
        if isinstance(error, errors.UnexpectedPacketFromServerError | errors.UnknownPacketFromServerError):
            raise Unavailable(
                f"{where} sent what the native protocol does not have ({said}): is the port that of TCP?"
            ) from None
        if isinstance(error, errors.ServerException):
            raise Refused(f"{where} refuses (code {code}: {said}): {_short(what, 200)}") from None
        raise Refused(f"{where}: {_short(what, 200)}: {said}: check the values that were sent") from error

    def _said(self, error: Exception) -> str:
        """Returns the error's text, shortened, without the server's stack trace and without the password."""
        text = (
            error.message if isinstance(error, errors.Error) and error.message else str(error) or type(error).__name__
        )
        text = text.split("Stack trace:")[0].removeprefix("DB::Exception: ").strip()
        if self._url.password:
            text = text.replace(self._url.password, "***")
        return _short(text, 400)


def _short(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."

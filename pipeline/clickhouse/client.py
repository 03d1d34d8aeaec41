"""ClickHouse over its native protocol: columns in, columns out. The only file that imports clickhouse_driver.

Times travel as integers, as the column's type counts them: seconds, milli- or microseconds since 1970.
"""

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

import numpy as np
from clickhouse_driver import Client, errors

from pipeline.clickhouse.insert_format import (
    check_declared,
    encode_missing,
    encode_packed,
    encode_plain,
    is_worth_packing,
)
from pipeline.errors import EngagementError, Exhausted, Refused, SchemaDrift, Unavailable
from pipeline.settings import Settings

CLICKHOUSE_CONNECT_SECONDS: Final = 3.0
SILENCE_SECONDS: Final = 60.0
"""Longest silence of the server; while it works on a query it sends its progress every 0.1 s."""

INSERT_PARTITIONS: Final = 1000
"""A batch of old posts spans years; one INSERT over many partitions is cheaper than many (48: 0.14 s, against 0.35)."""

PASSING_CODES: Final = frozenset(
    {
        *(3, 32, 33, 95, 96, 159, 209, 210, 279, 319, 394, 745),  # cut off, timed out, cancelled, overloaded
        *(173, 201, 202, 203, 241, 252, 290, 439, 700),  # memory, quota, queries, connections, parts, threads
        *(74, 75, 76, 172, 204, 243, 1000, 1001),  # the disk is full or broken
        *(225, 236, 242, 244, 254, 265, 278, 285, 286, 289, 292, 319, 369, 999),  # replicas and their keeper
    }
)
"""Codes of server errors that go away: worth another try."""

EXHAUSTED_CODES: Final = frozenset({159, 241})
"""Of these: the statement took too long or too much memory, be it the server's fault or its own."""

DRIFT_CODES: Final = frozenset({8, 10, 16, 20, 47, 53, 60, 70, 81, 349})
"""Unknown database, table or column, or another type."""

ACCESS_CODES: Final = frozenset({192, 193, 194, 195, 516})

ExternalTables = Mapping[str, tuple[str, Sequence[Sequence[Any]]]]
"""Name -> (structure as `post_id String, minute UInt32`, rows): tables that live as long as the query; plain types."""


class ClickHouse:
    """One connection. Blocking, not thread-safe: but for `cut` it belongs to one thread. Connects when used, anew after
    an error.

    Every method raises Unavailable (no answer, or one that goes away: another try is worth it; Exhausted where memory
    or time ran out), SchemaDrift (a table or column is not as declared) or Refused (no, for good). It waits 3 s for a
    connection and bears 60 s of silence.
    """

    def __init__(self, settings: Settings, *, numpy: bool = False, database: str | None = None) -> None:
        """With `numpy` columns come and go as arrays, else as lists. `database` overrides that of the settings."""
        self._url = settings.clickhouse_url
        self._numpy = numpy
        self._stream: object | None = None
        self._insert_settings: dict[str, Any] = {
            "max_partitions_per_insert_block": INSERT_PARTITIONS,
            # Ours are batches already: asynchronous ones would be acknowledged later, for nothing.
            "async_insert": 0,
            # The rows of a batch have different keys: looking for equal ones is a fifth of an insert's cost.
            "optimize_on_insert": 0,
            # A repeated batch must reach the materialized views even where the table itself has it already.
            "insert_deduplicate": 0,
        }
        query_settings: dict[str, Any] = {"low_cardinality_allow_in_native_format": 0}
        if settings.clickhouse_cluster:
            # A cold read must see what any worker has stored (law 3).
            self._insert_settings |= {"insert_quorum": "auto", "insert_quorum_parallel": 0}
            query_settings |= {"select_sequential_consistency": 1}
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
            # A setting that the server does not know is an error, not a wish.
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
        """Inserts whole columns, lists or arrays of equal length, in one INSERT; returns the number of rows. What is
        not named gets its default.

        Values are as `insert_format.encode_plain` takes them; arrays of numbers cost a tenth of lists. Per row, where
        there are many (see insert_format.py), the 20 columns of `events` cost 0.5 us of CPU here, a quarter of what the
        driver alone takes, and 0.8 us of the server.

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
                sent = [_driven(column, self._numpy) for column in values]
                self._client.execute(statement, sent, columnar=True, settings=self._insert_settings)
        return rows

    def insert_missing(self, table: str, columns: Mapping[str, Any]) -> int:
        """Inserts the rows whose key (the table's ORDER BY) is not in the table; those that are there stay as they are.
        The server decides at the time of writing, in one statement, so an INSERT that was held up on its way overwrites
        nothing. Returns how many rows were written as far as the server says so, never more. For thousands of rows, not
        for millions: their values travel one by one.

        Values, and ValueError, as for `insert`.
        """
        if not len(next(iter(columns.values()), ())):
            return 0
        statement, structure, values = encode_missing(table, columns, self._insert_settings)
        rows = list(zip(*(_driven(column, False) for column in values), strict=True))
        self.select(statement, tables={"sent": (structure, rows)})
        query = self._client.last_query
        return int(query.progress.written_rows) if query is not None and query.progress is not None else 0

    def select(
        self, sql: str, params: Mapping[str, Any] | None = None, tables: ExternalTables | None = None
    ) -> list[Any]:
        """The answer's columns, as lists, or with `numpy` as arrays; each empty where no row was found.

        `params` fill `%(name)s` in the SQL, escaped. With `numpy` times are datetime64 and NULLs make an array of
        objects: select ticks (`toUnixTimestamp64Micro`) and plain types instead.
        """
        blocks = list(self._blocks(sql, params, tables, None))
        return [_joined([block[number] for block in blocks]) for number in range(len(blocks[0]))] if blocks else []

    def stream(
        self,
        sql: str,
        params: Mapping[str, Any] | None = None,
        tables: ExternalTables | None = None,
        block: int = 65_536,
    ) -> Iterator[list[Any]]:
        """The answer in blocks of columns, of at most about `block` rows each, none empty.

        A query sent before the end of it ends it: going on then raises RuntimeError.
        """
        return (columns for columns in self._blocks(sql, params, tables, block) if len(columns[0]))

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> None:
        """Runs a statement whose answer nobody needs."""
        with self._translated(sql):
            self._client.execute(sql, params)

    def close(self) -> None:
        """Closes the connection; the next call would open another."""
        self._stream = None
        self._client.disconnect()

    def cut(self) -> None:
        """Ends what waits for the server, from another thread: that call raises Unavailable. The next connects anew."""
        waiting: socket.socket | None = self._client.connection.socket
        if waiting is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own: that one is not for two threads.
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)

    def _blocks(
        self, sql: str, params: Mapping[str, Any] | None, tables: ExternalTables | None, block: int | None
    ) -> Iterator[list[Any]]:
        settings = {} if block is None else {"max_block_size": block}
        external = [_external(name, *table, self._numpy) for name, table in (tables or {}).items()]
        client = self._client
        with self._translated(sql), client.disconnect_on_error(sql, settings):
            query = sql if params is None else client.substitute_params(sql, params, client.connection.context)
            client.connection.send_query(query)
            client.connection.send_external_tables(external)
            stream = self._stream = object()
            for packet in client.packet_generator():
                found = getattr(packet, "block", None)
                # The first block has no rows; of an empty one the driver keeps only the names of its columns.
                if found is not None and found.columns_with_types:
                    columns = found.get_columns()
                    if len(columns):
                        yield [_plain(column) for column in columns]
                    else:
                        yield [np.empty(0) if self._numpy else [] for _ in found.columns_with_types]
                    if self._stream is not stream:
                        raise RuntimeError("another query was sent before this stream was at its end")
            self._stream = None

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Makes this project's errors of the driver's; whatever went wrong, the next call connects anew."""
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
        """The error's first sentence, without the server's stack trace, without the password."""
        text = (
            error.message if isinstance(error, errors.Error) and error.message else str(error) or type(error).__name__
        )
        text = text.split("Stack trace:")[0].removeprefix("DB::Exception: ").strip()
        if self._url.password:
            text = text.replace(self._url.password, "***")
        return _short(text, 400)


class _Series(NamedTuple):
    """What the driver asks of an external table's column when it uses numpy."""

    values: Any


def _driven(column: Any, numpy: bool) -> Any:
    """A column as the driver wants it: arrays, of objects where it is text, or lists."""
    if numpy:
        return column if isinstance(column, np.ndarray) else _objects(column)
    return column.tolist() if isinstance(column, np.ndarray) else column


def _objects(values: Sequence[Any]) -> Any:
    """An array that keeps text as it is: numpy's own kind of text drops trailing NULs and is slow to send."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _external(name: str, structure: str, rows: Sequence[Sequence[Any]], numpy: bool) -> dict[str, Any]:
    columns = [tuple(part.split(None, 1)) for part in structure.split(",")]
    if not numpy:
        return {"name": name, "structure": columns, "data": list(rows)}
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    return {
        "name": name,
        "structure": columns,
        "data": {column[0]: _Series(_objects(part)) for column, part in zip(columns, values, strict=True)},
    }


def _plain(column: Any) -> Any:
    return column if isinstance(column, np.ndarray) else list(column)


def _joined(parts: list[Any]) -> Any:
    filled = [part for part in parts if len(part)] or parts[:1]
    if len(filled) == 1:
        return filled[0]
    return np.concatenate(filled) if isinstance(filled[0], np.ndarray) else [value for part in filled for value in part]


def _short(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."

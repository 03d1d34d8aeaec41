"""Looks for what still names people: in the rows of every table, in the files of ClickHouse, in the derived rows."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from pipeline.clickhouse.client import ClickHouse, ExternalTables
from pipeline.privacy.erased_hashes import ErasureKey
from pipeline.privacy.erasure_store import DONE, ErasureStore
from pipeline.settings import Settings
from processors.columnar.hashing import Hasher
from processors.conversation.recount import StoredMinutes, recount_minutes
from processors.conversation.recount_closed import check_closed
from processors.conversation.store import ClickHouseConversations
from processors.engagement.recount import recount_posts
from processors.engagement.store import ClickHouseLog
from processors.erasure.files import SearchedFiles, search_files
from processors.erasure.people import People
from processors.retention.retention import retention_floors
from processors.wiring import job_policy
from schemas.tables import TABLES, Table

PURGE_SECONDS: Final = 120.0
"""How long a check waits for the server to rewrite parts with deleted rows."""

PLACES_NAMED: Final = 5
_VALUES: Final = 10_000
_NEEDLES_AT_ONCE: Final = 200


@dataclass
class Leftovers:
    """The files and tables looked through, and the finds. `rows`: rows that name the people, by table and column;
    `server`: rows of the server's own logs; `files`: files that hold an account; `bytes_searched`: 0 where the files
    are not on this machine; `differences`: of a recount; `flaws`: why the check is not passed."""

    is_refused: bool = False
    columns: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    server: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    files_searched: int = 0
    bytes_searched: int = 0
    differences: int = 0
    flaws: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        yield f"{self.columns} columns with text: {sum(self.rows.values()):,} values name the people"
        if self.bytes_searched:
            yield (
                f"{self.files_searched:,} files of ClickHouse, {self.bytes_searched / 1e6:,.1f} MB when unpacked: "
                f"{len(self.files)} hold an account"
            )
        else:
            yield "the files of ClickHouse were not looked through: not on this machine, or nothing to search for"
        yield f"recount: {self.differences} differences"


def look_for_leftovers(settings: Settings, key: ErasureKey, people: People) -> Leftovers:
    """Looks through everything. Blocks, at first until the server has rewritten what was deleted. Raises Unavailable,
    Refused, SettingsError for another key."""
    found = Leftovers()
    with ClickHouse(settings) as clickhouse:
        store = ErasureStore(clickhouse)
        erased = store.hashes(key)
        channels = [people.channel or ""] * len(people.accounts)
        found.is_refused = bool(erased.actors(people.accounts, channels).all())
        if not found.is_refused:
            found.flaws.append("not all of them were erased: run `engagement forget` without --check")
        if (step := store.latest()[1]) not in (DONE, "allow"):
            found.flaws.append(f"the last erasure stands at the step {step!r}: run `engagement forget` again")
        for table in TABLES:
            _search_rows(clickhouse, table, people, found)
        if not _wait_for_purge(clickhouse):
            found.flaws.append("the server has not rewritten all parts with deleted rows yet: check again later")
        if people.channel is None and people.spellings:
            _search_server_logs(clickhouse, people, found)
            searched = search_files(clickhouse, [account.encode() for account in people.spellings])
            _note_files(searched, found)
    found.differences = _recount(settings)
    if found.rows:
        named = ", ".join(f"{place} ({count})" for place, count in list(found.rows.items())[:PLACES_NAMED])
        found.flaws.append(f"rows name the people: {named}: run `engagement forget` again")
    if found.server:
        named = ", ".join(f"system.{table} ({count} rows)" for table, count in found.server.items())
        found.flaws.append(f"logs of the server name the people: {named}: TRUNCATE TABLE each, or wait for its TTL")
    if found.differences:
        found.flaws.append(f"{found.differences} values differ from the log: run `engagement recount`")
    return found


def _search_rows(clickhouse: ClickHouse, table: Table, people: People, found: Leftovers) -> None:
    """Looks through every column with text of a table, and through all rows, older versions included."""
    pattern, needles = people.pattern, list(people.spellings) or [""]
    keys = set(people.author_keys(sorted(_channels(clickhouse))))
    if people.channel is not None:
        pattern = None  # the account may be somebody else's on other channels
    for column in table.columns:
        text = as_text(column.name, column.type)
        if text is None:
            continue
        found.columns += 1
        for start in range(0, len(needles), _NEEDLES_AT_ONCE):
            tables: ExternalTables = {
                "needles": ("text String", [(needle,) for needle in needles[start : start + _NEEDLES_AT_ONCE]]),
                "accounts": ("text String", [(account,) for account in (*people.accounts, *keys)]),
            }
            searched = "multiSearchAny(value, (SELECT groupArray(text) FROM needles))" if people.spellings else "0"
            blocks = clickhouse.stream(
                f"SELECT hex(value), count() FROM (SELECT {text} AS value FROM {table.name}) "
                f"WHERE value IN (SELECT text FROM accounts) OR {searched} GROUP BY value LIMIT {_VALUES}",
                tables=tables,
            )
            for block in blocks:
                for value, count in zip(*block, strict=True):
                    said = bytes.fromhex(value).decode("utf-8", "replace")
                    is_account = said in people.accounts and people.channel is None
                    if is_account or said in keys or (pattern is not None and pattern.search(said)):
                        place = f"{table.name}.{column.name}"
                        found.rows[place] = found.rows.get(place, 0) + int(count)


def as_text(name: str, type_: str) -> str | None:
    """Returns SQL for the texts of a column, one a row; None for a column without text."""
    if type_.startswith("Map("):
        return f"arrayJoin(mapValues({name}))"
    if type_.startswith("Array(") and "String" in type_:
        return f"arrayJoin({name})"
    return f"toString({name})" if "String" in type_ else None


def _channels(clickhouse: ClickHouse) -> set[str]:
    answer = clickhouse.select("SELECT DISTINCT channel FROM events UNION DISTINCT SELECT DISTINCT channel FROM posts")
    return {"", *(answer[0] if answer else ())}


def _wait_for_purge(clickhouse: ClickHouse) -> bool:
    until = time.monotonic() + PURGE_SECONDS
    while True:
        answer = clickhouse.select(
            "SELECT (SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done) "
            "+ (SELECT count() FROM system.parts WHERE database = currentDatabase() "
            "AND (has_lightweight_delete OR NOT active))"
        )
        if not answer[0][0]:
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.2)


def _search_server_logs(clickhouse: ClickHouse, people: People, found: Leftovers) -> None:
    """Looks through the server's own tables of queries and messages."""
    answer = clickhouse.select(
        "SELECT table, groupArray(name) FROM system.columns WHERE database = 'system' AND table LIKE '%\\_log' "
        "AND type LIKE '%String%' AND type NOT LIKE '%(%Map%' AND type NOT LIKE 'Array%' AND type NOT LIKE 'Map%' "
        "AND type NOT LIKE 'Tuple%' GROUP BY table"
    )
    for table, names in zip(*answer, strict=True) if answer else ():
        tables: ExternalTables = {
            "needles": ("text String", [(needle,) for needle in people.spellings[:_NEEDLES_AT_ONCE]])
        }
        texts = ", ' ', ".join(f"toString(`{name}`)" for name in names)
        count = clickhouse.select(
            f"SELECT count() FROM system.`{table}` WHERE multiSearchAny(concat('', {texts}), "
            "(SELECT groupArray(text) FROM needles))",
            tables=tables,
        )[0][0]
        if count:
            found.server[table] = int(count)


def _note_files(searched: SearchedFiles, found: Leftovers) -> None:
    found.files, found.files_searched, found.bytes_searched = searched.hits, searched.files, searched.bytes
    if searched.hits:
        found.flaws.append(f"{len(searched.hits)} files hold an account, {searched.hits[0]} for one")
    if searched.unread:
        found.flaws.append(f"{len(searched.unread)} files cannot be read, {searched.unread[0]} for one")


def _recount(settings: Settings) -> int:
    """Returns the number of values that differ from the log."""
    hasher = Hasher()
    with ExitStack() as connections:
        log = ClickHouseLog(lambda numpy: ClickHouse(settings, numpy=numpy), hasher)
        cells = ClickHouseConversations(lambda numpy: ClickHouse(settings, numpy=numpy))
        minutes = StoredMinutes(lambda numpy: ClickHouse(settings, numpy=numpy))
        client = connections.enter_context(ClickHouse(settings))
        for each in (log, cells, minutes):
            connections.callback(each.close)
        count = sum(
            len(chunk.differences) for chunk in recount_posts(log, log, hasher, None, job_policy(settings, hasher))
        )
        floors = retention_floors(client)
        floor = max(floors.get("posts", 0), floors.get("conversations", 0)) // 60
        count += sum(len(differences) for differences in recount_minutes(cells, minutes, True, floor))
        closed = check_closed(cells, client, settings.partitions, settings.lateness_seconds, floor)
        return count + sum(len(checked.differences) for checked in closed)

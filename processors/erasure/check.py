"""Looks for what still names people: in the rows of every table, in the files of ClickHouse, in the derived rows."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.shards import stored_settings
from pipeline.privacy.erased_hashes import ErasureKey
from pipeline.privacy.erasure_store import ALLOW, DONE, ErasureStore
from pipeline.settings import Settings
from processors.erasure.files import SearchedFiles, search_files
from processors.erasure.people import People, holds_needle, needle_tables, table_of
from processors.recounting import recount_all
from schemas.tables import TABLES, Table

PURGE_SECONDS: Final = 120.0
"""How long a check waits for the server to rewrite parts with deleted rows."""

PLACES_NAMED: Final = 5
_Others = dict[bytes, set[tuple[bytes, bytes]]]
_NAME_BEFORE: Final = re.compile(r"[\w.@-]+$")
_NAME_BEHIND: Final = re.compile(r"[\w.@-]+")


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


def look_for_leftovers(settings: Settings, key: ErasureKey, people: People, recounts: bool = True) -> Leftovers:
    """Looks through everything, and compares all derived rows with the log if `recounts`. Blocks, at first until the
    server has rewritten what was deleted. Raises Unavailable, Refused, SettingsError for another key."""
    found, is_purged = Leftovers(), True
    others: _Others = {}
    with ClickHouse(settings) as clickhouse:
        store = ErasureStore(clickhouse)
        erased = store.hashes(key)
        channels = [people.channel or ""] * len(people.accounts)
        found.is_refused = bool(erased.actors(people.accounts, channels).all())
        if not found.is_refused:
            found.flaws.append("not all of them were erased: run `engagement forget` without --check")
        if (step := store.latest()[1]) not in (DONE, ALLOW):
            found.flaws.append(f"the last erasure stands at the step {step!r}: run `engagement forget` again")
        for table in TABLES:
            _search_rows(clickhouse, table, people, found, others)
        for server in stored_settings(settings, clickhouse) or [settings]:
            with ClickHouse(server) as stored:
                is_purged = _wait_for_purge(stored, _parts_to_leave(stored)) and is_purged
                if people.channel is None and people.spellings:
                    search_server_logs(stored, people, found)
                    searched = search_files(stored, [account.encode() for account in people.spellings], others)
                    _note_files(searched, found)
        # Where all files were looked through, it does not matter which of these the server is to write again.
        if not is_purged and (found.files or not found.bytes_searched):
            found.flaws.append("the server has not rewritten all parts with deleted rows yet: check again later")
    if recounts:
        found.differences = sum(len(each.differences) for each in recount_all(settings, is_check=True))
    if found.rows:
        named = ", ".join(f"{place} ({count})" for place, count in list(found.rows.items())[:PLACES_NAMED])
        found.flaws.append(f"rows name the people: {named}: run `engagement forget` again")
    if found.server:
        named = ", ".join(f"system.{table} ({count} rows)" for table, count in found.server.items())
        found.flaws.append(f"logs of the server name the people: {named}: TRUNCATE TABLE each, or wait for its TTL")
    if found.differences:
        found.flaws.append(f"{found.differences} values differ from the log: run `engagement recount`")
    return found


def _search_rows(clickhouse: ClickHouse, table: Table, people: People, found: Leftovers, others: _Others) -> None:
    """Looks through every column with text of a table, and through all rows, older versions included. Notes in `others`
    what stands around an account within longer names."""
    pattern, needles = people.pattern, list(people.spellings) or [""]
    keys = set(people.author_keys(sorted(_channels(clickhouse))))
    if people.channel is not None:
        pattern = None  # the account may be somebody else's on other channels
    for column in table.columns:
        text = as_text(column.name, column.type)
        if text is None:
            continue
        found.columns += 1
        searched = holds_needle("value") if people.spellings else "0"
        for table_of_needles in needle_tables(needles):
            blocks = clickhouse.stream(
                f"SELECT hex(value), count() FROM (SELECT {text} AS value FROM {table.name}) "
                f"WHERE value IN (SELECT text FROM accounts) OR {searched} GROUP BY value",
                tables={**table_of_needles, **table_of("accounts", [*people.accounts, *keys])},
            )
            for block in blocks:
                for value, count in zip(*block, strict=True):
                    said = bytes.fromhex(value).decode("utf-8", "replace")
                    is_account = said in people.accounts and people.channel is None
                    if is_account or said in keys or (pattern is not None and pattern.search(said)):
                        place = f"{table.name}.{column.name}"
                        found.rows[place] = found.rows.get(place, 0) + int(count)
                    elif pattern is not None:
                        _note_others(said, needles, others)


def _note_others(text: str, needles: Sequence[str], others: _Others) -> None:
    for needle in needles:
        place = text.find(needle)
        while place >= 0:
            before, after = _NAME_BEFORE.search(text, 0, place), _NAME_BEHIND.match(text, place + len(needle))
            around = (before[0] if before else "").encode(), (after[0] if after else "").encode()
            if any(around):
                others.setdefault(needle.encode(), set()).add(around)
            place = text.find(needle, place + 1)


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


def _parts_to_leave(clickhouse: ClickHouse) -> set[tuple[str, str]]:
    """Reads the parts that hold deleted rows, and mutations under way. Workers go on and make others."""
    answer = clickhouse.select(
        "SELECT table, name FROM system.parts WHERE database = currentDatabase() AND (has_lightweight_delete OR "
        "NOT active) UNION ALL SELECT table, mutation_id FROM system.mutations "
        "WHERE database = currentDatabase() AND NOT is_done"
    )
    return set(zip(*answer, strict=True)) if answer else set()


def _wait_for_purge(clickhouse: ClickHouse, leaving: set[tuple[str, str]]) -> bool:
    until = time.monotonic() + PURGE_SECONDS
    while leaving := leaving & _parts_to_leave(clickhouse):
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def search_server_logs(clickhouse: ClickHouse, people: People, found: Leftovers) -> None:
    """Looks through the server's own tables of queries and messages."""
    answer = clickhouse.select(
        "SELECT table, groupArray(name) FROM system.columns WHERE database = 'system' AND table LIKE '%\\_log' "
        "AND type LIKE '%String%' AND type NOT LIKE '%(%Map%' AND type NOT LIKE 'Array%' AND type NOT LIKE 'Map%' "
        "AND type NOT LIKE 'Tuple%' GROUP BY table"
    )
    for table, names in zip(*answer, strict=True) if answer else ():
        texts = ", ' ', ".join(f"toString(`{name}`)" for name in names)
        named = f"SELECT count() FROM system.`{table}` WHERE " + holds_needle(f"concat('', {texts})")
        # A row that names several people is counted once for each table of needles that it is found by.
        counts = [clickhouse.select(named, tables=needles)[0][0] for needles in needle_tables(people.spellings)]
        if any(counts):
            found.server[table] = found.server.get(table, 0) + sum(counts)


def _note_files(searched: SearchedFiles, found: Leftovers) -> None:
    found.files += searched.hits
    found.files_searched, found.bytes_searched = (
        found.files_searched + searched.files,
        found.bytes_searched + searched.bytes,
    )
    if searched.hits:
        found.flaws.append(f"{len(searched.hits)} files hold an account, {searched.hits[0]} for one")
    if searched.unread:
        found.flaws.append(f"{len(searched.unread)} files cannot be read, {searched.unread[0]} for one")

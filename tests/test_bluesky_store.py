"""The store of a Bluesky stream: what it knows after a crash, what it forgets, what it refuses."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes_bluesky import LIKE, POST, REPOST, did

from pipeline.errors import Refused
from producers.bluesky import record_store
from producers.bluesky.jetstream.stream_position import Position
from producers.bluesky.mapping import RecordKey
from producers.bluesky.record_store import RecordStore, StorePolicy

DAY_US = 86_400 * 1_000_000
NOW_US = 1_790_000_000_000_000


def key(number: int, name: str = "cem", collection: str = LIKE) -> RecordKey:
    return RecordKey(did(name), collection, f"r{number:06d}")


def place(time_us: int = NOW_US) -> Position:
    return Position("v1", "wss://a.example/subscribe", time_us, time_us)


def test_records_are_found_before_and_after_they_are_saved(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "s.sqlite")
    kinds = {"comment": "at://did:plc:ana/app.bsky.feed.post/p", "share": "at://did:plc:ben/app.bsky.feed.post/q"}
    store.add(key(1, collection=POST), kinds, NOW_US)
    store.add(key(1, collection=POST), {"post": "another"}, NOW_US)
    assert store.find(key(1, collection=POST)) == kinds
    assert store.find(key(1)) is store.find(key(2, collection=POST)) is None
    assert store.position() is None
    store.save(place())
    store.close()
    again = RecordStore(tmp_path / "s.sqlite")
    assert again.find(key(1, collection=POST)) == kinds
    assert again.position() == place()
    assert again.find(key(1, "dan", POST)) is None


def test_nothing_of_what_was_not_saved_is_there_after_a_crash(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "s.sqlite")
    store.add(key(1), {"like": "p"}, NOW_US)
    store.save(place())
    store.add(key(2), {"like": "p"}, NOW_US)
    store.close()
    again = RecordStore(tmp_path / "s.sqlite")
    assert again.find(key(1))
    assert again.find(key(2)) is None


def test_records_of_an_actor_come_each_once_over_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_store, "PAGE_RECORDS", 7)
    store = RecordStore(tmp_path / "s.sqlite")
    for number in range(50):
        for collection in (LIKE, REPOST, POST):
            store.add(key(number, collection=collection), {"like": f"p{number}"}, NOW_US)
        store.add(key(number, "dan"), {"like": "p"}, NOW_US)
        if number == 40:
            store.save(place())
    found = list(store.of_actor(did("cem")))
    assert len(found) == 150
    assert {at for at, _ in found} == {key(n, collection=c) for n in range(50) for c in (LIKE, REPOST, POST)}
    assert all(kinds == {"like": f"p{int(at.rkey[1:])}"} for at, kinds in found)


def test_the_oldest_records_leave_by_age(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "s.sqlite", StorePolicy(keep_days=3))
    for number in range(10):
        store.add(key(number), {"like": "p"}, NOW_US + number * DAY_US)
    store.save(place(NOW_US + 9 * DAY_US))
    assert [number for number in range(10) if store.find(key(number))] == [6, 7, 8, 9]


def test_the_oldest_records_leave_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_store, "EXPIRED_AT_ONCE", 40)
    store = RecordStore(tmp_path / "s.sqlite", StorePolicy(keep_records=100))
    for number in range(300):
        store.add(key(number), {"like": "p"}, NOW_US)
        if number % 30 == 29:
            store.save(place())
    store.save(place())
    assert [number for number in range(300) if store.find(key(number))] == list(range(200, 300))


def test_a_file_is_of_one_process(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    code = (
        "import sys, time; from pathlib import Path; from producers.bluesky.record_store import RecordStore\n"
        "store = RecordStore(Path(sys.argv[1])); print('open', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(Refused, match="in use by another process"):
            RecordStore(path)
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    RecordStore(path).close()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(Refused, match=r"s\.sqlite: unreadable .* delete it to start anew"):
        RecordStore(path)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(Refused, match="of another version of this program"):
        RecordStore(path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot be written"):
        RecordStore(tmp_path / "file" / "s.sqlite")


def test_a_full_disk_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "s.sqlite")
    store.save(place())
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages + 1}")
    for number in range(5000):
        store.add(key(number), {"like": "p" * 100}, NOW_US)
    with pytest.raises(Refused, match="is the disk full"):
        store.save(place(NOW_US + 1))
    assert store.position() == place()
    assert store.find(key(4999))
    store._database.execute("PRAGMA max_page_count = 100000")
    store.save(place(NOW_US + 1))
    assert store.position() == place(NOW_US + 1)


def test_a_save_is_quick_with_many_records(tmp_path: Path) -> None:
    """Ten thousand records, as two seconds at 5,000 a second bring them; a bound a busy machine keeps."""
    store = RecordStore(tmp_path / "s.sqlite")
    for number in range(10_000):
        store.add(key(number, f"u{number}"), {"like": "at://did:plc:ana/app.bsky.feed.post/p"}, NOW_US)
    started = time.process_time()
    store.save(place())
    assert time.process_time() - started < 1.0

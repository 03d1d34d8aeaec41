"""Who is meant by an account, what stands for an event, and which events of erased people are left out."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.clickhouse.client import ExternalTables
from pipeline.errors import SettingsError
from pipeline.privacy.erased_hashes import CHECK_TEXT, ErasedHashes, ErasureKey, on_channel
from processors.engagement.decoding import DecodingPolicy, decode_events
from processors.engagement.erased.erased_events import without_erased
from processors.erasure.check import Leftovers, search_server_logs
from processors.erasure.files import holds, search_files, unpacked
from processors.erasure.people import NEEDLES_AT_ONCE, People
from processors.erasure.tombstones import Eraser
from processors.runtime.records import Run
from schemas.tables import CLEANED_VERSION, EVENTS, TOMBSTONE_VERSION

KEY = ErasureKey("0123456789abcdef0123456789abcdef")
WHO = "did:plc:abc12"
EMPTY: dict[str, Any] = {
    **dict.fromkeys(EVENTS.sent, ""),
    "kind": 4,
    "action": 1,
    "occurred_at": 61_500_000,
    "received_at": 62_000,
    "partition": 3,
    "offset": 9,
    "conversations": [],
    "links": [],
    "labels": {},
    "followers": None,
    "version": 7,
    "post_id": "p",
}


def eraser(*accounts: str, channel: str | None = None, posts: tuple[str, ...] = ()) -> Eraser:
    return Eraser(People.of(accounts or (WHO,), channel), posts, {"https://example.com/theirs"}, KEY.other_id, 5)


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        (f"at://{WHO}/app.bsky.feed.post/1", True),
        (f"https://bsky.app/profile/{WHO}", True),
        (f"hello {WHO}!", True),
        (f"{WHO}4", False),
        (f"x{WHO}", False),
        (f"{WHO}-4", False),
        (f"{WHO}.example", False),
        ("nobody", False),
    ],
)
def test_an_account_is_found_as_a_whole_word(text: str, is_named: bool) -> None:
    assert eraser().names(text) is is_named


def test_a_short_account_is_found_in_whole_fields_only() -> None:
    assert not eraser("ann", "12345678").names("ann and 12345678")
    assert eraser("ann").is_theirs({**EMPTY, "actor_id": "ann"})


def test_a_tombstone_keeps_identity_tree_minute_and_channel_alone() -> None:
    event = {
        **EMPTY,
        "event_id": "c",
        "parent_id": f"at://{WHO}/b",
        "actor_id": WHO,
        "channel": "bluesky",
        "text": "words",
        "url": "https://x",
        "links": ["https://y"],
        "conversations": ["hashtag:z"],
        "labels": {"a": "b"},
        "topic": "engagement.comments",
        "followers": 3,
    }
    kept = {name: value for name, value in eraser().erased(event).items() if value not in ("", 0, [], {}, None)}
    assert kept == {
        "post_id": "p",
        "kind": 4,
        "action": 1,
        "event_id": "c",
        "parent_id": KEY.other_id(f"at://{WHO}/b"),
        "occurred_at": 60_000_000,
        "received_at": 62_000,
        "channel": "bluesky",
        "version": TOMBSTONE_VERSION + 5,
    }


def test_events_of_others_lose_the_name_and_nothing_else() -> None:
    event = {
        **EMPTY,
        "actor_id": "bob",
        "event_id": "e",
        "quotes": "theirs",
        "text": f"as {WHO} says",
        "url": "https://mine",
        "links": ["https://example.com/theirs", "https://kept"],
        "labels": {"by": WHO, "campaign": "spring"},
        "conversations": [f"mention:{WHO}", "mention:acme", "hashtag:z"],
    }
    clean = eraser(posts=("theirs",)).erased(event)
    assert {name: clean[name] for name in clean if clean[name] != event[name]} == {
        "quotes": "",
        "text": "as [erased] says",
        "links": ["https://kept"],
        "labels": {"campaign": "spring"},
        "conversations": ["mention:acme", "hashtag:z"],
        "version": CLEANED_VERSION + 5,
    }
    assert eraser(posts=("theirs",)).erased(clean) is clean
    other = {**EMPTY, "actor_id": "bob", "event_id": "e", "text": "nothing"}
    assert eraser().erased(other) is other


def test_with_a_channel_only_its_events_are_meant() -> None:
    on = {**EMPTY, "actor_id": WHO, "channel": "bluesky"}
    assert eraser(channel="Bluesky").is_theirs(on)
    elsewhere = {**on, "channel": "mastodon"}
    assert eraser(channel="Bluesky").erased(elsewhere) is elsewhere


class _Record:
    def __init__(self, offset: int, key: bytes, value: bytes) -> None:
        self.offset, self.key, self.value, self.timestamp = offset, key, value, 1_800_000_000_000


def test_events_that_come_again_are_left_out() -> None:
    from json import dumps

    erased = ErasedHashes(
        KEY,
        {
            "check": KEY.hashes([CHECK_TEXT]).tolist(),
            "actor": KEY.hashes([WHO, on_channel("bluesky", "ann")]).tolist(),
            "mention": KEY.hashes([WHO]).tolist(),
            "post": KEY.hashes(["gone"]).tolist(),
            "id": KEY.hashes(["an-id"]).tolist(),
        },
    )
    base = {"kind": "comment", "occurred_at": "2026-01-01T00:00:00Z"}
    told: list[dict[str, Any]] = [
        {"event_id": "1", "post_id": "p", "actor_id": WHO},
        {"event_id": "2", "post_id": "p", "actor_id": "ann", "channel": "bluesky"},
        {"event_id": "3", "post_id": "p", "actor_id": "ann", "channel": "mastodon"},
        {"event_id": "4", "post_id": "gone", "actor_id": "bob"},
        {"event_id": "5", "post_id": f"at://{WHO}/app.bsky.feed.post/9", "actor_id": "bob"},
        {
            "event_id": "an-id",
            "post_id": "p",
            "actor_id": "bob",
            "parent_id": f"at://{WHO}/c",
            "mentions": [WHO, "acme"],
        },
    ]
    records = [
        _Record(number, event["post_id"].encode(), dumps({**base, **event}).encode())
        for number, event in enumerate(told)
    ]
    decoded = decode_events([Run("t.comments", "comment", 0, records)], DecodingPolicy())  # type: ignore[arg-type]
    events, stays = without_erased(decoded.events, erased)
    assert stays.tolist() == [False, False, True, False, False, True]
    assert events.event_id == ["3", KEY.other_id("an-id")]
    assert events.parent_id == ["", KEY.other_id(f"at://{WHO}/c")]
    assert events.conversations[1] == ["mention:acme"]
    assert erased.conversations(
        [f"author:x/{WHO}", "author:bluesky/ann", "author:mastodon/ann", f"mention:{WHO}", "thread:gone", "hashtag:ann"]
    ).tolist() == [True, True, False, True, True, False]
    assert erased.names(None, dumps(told[0]).encode())
    assert not erased.names(b"p", dumps(told[2]).encode())


@pytest.mark.parametrize("account", ['o"neil\\x', "ann🌻bee", "a.b*c+d(e", "%s_%%x", "émile\u2028x"])
def test_accounts_with_quotes_emoji_and_patterns(account: str) -> None:
    from json import dumps

    meant = eraser(account)
    for text in (account, f"as {account} says", dumps({"actor_id": account}), dumps(f"@{account}", ensure_ascii=False)):
        assert meant.names(text), text
    assert not meant.names(account.replace(account[1], "_", 1))
    assert meant.cleaned({**EMPTY, "text": f"as {account} says"})["text"] == "as [erased] says"
    hashes = {"check": KEY.hashes([CHECK_TEXT]).tolist(), "actor": KEY.hashes([account]).tolist()}
    erased = ErasedHashes(KEY, hashes)  # type: ignore[arg-type]
    for is_ascii in (False, True):
        assert erased.names(None, dumps({"actor_id": account}, ensure_ascii=is_ascii).encode())
    assert not erased.names(None, b'{"actor_id": "bob", "text": "\\ud800"}')


def test_the_key_is_needed_where_people_were_erased() -> None:
    hashes = {"check": KEY.hashes([CHECK_TEXT]).tolist(), "actor": KEY.hashes([WHO]).tolist()}
    assert not ErasedHashes(None, {})
    assert ErasedHashes(KEY, hashes).actors([WHO, "b"], ["", ""]).tolist() == [True, False]  # type: ignore[arg-type]
    for other in (None, ErasureKey("x" * 32)):
        with pytest.raises(SettingsError, match="ENGAGEMENT_ERASURE_KEY"):
            ErasedHashes(other, hashes)  # type: ignore[arg-type]
    assert "0123456789" not in repr(KEY)


def test_an_account_within_the_name_of_somebody_else_is_no_hit() -> None:
    others = {(b"", b"34"), (b"x", b".example")}
    assert holds(b"\x0ddid:plc:abc12\x05other", WHO.encode(), others)
    assert not holds(b"\x0fdid:plc:abc1234 and xdid:plc:abc12.example", WHO.encode(), others)
    # A text may be followed by the length of the next one, which looks like a digit.
    assert holds(b"\x0fdid:plc:abc1234\x0ddid:plc:abc120did", WHO.encode(), others)
    assert holds(b"did:plc:abc1234", WHO.encode(), ())
    assert not holds(b"nobody", WHO.encode(), ())


def test_logs_of_the_server_are_searched_for_all_people() -> None:
    """However many there are: a query takes some of them."""
    people = People.of([f"did:plc:somebody{number:04}" for number in range(3 * NEEDLES_AT_ONCE)], None)

    class Server:
        said = f"SELECT 'did:plc:somebody{3 * NEEDLES_AT_ONCE - 1:04}'"

        def select(self, sql: str, tables: ExternalTables | None = None) -> list[list[Any]]:
            if tables is None:
                return [["query_log"], [["query"]]]
            needles = [text for (text,) in tables["needles"][1]]
            assert len(needles) <= NEEDLES_AT_ONCE
            return [[sum(text in self.said for text in needles)]]

    found = Leftovers()
    search_server_logs(Server(), people, found)  # type: ignore[arg-type]
    assert found.server == {"query_log": 1}


def test_files_that_a_merge_takes_away_meanwhile_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server rewrites its parts while they are looked through: a listed folder may be gone when its turn comes."""
    for part in ("all_1_1_0", "all_2_2_0", "delete_tmp_all_1_1_0"):
        (tmp_path / part / "inner.proj").mkdir(parents=True)
        (tmp_path / part / "data.bin").write_bytes(WHO.encode())
        (tmp_path / part / "inner.proj/data.bin").write_bytes(b"nobody")

    class Server:
        def select(self, sql: str) -> list[list[str]]:
            return [[str(tmp_path), str(tmp_path / "never")]]

    listed = os.scandir

    def scandir(folder: str) -> Any:
        if str(folder).endswith("delete_tmp_all_1_1_0"):
            shutil.rmtree(folder)
        return listed(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    found = search_files(Server(), [WHO.encode()], {})  # type: ignore[arg-type]
    assert found.hits == [str(tmp_path / part / "data.bin") for part in ("all_1_1_0", "all_2_2_0")]
    assert (found.files, found.unread) == (4, [])


def test_files_are_unpacked_block_by_block() -> None:
    import struct

    import lz4.block
    import zstandard

    def block(method: int, packed: bytes, size: int) -> bytes:
        return b"\0" * 16 + struct.pack("<BII", method, len(packed) + 9, size) + packed

    text = b"did:plc:abc12 " * 50
    lz4_block = block(0x82, lz4.block.compress(text, store_size=False), len(text))
    zstd_block = block(0x90, zstandard.ZstdCompressor().compress(text), len(text))
    several = block(0x91, b"\x02\x92\x82" + lz4_block[16:], len(text))
    assert b"".join(unpacked(lz4_block + zstd_block + several + block(2, text, len(text)))) == text * 4
    assert b"".join(unpacked(b"a raw file")) == b"a raw file"
    assert b"".join(unpacked(b"")) == b""
    with pytest.raises(ValueError, match="0x77"):
        list(unpacked(block(0x77, text, len(text))))

"""Frames of Bluesky become events: each kind, each part of a post, what is taken back, what is refused and why."""

import copy
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes_bluesky import (
    LIKE,
    POST,
    REPOST,
    START,
    V1,
    account,
    clock,
    commit,
    delete,
    did,
    events_of,
    facets,
    like,
    open_source,
    post,
    ref,
    reply,
    repost,
    uri,
)
from jetstream_server import as_v2

from producers.bluesky.frame_mapper import FrameMapper
from producers.bluesky.jetstream.frames import Frame, FrameError, parse_frame
from producers.bluesky.mapping import Created, Deleted, Skip, map_commit
from producers.bluesky.record_store import RecordStore
from producers.bluesky.source import BlueskyPolicy
from producers.bluesky.stream_filter import StreamFilter
from producers.source import BadInput, SourceRecord
from schemas.events import parse_event

ANA, BEN = uri("ana", POST, "p1"), uri("ben", POST, "p2")


def one(folder: Path, *frames: Any) -> dict[str, Any]:
    """The only event of some frames."""
    [event] = events_of(open_source(folder, frames))
    return event


def test_a_like_is_a_like_of_the_post_it_names(tmp_path: Path) -> None:
    assert one(tmp_path, like("cem", "l1", ANA, at=5)) == {
        "event_id": uri("cem", LIKE, "l1"),
        "kind": "like",
        "post_id": ANA,
        "actor_id": did("cem"),
        "occurred_at": "2026-07-04T14:38:12.000000Z",
        "channel": "bluesky",
    }


@pytest.mark.parametrize("make", [like, repost])
def test_the_repost_through_which_somebody_saw_a_post_is_the_parent(tmp_path: Path, make: Any) -> None:
    through = uri("ben", REPOST, "r1")
    assert one(tmp_path, make("cem", "x1", ANA, via=through))["parent_id"] == through
    assert "parent_id" not in one(tmp_path, make("cem", "x1", ANA, via=uri("ben", POST, "r1")))
    assert "parent_id" not in one(tmp_path, make("cem", "x1", ANA, via="at://ben.example/app.bsky.feed.repost/r1"))


def test_a_repost_is_no_parent_of_itself(tmp_path: Path) -> None:
    assert "parent_id" not in one(tmp_path, repost("cem", "r1", ANA, via=uri("cem", REPOST, "r1")))


def test_likes_of_feeds_and_labelers_are_no_events(tmp_path: Path) -> None:
    source = open_source(
        tmp_path,
        [
            like("cem", "l1", uri("ana", "app.bsky.feed.generator", "cats")),
            like("cem", "l2", uri("ana", "app.bsky.labeler.service", "self")),
        ],
    )
    assert list(source.items()) == []
    assert source.notes == {"frames": 2, "skipped_subject": 2}


def test_a_post_has_its_address_tags_mentions_and_links(tmp_path: Path) -> None:
    frame = post(
        "ana",
        "p1",
        at=9,
        tags=["Coffee", "#tea"],
        facets=facets(("tag", "Coffee"), ("tag", "＃Milk"), ("mention", did("ben")), ("link", "https://a.example/1")),
        embed={
            "$type": "app.bsky.embed.external",
            "external": {"uri": "https://b.example/2", "title": "", "description": ""},
        },
    )
    assert one(tmp_path, frame) == {
        "event_id": ANA,
        "kind": "post",
        "post_id": ANA,
        "actor_id": did("ana"),
        "occurred_at": "2026-07-04T14:38:16.000000Z",
        "channel": "bluesky",
        "url": "https://bsky.app/profile/did:plc:ana/post/p1",
        "hashtags": ["Coffee", "Milk", "tea"],
        "mentions": [did("ben")],
        "links": ["https://a.example/1", "https://b.example/2"],
    }


def test_a_reply_is_a_comment_of_the_root(tmp_path: Path) -> None:
    first = one(tmp_path, reply("ben", "c1", root=ANA, parent=ANA))
    assert (first["kind"], first["post_id"], first["event_id"]) == ("comment", ANA, uri("ben", POST, "c1"))
    assert "parent_id" not in first, "an answer to the post itself has no parent"
    assert first["url"] == "https://bsky.app/profile/did:plc:ben/post/c1"
    second = one(tmp_path, reply("cem", "c2", root=ANA, parent=uri("ben", POST, "c1"), facets=facets(("tag", "x"))))
    assert (second["parent_id"], second["hashtags"]) == (uri("ben", POST, "c1"), ["x"])
    assert "links" not in second, "links are a field of posts alone"
    assert "parent_id" not in one(tmp_path, reply("cem", "c3", root=ANA, parent=uri("cem", POST, "c3")))


QUOTES = [
    {"$type": "app.bsky.embed.record", "record": ref(ANA)},
    {
        "$type": "app.bsky.embed.recordWithMedia",
        "record": {"$type": "app.bsky.embed.record", "record": ref(ANA)},
        "media": {"$type": "app.bsky.embed.external", "external": {"uri": "https://m.example"}},
    },
]


@pytest.mark.parametrize("embed", QUOTES)
def test_a_quote_is_a_post_and_a_share_of_the_quoted_post(tmp_path: Path, embed: dict[str, Any]) -> None:
    own, share = events_of(open_source(tmp_path, [post("ben", "p2", embed=embed, tags=["x"])]))
    assert (own["kind"], own["post_id"], own["quotes"]) == ("post", BEN, ANA)
    assert own.get("links", []) == (["https://m.example"] if "media" in embed else [])
    assert share == {
        "event_id": BEN,
        "kind": "share",
        "post_id": ANA,
        "actor_id": did("ben"),
        "occurred_at": own["occurred_at"],
        "channel": "bluesky",
        "url": "https://bsky.app/profile/did:plc:ben/post/p2",
    }


def test_a_reply_that_quotes_is_a_comment_and_a_share(tmp_path: Path) -> None:
    frame = reply("cem", "c1", root=BEN, parent=BEN, embed=QUOTES[0])
    comment, share = events_of(open_source(tmp_path, [frame]))
    assert (comment["kind"], comment["post_id"], share["kind"], share["post_id"]) == ("comment", BEN, "share", ANA)
    assert "quotes" not in comment


def test_a_quoted_list_or_feed_is_no_share(tmp_path: Path) -> None:
    embed = {"$type": "app.bsky.embed.record", "record": ref(uri("ana", "app.bsky.graph.list", "l"))}
    assert one(tmp_path, post("ben", "p2", embed=embed))["kind"] == "post"


@pytest.mark.parametrize(
    ("claim", "seconds"),
    [
        (clock(-3), -3),
        (clock(3), 0),
        ("2036-01-01T00:00:00Z", 0),
        (clock(-86_400), -86_400),
        (clock(-86_401), 0),
        ("1970-01-01T00:00:00Z", 0),
        ("0001-01-01T00:00:00+14:00", 0),
        ("2026-07-04T16:38:06.5+02:00", -1.5),
        ("2026-07-04T14:38:06", 0),
        ("yesterday", 0),
        (17, 0),
        (None, 0),
    ],
)
def test_the_time_of_a_client_is_bounded_by_the_servers(tmp_path: Path, claim: Any, seconds: float) -> None:
    frame = like("cem", "l1", ANA)
    frame["commit"]["record"]["createdAt"] = claim
    event = parse_event(json.dumps(one(tmp_path, frame)).encode())
    assert event["occurred_at"].timestamp() == START / 1_000_000 + seconds


RECORDS = [
    like("cem", "x", ANA, at=1),
    repost("cem", "x", ANA, at=2),
    post("cem", "x", at=3),
    reply("cem", "x", ANA, BEN, at=4),
    post("cem", "x", at=5, embed=QUOTES[0]),
    reply("cem", "x", BEN, BEN, at=6, embed=QUOTES[0]),
]


@pytest.mark.parametrize("is_saved", [False, True])
@pytest.mark.parametrize("frame", RECORDS)
def test_a_delete_takes_back_all_that_the_record_was(tmp_path: Path, frame: dict[str, Any], is_saved: bool) -> None:
    gone = delete("cem", frame["commit"]["collection"], "x", at=20)
    if is_saved:
        first = open_source(tmp_path, [frame])
        made = events_of(first)
        first.save_position()
        first.close()
        taken = events_of(open_source(tmp_path, [gone]))
    else:
        everything = events_of(open_source(tmp_path, [frame, gone]))
        made, taken = everything[: len(everything) // 2], everything[len(everything) // 2 :]
    assert taken == [
        {
            "event_id": event["event_id"] + "#undo",
            "kind": event["kind"],
            "action": "retract",
            "target_id": event["event_id"],
            "post_id": event["post_id"],
            "actor_id": did("cem"),
            "occurred_at": "2026-07-04T14:38:28.000000Z",
            "channel": "bluesky",
        }
        for event in made
    ]
    assert made


def test_a_delete_of_an_unknown_record_is_counted(tmp_path: Path) -> None:
    source = open_source(tmp_path, [delete("cem", LIKE, "l1"), delete("cem", POST, "l1"), like("cem", "l2", ANA)])
    assert len(events_of(source)) == 1
    assert source.notes["unresolved_deletes"] == 2


@pytest.mark.parametrize("gone", [delete("cem", LIKE, "l1", at=9), account("cem", "deleted", at=9)])
def test_a_delete_that_comes_before_its_record_takes_it_back_all_the_same(tmp_path: Path, gone: dict[str, Any]) -> None:
    made, taken = events_of(open_source(tmp_path, [gone, like("cem", "l1", ANA, at=7)]))
    assert (made["event_id"], taken["target_id"]) == (uri("cem", LIKE, "l1"),) * 2
    assert taken["occurred_at"] == "2026-07-04T14:38:17.000000Z"
    # What is made after the delete was not meant by it.
    assert len(events_of(open_source(tmp_path, [gone, like("cem", "l1", ANA, at=10)]))) == 1


def test_a_deleted_account_takes_back_all_that_it_did(tmp_path: Path) -> None:
    first = open_source(tmp_path, [like("cem", f"l{n}", ANA, at=n) for n in range(2500)])
    assert len(events_of(first)) == 2500
    first.save_position()
    first.close()
    later = [
        like("cem", "new", BEN, at=3000),
        post("cem", "p9", at=3001, embed=QUOTES[0]),
        like("dan", "l1", ANA, at=3002),
        account("cem", "deleted", at=3003),
    ]
    events = events_of(open_source(tmp_path, later))
    taken = [event for event in events if event.get("action") == "retract"]
    assert len(taken) == 2500 + 1 + 2
    assert len({(event["kind"], event["target_id"]) for event in taken}) == len(taken)
    assert {event["actor_id"] for event in taken} == {did("cem")}


def test_a_deleted_account_of_which_nothing_is_known_is_counted(tmp_path: Path) -> None:
    source = open_source(tmp_path, [like("cem", "l1", ANA), account("dan", "deleted", 1), account("cem", "deleted", 2)])
    assert len(events_of(source)) == 2
    assert (source.notes["deleted_accounts"], source.notes["unresolved_accounts"]) == (2, 1)


@pytest.mark.parametrize("status", [None, "takendown", "suspended", "deactivated", "desynchronized", "throttled", "x"])
def test_an_account_that_may_come_back_keeps_its_records(tmp_path: Path, status: str | None) -> None:
    source = open_source(tmp_path, [like("cem", "l1", ANA), account("cem", status, at=1)])
    assert len(events_of(source)) == 1
    names = {None: "active", "x": "inactive"}
    assert source.notes[f"skipped_account_{names.get(status, status)}"] == 1


def test_other_kinds_collections_and_updates_are_counted(tmp_path: Path) -> None:
    identity = {"did": did("cem"), "time_us": START, "kind": "identity", "identity": {}}
    frames = [
        identity,
        identity | {"kind": "sync"},
        identity | {"kind": "dance"},
        commit("cem", "app.bsky.graph.follow", "f", {"subject": did("ana")}),
        delete("cem", "app.bsky.graph.follow", "f"),
        commit("cem", POST, "p", {"text": "edited"}, operation="update"),
    ]
    source = open_source(tmp_path, frames)
    assert list(source.items()) == []
    assert source.notes == {
        "frames": 6,
        "skipped_identity": 1,
        "skipped_sync": 1,
        "skipped_other_kind": 1,
        "skipped_collection": 2,
        "skipped_update": 1,
    }


def without(frame: dict[str, Any], *path: str) -> dict[str, Any]:
    changed = copy.deepcopy(frame)
    fields = changed
    for name in path[:-1]:
        fields = fields[name]
    del fields[path[-1]]
    return changed


FLAWED = [
    (b"", ""),
    (b"{", ""),
    (b"\xff\xfe", ""),
    (b'"text"', ""),
    (b"[]", ""),
    (json.dumps(like("cem", "l1", ANA)).replace("did:plc:cem", "\\\\ud800").encode(), "did"),
    (without(like("cem", "l1", ANA), "did"), "did"),
    (without(like("cem", "l1", ANA), "kind"), "kind"),
    (without(like("cem", "l1", ANA), "time_us"), "time_us"),
    (like("cem", "l1", ANA) | {"time_us": 1_783_175_888}, "time_us"),
    (like("cem", "l1", ANA) | {"time_us": 10**30}, "time_us"),
    (like("cem", "l1", ANA) | {"time_us": True}, "time_us"),
    (like("cem", "l1", ANA) | {"did": "cem"}, "did"),
    (like("cem", "l1", ANA) | {"commit": None}, "commit"),
    (without(like("cem", "l1", ANA), "commit", "collection"), "commit.collection"),
    (without(like("cem", "l1", ANA), "commit", "operation"), "commit.operation"),
    (commit("cem", LIKE, "l1", {}, operation="upsert"), "commit.operation"),
    (like("cem", "a/b", ANA), "commit.rkey"),
    (like("cem", "l" * 600, ANA), "commit.rkey"),
    (without(like("cem", "l1", ANA), "commit", "record"), "commit.record"),
    (without(like("cem", "l1", ANA), "commit", "record", "subject"), "commit.record.subject"),
    (like("cem", "l1", "at://ana.example/app.bsky.feed.post/p1"), "commit.record.subject.uri"),
    (like("cem", "l1", ANA + "x" * 600), "commit.record.subject.uri"),
    (post("cem", "p", reply={"root": ref(ANA)}), "commit.record.reply.parent"),
    (post("cem", "p", reply={"parent": ref(ANA), "root": {"uri": 3}}), "commit.record.reply.root.uri"),
    (post("cem", "p", reply="yes"), "commit.record.reply"),
    (without(account("cem", "deleted"), "account", "active"), "account.active"),
]


@pytest.mark.parametrize(("frame", "field"), FLAWED, ids=lambda value: str(value)[:20])
def test_a_frame_that_cannot_be_mapped_names_its_flaw_and_keeps_its_bytes(
    tmp_path: Path, frame: Any, field: str
) -> None:
    raw = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
    source = open_source(tmp_path, [raw, like("cem", "ok", ANA)])
    bad, good = source.items()
    assert isinstance(bad, BadInput)
    assert isinstance(good, SourceRecord)
    assert (bad.value, bad.field) == (raw, field)
    assert bad.place.startswith(V1.url)
    assert bad.reason.startswith(f"{field}: " if field else "not ")
    assert len(bad.reason) > len(field) + 8
    assert source.notes["dead_frames"] == 1


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        ({"facets": "x"}, {}),
        ({"facets": [None, {"features": 3}, {"features": [None, {"$type": []}]}]}, {}),
        ({"tags": ["", "a\0b", "x" * 257, 7, "ok", "#"]}, {"hashtags": ["ok"]}),
        ({"tags": [f"t{n}" for n in range(300)]}, {"hashtags": [f"t{n}" for n in range(64)]}),
        ({"facets": facets(("mention", "ben.example"), ("link", "x" * 2049))}, {}),
        ({"embed": {"$type": "app.bsky.embed.record", "record": {"uri": "at://x"}}}, {}),
        ({"embed": {"$type": "app.bsky.embed.recordWithMedia", "record": None, "media": 1}}, {}),
        ({"embed": "x", "text": 7, "langs": {}}, {}),
    ],
)
def test_odd_parts_of_a_post_are_left_out_and_the_post_counts(
    tmp_path: Path, record: dict[str, Any], kept: dict[str, Any]
) -> None:
    event = one(tmp_path, post("ana", "p1", **record))
    assert {name: event[name] for name in ("hashtags", "mentions", "links", "quotes") if name in event} == kept
    parse_event(json.dumps(event).encode())


def test_frames_of_both_versions_give_the_same_events() -> None:
    for number, frame in enumerate([*RECORDS, delete("cem", LIKE, "x"), account("cem", "deleted")]):
        first = parse_frame("v1", json.dumps(frame).encode())
        second = parse_frame("v2", json.dumps(as_v2(frame, number)).encode())
        assert isinstance(first, Frame)
        assert isinstance(second, Frame)
        assert (first.did, first.time_us, first.kind) == (second.did, second.time_us, second.kind)
        assert (first.cursor, second.cursor) == (frame["time_us"], number)
        if first.kind == "commit":
            assert map_commit(first) == map_commit(second)
        else:
            assert first.body == second.body


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        ({"$type": "note"}, "$type"),
        ({"$type": "message"}, "payload"),
        ({"$type": "error"}, "error"),
        ({"$type": "message", "payload": {"$type": "x#commit"}}, "payload.seq"),
        ({"$type": "message", "payload": {"$type": "x#commit", "seq": 10**15}}, "payload.seq"),
        ({"$type": "message", "payload": {"$type": "x#commit", "seq": 3, "time": "noon"}}, "payload.time"),
        ({"$type": "message", "payload": {"$type": "x#info"}}, "payload.name"),
        (like("cem", "l1", ANA), "$type"),
    ],
)
def test_a_flawed_frame_of_v2_names_its_flaw(frame: dict[str, Any], field: str) -> None:
    with pytest.raises(FrameError) as caught:
        parse_frame("v2", json.dumps(frame).encode())
    assert caught.value.field == field


def filtered(folder: Path, frames: list[dict[str, Any]], **names: tuple[str, ...]) -> list[str]:
    """The ids of the events that pass."""
    wanted = StreamFilter.of(names.get("authors", ()), names.get("tags", ()), names.get("mentions", ()))
    events = events_of(open_source(folder, frames, BlueskyPolicy(wanted)))
    return [event["event_id"].rpartition("/")[2] + ":" + event["kind"] for event in events]


def test_filters(tmp_path: Path) -> None:
    frames = [
        post("ana", "p1", tags=["Café"]),
        post("ben", "p2", facets=facets(("mention", did("ana")))),
        like("cem", "l1", ANA),
        like("cem", "l2", BEN),
        reply("cem", "c1", root=ANA, parent=ANA),
        reply("cem", "c2", root=BEN, parent=BEN, tags=["CAFE\u0301"]),
        like("dan", "l3", uri("cem", POST, "c1")),
        repost("dan", "r1", uri("nil", POST, "other")),
        post("dan", "p3", embed=QUOTES[0]),
        delete("cem", LIKE, "l1"),
        delete("cem", LIKE, "l2"),
    ]
    of_ana = ["p1:post", "l1:like", "c1:comment", "p3:share", "l1#undo:like"]
    assert filtered(tmp_path, frames, authors=(did("ana"),)) == of_ana
    with_tag = ["p1:post", "l1:like", "c1:comment", "c2:comment", "l3:like", "p3:share", "l1#undo:like"]
    assert filtered(tmp_path, frames, tags=("#café",)) == with_tag
    assert filtered(tmp_path, frames, mentions=(did("ana"),)) == ["p2:post", "l2:like", "c2:comment", "l2#undo:like"]
    assert filtered(tmp_path, frames, authors=(did("ben"),), tags=("cafe\u0301",)) == ["c2:comment"]
    assert filtered(tmp_path, frames, tags=("tea",)) == []
    assert len(filtered(tmp_path, frames)) == len(frames) + 1


def mutated(frame: bytes, chance: random.Random) -> bytes:
    """A frame with some flaws: of bytes, or of values anywhere in its JSON."""
    if chance.random() < 0.2:
        value = bytearray(frame)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(value) + 1)
            match chance.randrange(3):
                case 0:
                    value[place : place + chance.randint(1, 30)] = b""
                case 1:
                    value[place:place] = bytes([chance.randrange(256)]) * chance.randint(1, 3)
                case _:
                    value[place : place + 1] = chance.choice([b'"', b"{", b"]", b"\\ud800", b"\\u0000", b"9" * 40])
        return bytes(value)
    fields = json.loads(frame)
    for _ in range(chance.randint(1, 2)):
        _spoil(fields, chance)
    return json.dumps(fields).encode("utf-8", "replace")


STRANGE: list[Any] = [
    *(None, True, 0, -1, 10**40, 1.5, float("nan"), "", "x", "\0", "a" * 5000, [], {}, [[]], [{}], {"uri": ANA}),
    *(ANA, "at://", "did:plc:", "#", "2026-01-01", "app.bsky.feed.post", "app.bsky.embed.record", ["#", "\0", 3]),
]


def _spoil(fields: Any, chance: random.Random) -> None:
    """Changes a random place, as likely deep inside a record as in the head of its frame."""
    places = list(_places(fields))
    if places:
        container, key = chance.choice(places)
        if chance.random() < 0.3:
            del container[key]
        else:
            container[key] = copy.deepcopy(chance.choice(STRANGE))


def _places(fields: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(fields) if isinstance(fields, dict) else range(len(fields)):
        yield fields, key
        if isinstance(fields[key], dict | list):
            yield from _places(fields[key])


def fuzz(folder: Path, frames: list[bytes], rounds: int, seed: int) -> dict[str, int]:
    """Maps mutated frames of both versions, and counts outcomes; every other outcome is an error of the test."""
    chance = random.Random(seed)
    store = RecordStore(folder / "fuzz.sqlite")
    mapper = FrameMapper(store, StreamFilter(), Counter())
    outcomes = {"events": 0, "skips": 0, "errors": 0}
    both = [("v1", frame) for frame in frames]
    both += [("v2", json.dumps(as_v2(json.loads(frame), n)).encode()) for n, frame in enumerate(frames)]
    for number in range(rounds):
        version, frame = both[number % len(both)]
        value = mutated(frame, chance)
        try:
            parsed = parse_frame(version, value)  # type: ignore[arg-type]
            records = list(mapper.map(parsed)) if isinstance(parsed, Frame) else []
        except FrameError:
            outcomes["errors"] += 1
            continue
        for record in records:
            event = parse_event(record.value or b"")
            assert (record.kind, record.key, record.occurred) == (
                event["kind"],
                event["post_id"].encode(),
                event["occurred_at"],
            )
            assert len(record.value or b"") < 400_000
        outcomes["events" if records else "skips"] += 1
    store.save(None)
    store.close()
    return outcomes


def test_no_mutation_of_a_frame_breaks_the_mapper(tmp_path: Path) -> None:
    frames = [
        *RECORDS,
        delete("cem", LIKE, "x"),
        account("cem", "deleted"),
        account("cem", None),
        post(
            "ana", "p1", facets=facets(("tag", "a"), ("mention", did("ben")), ("link", "https://a.example")), tags=["b"]
        ),
        repost("dan", "r", ANA, via=uri("ben", REPOST, "r1")),
    ]
    outcomes = fuzz(tmp_path, [json.dumps(frame).encode() for frame in frames], 4000, seed=3)
    assert min(outcomes.values()) > 200, outcomes


def test_what_a_commit_is_is_one_of_three() -> None:
    kinds = {type(map_commit(parse_frame("v1", json.dumps(frame).encode()))) for frame in RECORDS}  # type: ignore[arg-type]
    kinds.add(type(map_commit(parse_frame("v1", json.dumps(delete("cem", LIKE, "x")).encode()))))  # type: ignore[arg-type]
    kinds.add(type(map_commit(parse_frame("v1", json.dumps(delete("cem", "a.b.c", "x")).encode()))))  # type: ignore[arg-type]
    assert kinds == {Created, Deleted, Skip}

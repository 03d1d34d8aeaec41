"""Bluesky by hand: frames of v1, and a stream of messages without a network."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from producers.bluesky.jetstream.connection import StreamMessage
from producers.bluesky.jetstream.endpoints import JetstreamEndpoint, parse_endpoint
from producers.bluesky.jetstream.stream_position import Position, resume_cursor
from producers.bluesky.record_store import RecordStore
from producers.bluesky.source import BlueskyPolicy, BlueskySource
from producers.source import Source, SourceRecord

LIKE, REPOST, POST = "app.bsky.feed.like", "app.bsky.feed.repost", "app.bsky.feed.post"
START = 1_783_175_888_000_000
"""2026-07-04T14:38:08Z in microseconds."""

V1 = parse_endpoint("wss://jetstream.example/subscribe")
V2 = parse_endpoint("wss://jetstream.example/xrpc/network.bsky.jetstream.subscribeEvents")


def did(name: str) -> str:
    return f"did:plc:{name}"


def uri(name: str, collection: str, rkey: str) -> str:
    return f"at://{did(name)}/{collection}/{rkey}"


def ref(address: str) -> dict[str, str]:
    return {"uri": address, "cid": "bafyreid"}


def commit(
    name: str, collection: str, rkey: str, record: Any, at: int = 0, operation: str = "create"
) -> dict[str, Any]:
    """A frame of the second `at` after START; the client's time is 1 s before the server's."""
    body: dict[str, Any] = {"rev": "r", "operation": operation, "collection": collection, "rkey": rkey}
    if record is not None:
        body |= {"record": {"$type": collection, "createdAt": clock(at - 1)} | record, "cid": "bafyreid"}
    return {"did": did(name), "time_us": START + at * 1_000_000, "kind": "commit", "commit": body}


def clock(at: float) -> str:
    """The second `at` after START as the real records have it."""
    seconds = START // 1_000_000 + at
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".000Z"


def like(name: str, rkey: str, post: str, at: int = 0, via: str | None = None) -> dict[str, Any]:
    return commit(name, LIKE, rkey, {"subject": ref(post)} | ({"via": ref(via)} if via else {}), at)


def repost(name: str, rkey: str, post: str, at: int = 0, via: str | None = None) -> dict[str, Any]:
    return commit(name, REPOST, rkey, {"subject": ref(post)} | ({"via": ref(via)} if via else {}), at)


def post(name: str, rkey: str, at: int = 0, **fields: Any) -> dict[str, Any]:
    return commit(name, POST, rkey, {"text": "hello"} | fields, at)


def reply(name: str, rkey: str, root: str, parent: str, at: int = 0, **fields: Any) -> dict[str, Any]:
    return post(name, rkey, at, reply={"root": ref(root), "parent": ref(parent)}, **fields)


def delete(name: str, collection: str, rkey: str, at: int = 0) -> dict[str, Any]:
    return commit(name, collection, rkey, None, at, "delete")


def account(name: str, status: str | None, at: int = 0) -> dict[str, Any]:
    body = {"did": did(name), "seq": 1, "time": clock(at), "active": status is None}
    return {
        "did": did(name),
        "time_us": START + at * 1_000_000,
        "kind": "account",
        "account": body | ({"status": status} if status else {}),
    }


def facets(*features: tuple[str, str]) -> list[dict[str, Any]]:
    """Facets of (tag | mention | link, value)."""
    names = {"tag": "tag", "mention": "did", "link": "uri"}
    return [
        {
            "index": {"byteStart": 0, "byteEnd": 1},
            "features": [{"$type": f"app.bsky.richtext.facet#{kind}", names[kind]: value}],
        }
        for kind, value in features
    ]


class FrameList:
    """A stream of given frames from the position on, which then ends. Text and bytes come as they are, always."""

    def __init__(self, frames: Sequence[Any], endpoint: JetstreamEndpoint = V1) -> None:
        self.frames, self.endpoint = frames, endpoint
        self.counts: Counter[str] = Counter()
        self.sessions, self.is_connected, self.trouble = 1, True, ""

    def messages(
        self, position: Callable[[], Position | None], is_over: Callable[[], bool]
    ) -> Iterator[StreamMessage | None]:
        cursor = resume_cursor(self.endpoint, position()) or 0
        for frame in self.frames:
            if is_over():
                return
            if isinstance(frame, dict):
                place = frame.get("time_us", frame.get("payload", {}).get("seq"))
                if isinstance(place, int) and place < cursor:
                    continue
                frame = json.dumps(frame)
            yield StreamMessage(self.endpoint, frame if isinstance(frame, bytes) else frame.encode())

    def decode(self, value: bytes) -> bytes:
        return value

    def note_progress(self) -> None: ...

    def end_session(self) -> None: ...


def open_source(folder: Path, frames: Sequence[Any], policy: BlueskyPolicy | None = None) -> BlueskySource:
    """A source of given frames, with its store in a folder."""
    return BlueskySource(FrameList(frames), lambda: RecordStore(folder / "bluesky.sqlite"), policy)


def events_of(source: Source) -> list[dict[str, Any]]:
    """The events that a source yields."""
    return [json.loads(item.value or b"") for item in source.items() if isinstance(item, SourceRecord)]

"""A Jetstream host on loopback: both protocol versions, filters, cursors, zstd, and every unkindness of real hosts.

Frames are given as JSON objects of v1 (`time_us`) or v2 (`payload.seq`); a session gets those from its cursor on, as
the real hosts do it. What a host was asked is in `requests`.
"""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import zstandard
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

METHOD = "network.bsky.jetstream.subscribeEvents"
TIME_CURSOR = 10**15


@dataclass
class Unkindness:
    """What goes wrong in one session. `cut_after`: so many frames, then half a frame and the end of the connection.
    `slow_after`: so many frames, then the error ConsumerTooSlow. `left_out`: numbers of frames of the session that do
    not come. `refuse`: status and body of an answer instead of a session."""

    cut_after: int | None = None
    slow_after: int | None = None
    left_out: frozenset[int] = frozenset()
    refuse: tuple[int, str] | None = None


@dataclass
class Host:
    """The behaviour of a host. `sessions`: what goes wrong in the first sessions, one after the other. `floor`: the
    least seq that it still has. `dictionary`: for zstd. `stays`: whether the connection stays when frames are out."""

    version: str = "v1"
    sessions: list[Unkindness] = field(default_factory=list)
    floor: int = 0
    floor_us: int = 0
    dictionary: zstandard.ZstdCompressionDict | None = None
    stays: bool = True
    frames_a_second: float | None = None


class JetstreamServer:
    """Serves frames while the `with` block runs."""

    def __init__(self, frames: Sequence[Any], host: Host | None = None, port: int = 0) -> None:
        self.frames, self.host, self._port = list(frames), host or Host(), port
        self.requests: list[dict[str, list[str]]] = []
        self.sent = 0
        self._over = threading.Event()

    @property
    def url(self) -> str:
        path = "/subscribe" if self.host.version == "v1" else f"/xrpc/{METHOD}"
        return f"ws://127.0.0.1:{self.port}{path}"

    @property
    def cursors(self) -> list[int | None]:
        """The cursor of each request."""
        return [int(request["cursor"][0]) if "cursor" in request else None for request in self.requests]

    def __enter__(self) -> "JetstreamServer":
        self._server = serve(
            self._session,
            "127.0.0.1",
            self._port,
            process_request=self._answer,
            subprotocols=None if self.host.version == "v1" else ["xrpc.v1.json"],  # type: ignore[list-item]
            select_subprotocol=_any_subprotocol,
            compression="deflate" if self.host.version == "v1" else None,
            ping_interval=None,
        )
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join(5)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers what is no WebSocket: a dictionary, or a refusal."""
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        if parts.path.endswith("getZstdDictionary"):
            if self.host.dictionary is None:
                return _response(400, b'{"error": "DictionaryNotFound"}')
            return _response(200, self.host.dictionary.as_bytes())
        self.requests.append(query)
        refusal = self._unkindness(len(self.requests) - 1).refuse
        if refusal is not None:
            return _response(*refusal)
        if self.host.version == "v2":
            return self._refuse_v2(query)
        if "compress" in query and "permessage-deflate" in request.headers.get("Sec-WebSocket-Extensions", ""):
            return _response(400, b"choose one compression scheme")
        return None

    def _refuse_v2(self, query: dict[str, list[str]]) -> Response | None:
        if any(name.startswith("wanted") for name in query):
            return _refusal("InvalidRequest", "wantedCollections is of v1; use collections")
        if "zstdDictionary" in query:
            current = self.host.dictionary.dict_id() if self.host.dictionary else 0
            if query["zstdDictionary"] != [str(current)]:
                return _refusal("UnknownZstdDictionary", f"unknown id; current dictionary id is {current}")
        cursor = int(query.get("cursor", ["0"])[0])
        if "cursor" in query and cursor < min(self.host.floor, TIME_CURSOR):
            said = f"subscribe: cursor too old: cursor {cursor} below lookback floor {self.host.floor}; re-backfill"
            return _refusal("CursorTooOld", said)
        return None

    def _unkindness(self, number: int) -> Unkindness:
        return self.host.sessions[number] if number < len(self.host.sessions) else Unkindness()

    def _session(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        query = parse_qs(urlsplit(connection.request.path).query)
        unkind = self._unkindness(len(self.requests) - 1)
        compress = self._compressor(query)

        def send(frame: Any) -> None:
            text = frame if isinstance(frame, str) else json.dumps(frame, separators=(",", ":"), ensure_ascii=False)
            connection.send(compress.compress(text.encode()) if compress else text)

        try:
            for notice in self._notices(query):
                send(notice)
            for number, frame in enumerate(self._wanted(query)):
                if number == unkind.cut_after:
                    _cut(connection)
                    return
                if number == unkind.slow_after:
                    send({"$type": "error", "error": "ConsumerTooSlow", "message": "read faster"})
                    self._over.wait(60)
                    return
                if number not in unkind.left_out:
                    send(frame)
                    self.sent += 1
                if self.host.frames_a_second is not None:
                    time.sleep(1 / self.host.frames_a_second)
            if self.host.stays:
                while not self._over.wait(0.05) and connection.state.name == "OPEN":
                    pass
        except ConnectionClosed:
            return

    def _notices(self, query: dict[str, list[str]]) -> Iterator[Any]:
        cursor = int(query.get("cursor", ["0"])[0])
        if self.host.version == "v2" and TIME_CURSOR <= cursor < self.host.floor_us:
            yield {
                "$type": "message",
                "payload": {"$type": f"{METHOD}#info", "name": "OutdatedCursor", "message": "resumed from the floor"},
            }

    def _wanted(self, query: dict[str, list[str]]) -> Iterator[Any]:
        """Yields the frames of a session; text is not JSON, and comes whatever was asked."""
        cursor = int(query["cursor"][0]) if "cursor" in query else 0
        collections = query.get("wantedCollections", []) + query.get("collections", [])
        dids = query.get("wantedDids", []) + query.get("dids", [])
        kinds = query.get("kinds")
        for frame in self.frames:
            if isinstance(frame, dict):
                fields = frame if self.host.version == "v1" else frame.get("payload", {})
                commit = fields.get("commit", fields)
                place = fields.get("time_us") if self.host.version == "v1" else fields.get("seq")
                if self.host.version == "v2" and cursor >= TIME_CURSOR:
                    place = _time_us(fields.get("time"))
                elif isinstance(place, int) and place < self.host.floor:
                    continue
                if isinstance(place, int) and place < cursor:
                    continue
                if kinds and fields.get("$type", "").rpartition("#")[2] not in kinds:
                    continue
                if dids and fields.get("did") not in dids:
                    continue
                if collections and commit.get("collection", collections[0]) not in collections:
                    continue
            yield frame

    def _compressor(self, query: dict[str, list[str]]) -> zstandard.ZstdCompressor | None:
        if self.host.dictionary is None or not ("compress" in query or "zstdDictionary" in query):
            return None
        return zstandard.ZstdCompressor(dict_data=self.host.dictionary)


def as_v2(frame: dict[str, Any], seq: int) -> dict[str, Any]:
    """Returns a frame of v1 as v2 has it."""
    at = datetime.fromtimestamp(frame["time_us"] // 1_000_000, UTC)
    time_text = f"{at:%Y-%m-%dT%H:%M:%S}.{frame['time_us'] % 1_000_000:06d}Z"
    kind = frame["kind"]
    body = dict(frame["commit"]) if kind == "commit" else {kind: frame[kind]}
    head = {"$type": f"{METHOD}#{kind}", "seq": seq, "did": frame["did"], "time": time_text}
    return {"$type": "message", "payload": head | body}


def _time_us(text: str | None) -> int | None:
    if text is None:
        return None
    at = datetime.fromisoformat(text)
    return int(at.replace(microsecond=0).timestamp()) * 1_000_000 + at.microsecond


def _cut(connection: ServerConnection) -> None:
    """Sends the head of a text frame of 500 bytes, a tenth of it, and ends the TCP connection."""
    connection.socket.sendall(b"\x81\x7e\x01\xf4" + b'{"did":"did:plc:' + b"a" * 34)
    time.sleep(0.05)
    connection.socket.close()


def _any_subprotocol(connection: ServerConnection, offered: Sequence[Any]) -> Any:
    return next(iter(offered), None)


def _response(status: int, body: bytes | str) -> Response:
    value = body if isinstance(body, bytes) else body.encode()
    headers = Headers({"Content-Length": str(len(value)), "Content-Type": "application/json", "Connection": "close"})
    return Response(status, "OK" if status == 200 else "No", headers, value)


def _refusal(name: str, message: str) -> Response:
    return _response(400, json.dumps({"error": name, "message": message}))

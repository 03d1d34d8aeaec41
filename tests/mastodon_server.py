"""A local server that answers as Mastodon's API does, also badly."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from local_http import QuietHandler, serving

JSON_TYPE = {"Content-Type": "application/json"}
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class MastodonWorld:
    """The statuses of a server, by id. `failures`: answers to give first, (status, body). `robots`: its robots.txt."""

    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[tuple[int, bytes]] = field(default_factory=list)
    robots: str = ""
    asked: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    knows_batches: bool = True
    stream: list[bytes] = field(default_factory=list)
    """What the public stream says, in order; a cut behind each item."""

    def write(self, author: str = "ana", answers: str | None = None, **fields: Any) -> str:
        """Adds a status and returns its id."""
        number = len(self.statuses) + 1 if not self.statuses else max(map(int, self.statuses)) + 1
        status_id = str(number)
        uri = f"https://server.example/users/{author}/statuses/{status_id}"
        self.statuses[status_id] = {
            "id": status_id,
            "uri": uri,
            "url": f"https://server.example/@{author}/{status_id}",
            "created_at": (START + timedelta(minutes=number)).isoformat().replace("+00:00", "Z"),
            "account": {
                "id": author,
                "acct": author,
                "url": f"https://server.example/@{author}",
                "uri": f"https://server.example/users/{author}",
                "followers_count": 10,
            },
            "in_reply_to_id": answers,
            "visibility": "public",
            "reblog": None,
            "tags": [],
            "mentions": [],
            "card": None,
            "favourites_count": 0,
            "reblogs_count": 0,
            "replies_count": 0,
        } | fields
        if answers in self.statuses:
            self.statuses[answers]["replies_count"] += 1
        return status_id

    def answer(self, path: str, query: dict[str, list[str]]) -> Any:
        """Returns the content of an answer; None where there is nothing."""
        parts = path.removeprefix("/api/v1/").split("/")
        match parts:
            case ["timelines", *_] | ["accounts", _, "statuses"]:
                return self._page(parts, query)
            case ["accounts", "lookup"]:
                name = query["acct"][0]
                found = [s["account"] for s in self.statuses.values() if s["account"]["acct"] == name]
                return found[0] if found else None
            case ["statuses"]:
                ids = query.get("id[]", query.get("id", []))
                return [self.statuses[i] for i in ids if i in self.statuses] if self.knows_batches else None
            case ["statuses", status_id]:
                return self.statuses.get(status_id)
            case ["statuses", status_id, "context"]:
                return None if status_id not in self.statuses else self._context(status_id)
        return None

    def _page(self, parts: list[str], query: dict[str, list[str]]) -> list[dict[str, Any]]:
        found = list(self.statuses.values())
        if parts[0] == "accounts":
            found = [s for s in found if s["account"]["id"] == parts[1]]
        elif parts[1] == "tag":
            found = [s for s in found if any(tag["name"] == parts[2] for tag in s["tags"])]
        limit = int(query.get("limit", ["20"])[0])
        if "min_id" in query:
            found = [s for s in found if int(s["id"]) > int(query["min_id"][0])][:limit]
        return list(reversed(found[-limit:] if "min_id" not in query else found))

    def _context(self, status_id: str) -> dict[str, Any]:
        above = []
        at = self.statuses[status_id]["in_reply_to_id"]
        while at in self.statuses:
            above.insert(0, self.statuses[at])
            at = self.statuses[at]["in_reply_to_id"]
        below = [status_id]
        for other in self.statuses.values():
            if other["in_reply_to_id"] in below:
                below.append(other["id"])
        return {"ancestors": above, "descendants": [self.statuses[i] for i in below[1:]]}


@contextmanager
def mastodon_server(world: MastodonWorld) -> Iterator[str]:
    """Runs a server on loopback; yields its address."""

    class Handler(QuietHandler):
        def respond(self) -> None:
            url = urlsplit(self.path)
            world.asked.append(url.path)
            world.agents.add(self.headers["User-Agent"])
            if url.path == "/robots.txt":
                self.give(200, world.robots.encode(), {"Content-Type": "text/plain"})
            elif url.path.startswith(("/api/v1/instance", "/api/v2/instance")):
                urls = {"streaming": f"ws://{self.headers['Host']}"}
                instance = {"version": "4.4.0", "api_versions": {"mastodon": 6}, "configuration": {"urls": urls}}
                self.give(200, json.dumps(instance).encode(), JSON_TYPE)
            elif url.path.startswith("/api/v1/streaming"):
                self.give_stream(url.path)
            elif world.failures:
                self.give(*world.failures.pop(0), JSON_TYPE)
            else:
                content = world.answer(url.path, parse_qs(url.query))
                body = json.dumps({"error": "Record not found"} if content is None else content).encode()
                self.give(404 if content is None else 200, body, JSON_TYPE)

        def give_stream(self, path: str) -> None:
            """Says the next item of the stream and closes, as a server that is restarted does."""
            if path.endswith("/health"):
                self.give(200, b"OK", {"Content-Type": "text/plain"})
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b":)\n\n:thump\n\n" + (world.stream.pop(0) if world.stream else b""))

    with serving(Handler) as address:
        yield address

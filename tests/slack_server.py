"""A stand-in for Slack's Web API on loopback: a channel with threads and files. Refuses what Slack's documentation
forbids, and remembers what it refused (`flaws`), so that no test passes on a message that Slack would not take.

The limits are those of https://docs.slack.dev/reference/block-kit/blocks and /reference/methods.
"""

import json
import re
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

TOKEN = "xoxb-hunter2-hunter2"
CHANNEL = "C0123456789"
LIMITS = {"header": 150, "section": 3_000, "field": 2_000, "context": 3_000}


class SlackServer:
    """`status`, `seconds`, `answer_headers`: of every answer. `errors`: Slack's error by method. `lost`: methods
    that do their work, and whose answer never comes."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.files: dict[str, dict[str, Any]] = {}
        self.calls: Counter[str] = Counter()
        self.flaws: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.status, self.seconds, self.port = 200, 0.0, 0
        self.answer_headers: dict[str, str] = {}
        self.errors: dict[str, dict[str, str]] = {}
        self.lost: set[str] = set()
        self._server: ThreadingHTTPServer | None = None
        self._released = threading.Event()
        self._lock = threading.Lock()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def roots(self) -> list[dict[str, Any]]:
        return [message for message in self.messages if "thread_ts" not in message]

    def replies(self, root: dict[str, Any]) -> list[dict[str, Any]]:
        return [message for message in self.messages if message.get("thread_ts") == root["ts"]]

    def keys(self) -> list[str]:
        """The keys of all messages as they were posted, in order."""
        return [message["posted_as"] for message in self.messages if "posted_as" in message]

    def start(self) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                if server._released.wait(server.seconds):
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.headers.append(headers)
                method = self.path.rpartition("/")[2]
                server.calls[method] += 1
                answer = b""
                if server.status == 200:
                    with server._lock:
                        answer = server._answer(self.path, headers, body)
                    if method in server.lost:
                        return
                self.send_response(server.status)
                for name, value in server.answer_headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None: ...

            def handle(self) -> None:
                with suppress(OSError):
                    super().handle()

        class Server(ThreadingHTTPServer):
            request_queue_size = 100
            daemon_threads = True

        self._released.clear()
        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def kill(self) -> None:
        self._released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        if path.startswith("/api/upload/"):
            return self._take_file(path.rpartition("/")[2], headers, body)
        method = path.removeprefix("/api/")
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return _said({"ok": False, "error": "invalid_auth"})
        if method in self.errors:
            return _said({"ok": False, **self.errors[method]})
        if headers["content-type"].startswith("application/json"):
            content = json.loads(body)
        else:
            content = {name: values[0] for name, values in parse_qs(body.decode(), strict_parsing=True).items()}
        methods = {
            "chat.postMessage": self._post_message,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.replies": self._replies_of,
            "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._complete_upload,
        }
        answer = methods[method](content)
        if not answer["ok"] and answer["error"] != "message_not_found":
            self.flaws.append(f"{method}: {answer['error']}")
        return _said(answer)

    def _post_message(self, content: dict[str, Any]) -> dict[str, Any]:
        if content.get("channel") != CHANNEL:
            return _refused("channel_not_found")
        if flaw := flaw_of(content):
            return _refused(flaw)
        if (thread := content.get("thread_ts")) and not any(root["ts"] == thread for root in self.roots):
            return _refused("thread_not_found")
        message = {**content, "ts": f"{time.time():.3f}{len(self.messages):03d}"}
        message["posted_as"] = content["metadata"]["event_payload"]["key"]
        self.messages.append(message)
        return {"ok": True, "channel": CHANNEL, "ts": message["ts"], "message": {}}

    def _update(self, content: dict[str, Any]) -> dict[str, Any]:
        found = [message for message in self.messages if message["ts"] == content.get("ts")]
        if content.get("channel") != CHANNEL or not found:
            return {"ok": False, "error": "message_not_found"}
        if flaw := flaw_of(content):
            return _refused(flaw)
        found[0].update(content)
        return {"ok": True, "channel": CHANNEL, "ts": content["ts"]}

    def _history(self, content: dict[str, Any]) -> dict[str, Any]:
        return self._listed(self.roots, content)

    def _replies_of(self, content: dict[str, Any]) -> dict[str, Any]:
        root = [message for message in self.roots if message["ts"] == content.get("ts")]
        return self._listed(root + self.replies(root[0]), content) if root else _refused("thread_not_found")

    def _listed(self, messages: list[dict[str, Any]], content: dict[str, Any]) -> dict[str, Any]:
        if content.get("channel") != CHANNEL or not 1 <= int(content.get("limit", 100)) <= 999:
            return _refused("invalid_arguments")
        shown = [each for each in messages if float(each["ts"]) > float(content.get("oldest", 0))]
        if content.get("include_all_metadata") != "true":
            shown = [{name: value for name, value in each.items() if name != "metadata"} for each in shown]
        return {"ok": True, "messages": list(reversed(shown))[: int(content.get("limit", 100))]}

    def _upload_url(self, content: dict[str, Any]) -> dict[str, Any]:
        if not content.get("filename") or int(content.get("length", 0)) <= 0:
            return _refused("invalid_arguments")
        if len(content.get("alt_txt", "")) > 1_000:
            return _refused("alt_txt_too_large")
        name = f"F{len(self.files):09d}"
        self.files[name] = {"name": content["filename"], "length": int(content["length"])}
        return {"ok": True, "file_id": name, "upload_url": f"{self.url}/upload/{name}"}

    def _take_file(self, name: str, headers: dict[str, str], body: bytes) -> bytes:
        if "authorization" in headers:
            self.flaws.append("upload: the token went to an address of uploads")
        if len(body) != self.files[name]["length"] or not body.startswith(b"\x89PNG"):
            self.flaws.append("upload: not the announced PNG")
        self.files[name]["content"] = body
        return b"OK"

    def _complete_upload(self, content: dict[str, Any]) -> dict[str, Any]:
        files = content.get("files")
        if not isinstance(files, list) or not files or content.get("channel_id") != CHANNEL:
            return _refused("invalid_arguments")
        if any("content" not in self.files.get(file["id"], {}) for file in files):
            return _refused("file_not_found")
        if not any(root["ts"] == content.get("thread_ts") for root in self.roots):
            return _refused("thread_not_found")
        shown = [{"id": file["id"], "name": self.files[file["id"]]["name"], "title": file["title"]} for file in files]
        ts = f"{time.time():.3f}{len(self.messages):03d}"
        self.messages.append({"ts": ts, "thread_ts": content["thread_ts"], "files": shown})
        return {"ok": True, "files": shown}


def flaw_of(content: dict[str, Any]) -> str:
    """Slack's error about text, blocks and metadata of a message; empty where there is none."""
    text, blocks, metadata = content.get("text"), content.get("blocks"), content.get("metadata")
    if not isinstance(text, str) or not 0 < len(text) <= 4_000:
        return "msg_too_long"
    if not isinstance(blocks, list) or not 0 < len(blocks) <= 50:
        return "invalid_blocks"
    if content.get("link_names") or content.get("parse", "none") != "none":
        return "names_would_be_links"
    if metadata is not None and (
        not re.fullmatch(r"[A-Za-z0-9_]+", metadata["event_type"]) or not isinstance(metadata["event_payload"], dict)
    ):
        return "metadata_must_be_sent_from_app"
    return next(("invalid_blocks" for block in blocks if not _is_block(block)), "")


def _is_block(block: dict[str, Any]) -> bool:
    if block["type"] == "header":
        return set(block) == {"type", "text"} and _is_text(block["text"], "plain_text", LIMITS["header"])
    if block["type"] == "section":
        fields = block.get("fields", [])
        has_text = "text" in block and _is_text(block["text"], "mrkdwn", LIMITS["section"])
        has_fields = 0 < len(fields) <= 10 and all(_is_text(field, "mrkdwn", LIMITS["field"]) for field in fields)
        return set(block) <= {"type", "text", "fields"} and (has_text or has_fields)
    if block["type"] == "context":
        elements = block["elements"]
        return 0 < len(elements) <= 10 and all(_is_text(each, "mrkdwn", LIMITS["context"]) for each in elements)
    return False


def _is_text(text: dict[str, Any], kind: str, limit: int) -> bool:
    allowed = {"type", "text", "verbatim"} if kind == "mrkdwn" else {"type", "text", "emoji"}
    return text["type"] == kind and set(text) <= allowed and 0 < len(text["text"]) <= limit


def _refused(error: str) -> dict[str, Any]:
    return {"ok": False, "error": error}


def _said(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode()

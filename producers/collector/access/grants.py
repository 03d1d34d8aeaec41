"""Access: finds the sender of a request by its key or its signature.

The keys file is read again when it has changed, so a key that is added or revoked counts within a second or two. A file
that cannot be read leaves the keys as they were.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from pipeline.errors import EngagementError
from pipeline.observability.outages import OutageLog
from producers.collector.access.keys_file import KeyEntry, hash_of, read_keys
from producers.collector.access.senders import ANYBODY, EventSender, SenderLimits, SenderLoad
from producers.collector.access.signatures import SignatureScheme
from producers.collector.refusals import RequestRefused

RELOAD_SECONDS: Final = 1.0
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="engagement"'}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AccessPolicy:
    """`keys`: the keys file, None: anybody may send. `limits`: of keys that name none. `token_in_query`: browsers'
    beacons, which cannot set headers, may send their key as ?token=."""

    keys: Path | None = None
    limits: SenderLimits = SenderLimits()  # noqa: RUF009  # frozen
    token_in_query: bool = False


class Access:
    """The keys of the collector, and the load of each sender."""

    def __init__(self, policy: AccessPolicy) -> None:
        """Reads the keys. Raises SettingsError."""
        self._policy = policy
        self._loads: dict[str, SenderLoad] = {}
        self._by_hash: dict[str, EventSender] = {}
        self._signers: list[tuple[EventSender, str]] = []
        self._stamp: tuple[int, int] | None = None
        self._looked = time.monotonic()
        self._outages = OutageLog(log)
        if policy.keys is not None:
            self._load(policy.keys)

    def by_key(self, scheme: SignatureScheme, headers: Mapping[bytes, bytes], query: bytes) -> EventSender | None:
        """Returns the sender of a request by the key; None for a signed request, whose body tells the sender.

        Raises RequestRefused for a request with neither.
        """
        if self._policy.keys is None:
            return EventSender("", ANYBODY, None, self._policy.limits)
        self._look_for_changes(self._policy.keys)
        token = _bearer(headers.get(b"authorization", b""))
        if not token and self._policy.token_in_query:
            token = _parameter(query, "token")
        if token:
            sender = self._by_hash.get(hash_of(token))
            if sender is None:
                raise RequestRefused(401, "Authorization: no such key, or it was revoked; ask for another", CHALLENGE)
            return sender
        if scheme.header.encode() in headers:
            return None
        raise RequestRefused(
            401, f"Authorization: send `Bearer` and a key, or sign the request ({scheme.header})", CHALLENGE
        )

    def by_signature(
        self, scheme: SignatureScheme, headers: Mapping[bytes, bytes], query: bytes, body: bytes
    ) -> EventSender:
        """Returns the sender whose secret has signed the body; ?key=ID names one of them. Raises RequestRefused."""
        texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        key_id = _parameter(query, "key")
        for sender, secret in self._signers:
            if (not key_id or sender.key_id == key_id) and scheme.is_signed_by(secret, body, texts):
                return sender
        raise RequestRefused(
            401, f"{scheme.header}: no secret of a key has signed this, or the signature is too old", CHALLENGE
        )

    def load_of(self, sender: EventSender) -> SenderLoad:
        """Returns the load of a sender."""
        return self._loads.setdefault(sender.key_id, SenderLoad())

    def _look_for_changes(self, path: Path) -> None:
        now = time.monotonic()
        if now - self._looked < RELOAD_SECONDS:
            return
        self._looked = now
        try:
            if _stamp_of(path) != self._stamp:
                self._load(path)
                log.info("read the keys again", extra={"file": str(path), "keys": len(self._by_hash)})
        except (EngagementError, OSError) as error:
            self._outages.note("the file of keys", f"the keys stay as they were: {error}")
        else:
            self._outages.note("the file of keys", None)

    def _load(self, path: Path) -> None:
        stamp = _stamp_of(path) if path.exists() else None
        entries = [entry for entry in read_keys(path).keys if entry.revoked is None]
        senders = {entry.id: self._sender(entry) for entry in entries}
        signers = [(senders[entry.id], entry.secret.read()) for entry in entries if entry.secret is not None]
        self._by_hash = {entry.sha256: senders[entry.id] for entry in entries}
        self._signers, self._stamp = signers, stamp

    def _sender(self, entry: KeyEntry) -> EventSender:
        default = self._policy.limits
        limits = SenderLimits(
            entry.body_limit or default.body_bytes, entry.rate or default.rate, entry.concurrency or default.concurrency
        )
        return EventSender(entry.id, entry.source, tuple(entry.channels) if entry.channels else None, limits)


def _stamp_of(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_ino


def _bearer(value: bytes) -> str:
    scheme, _, token = value.decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _parameter(query: bytes, name: str) -> str:
    return parse_qs(query.decode("latin-1"), max_num_fields=20).get(name, [""])[0] if name.encode() in query else ""

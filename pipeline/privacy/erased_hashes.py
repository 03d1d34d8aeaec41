"""Erased people as keyed hashes: the list by which a program knows an erased person again without knowing the name.

A name is hashed by SipHash-2-4 (Aumasson & Bernstein 2012) under a key made of ENGAGEMENT_ERASURE_KEY: a million events
cost a tenth of a second, and without the key nobody can test a guess. An innocent account has the hash of one of 10,000
erased ones with a chance of 1 in 2^50.
"""

import contextlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from pandas.util import hash_array
from pydantic_core import from_json

from pipeline.errors import SettingsError
from pipeline.holds_secrets import HoldsSecrets
from pipeline.settings import Settings
from schemas.folding import fold_tag

ErasedKind = Literal["actor", "mention", "post", "id", "check"]

KEY_SETTING: Final = "ENGAGEMENT_ERASURE_KEY"
CHECK_TEXT: Final = "engagement"
"""The text whose hash of kind `check` tells whether two programs have the same key."""

ERASED_ID: Final = "erased:"
"""How an id begins that stands for one which named an erased person."""

_STRINGS: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_PARTS: Final = re.compile(r"[/?#&=]+")
_MOST_LETTER_BYTES: Final = 1 << 20


class ErasureKey(HoldsSecrets):
    """The key under which erased names are hashed."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        digest = hmac.digest(self._secret, b"engagement/erasure/hash", "sha256")
        self._sip_key = urlsafe_b64encode(digest)[:16].decode("ascii")

    def __repr__(self) -> str:
        return "ErasureKey(***)"

    def hashes(self, values: Sequence[str]) -> Any:
        """Returns a number (u8) per text, in 0.1 us each."""
        column = np.empty(len(values), object)
        column[:] = values
        return hash_array(column, hash_key=self._sip_key, categorize=False) if len(column) else np.empty(0, np.uint64)

    def other_id(self, value: str) -> str:
        """Returns the substitute of an id which names an erased person: the same one always."""
        digest = hmac.digest(
            self._secret, b"engagement/erasure/id\0" + value.encode("utf-8", "surrogatepass"), "sha256"
        )
        return ERASED_ID + digest[:16].hex()


class ErasedHashes:
    """The list of what was erased. An empty list needs no key."""

    def __init__(self, key: ErasureKey | None, hashes: Mapping[ErasedKind, Iterable[int]]) -> None:
        """Raises SettingsError where the key of the stored hashes is missing or differs."""
        self._hashes = {kind: np.array(sorted(set(of)), np.uint64) for kind, of in hashes.items()}
        self._is_empty = not any(len(of) for kind, of in self._hashes.items() if kind != "check")
        checks = self._hashes.get("check", np.empty(0, np.uint64))
        if len(checks) and key is None:
            raise SettingsError(
                f"{KEY_SETTING} is not set, and people were erased from this database: set the key of that erasure, or "
                "their events would come back"
            )
        if len(checks) and key is not None and key.hashes([CHECK_TEXT])[0] not in checks:
            raise SettingsError(f"{KEY_SETTING} is not the key under which people were erased from this database")
        self._key = key

    def __bool__(self) -> bool:
        return not self._is_empty

    def count(self, kind: ErasedKind) -> int:
        """Returns the number of hashes of a kind."""
        return len(self._hashes.get(kind, ()))

    def are(self, kind: ErasedKind, values: Sequence[str]) -> Any:
        """Returns for each text whether it was erased as an actor, a mention, a post or an id, as an array of bool."""
        known = self._hashes.get(kind)
        if known is None or not len(known) or not len(values) or self._key is None:
            return np.zeros(len(values), np.bool_)
        return np.isin(self._key.hashes(values), known)

    def actors(self, actors: Sequence[str], channels: Sequence[str]) -> Any:
        """Returns for each account on a channel whether it was erased, on this channel or on all."""
        return self.are("actor", actors) | self.are("actor", list(map(on_channel, channels, actors)))

    def with_accounts(self, values: Sequence[str]) -> Any:
        """Returns for each id or address whether an erased account is a part of its path, as in at://<account>/...; an
        @ may stand in front."""
        found = np.zeros(len(values), np.bool_)
        numbers, parts = list[int](), list[str]()
        for number, value in enumerate(values):
            if "/" in value:
                for part in filter(None, _PARTS.split(value)):
                    numbers.append(number)
                    parts.append(part)
        if parts:
            is_erased = self.are("actor", parts) | self.are("actor", [part.removeprefix("@") for part in parts])
            found[np.array(numbers)[is_erased]] = True
        return found

    def other_ids(self, values: list[str]) -> list[str]:
        """Returns ids, with substitutes for the ids of an erased person."""
        is_erased, key = self.are("id", values) | self.with_accounts(values), self._key
        if key is None or not is_erased.any():
            return values
        return [key.other_id(value) if gone else value for value, gone in zip(values, is_erased.tolist(), strict=True)]

    def conversations(self, keys: Sequence[str]) -> Any:
        """Returns for each conversation whether it is of an erased author, account or post."""
        found = np.zeros(len(keys), np.bool_)
        if not self:
            return found
        for number, key in enumerate(keys):
            kind, _, name = key.partition(":")
            if kind == "author":
                channel, _, account = name.partition("/")
                found[number] = self.actors([account], [channel])[0]
            elif kind in ("mention", "thread"):
                found[number] = self.are("mention" if kind == "mention" else "post", [name])[0]
        return found

    def names(self, *texts: bytes | None) -> bool:
        """Returns whether a raw record has the text of an erased person, post or id as one of its JSON strings, or is
        one: what a dead letter would keep."""
        if not self:
            return False
        found = {text.decode("utf-8", "replace") for text in texts if text}
        for text in texts:
            found.update(_plain(match[0]) for match in _STRINGS.finditer((text or b"")[:_MOST_LETTER_BYTES]))
        values = list(found)
        is_erased = self.are("actor", values) | self.are("post", values) | self.are("id", values)
        is_erased |= self.are("mention", [fold_tag(value, "@") for value in values])
        return bool(is_erased.any())


def _plain(text: bytes) -> str:
    """Returns the content of a string of JSON, without escapes as far as these are valid."""
    with contextlib.suppress(ValueError):
        return str(from_json(text))
    return text[1:-1].decode("utf-8", "replace")


NOTHING_ERASED: Final = ErasedHashes(None, {})


def on_channel(channel: str, account: str) -> str:
    """Returns the text that is hashed for an account of one channel alone."""
    return f"{channel}\0{account}"


def load_erasure_key(settings: Settings) -> ErasureKey | None:
    """Returns the key of the settings, None without ENGAGEMENT_ERASURE_KEY."""
    return None if settings.erasure_key is None else ErasureKey(settings.erasure_key.get_secret_value())

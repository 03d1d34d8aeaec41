"""Remembers answers by Idempotency-Key: a repeated request gets the first answer.

The store is in memory and bounded by number and age. Where an answer is forgotten, or the process was started again, a
repeated request is taken again: its events have the same event_ids, derived from the key where they had none, and count
once all the same.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from producers.collector.refusals import Reply, RequestRefused

LONGEST_KEY: Final = 256
LARGEST_ANSWER: Final = 64 * 1024
"""Answers above this many bytes are not kept; their request is taken again."""

ANSWER_BYTES: Final = 32 * 1024 * 1024
"""All answers that are kept: of most, some 30 bytes, the keys are the larger part."""


@dataclass(frozen=True)
class IdempotencyPolicy:
    """Bounds of the store. `keys`: answers that are kept; `seconds`: their age."""

    keys: int = 100_000
    seconds: float = 24 * 3600.0


@dataclass(slots=True)
class KeptAnswer:
    """The answer to a request, or its promise. `digest`: of the request's content; `since`: monotonic seconds."""

    digest: bytes
    since: float
    reply: "asyncio.Future[Reply]"


Scope = tuple[str, str]
"""Source and Idempotency-Key."""


class IdempotencyStore:
    """The kept answers, oldest first. Belongs to one event loop."""

    def __init__(self, policy: IdempotencyPolicy | None = None) -> None:
        self._policy = policy or IdempotencyPolicy()
        self._answers: OrderedDict[Scope, KeptAnswer] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, scope: Scope, digest: bytes, now: float) -> "asyncio.Future[Reply] | None":
        """Returns the answer to an earlier request of a key, or its promise while the request is in progress.

        Raises RequestRefused when the earlier request had another content.
        """
        self._forget_old(now)
        kept = self._answers.get(scope)
        if kept is None:
            return None
        if kept.digest != digest:
            raise RequestRefused(422, "Idempotency-Key: came before with another body; use a new key for a new request")
        return kept.reply

    def promise(self, scope: Scope, digest: bytes, now: float) -> KeptAnswer:
        """Notes a request in progress; `keep` or `forget` must follow, for other requests may wait for it."""
        while len(self._answers) >= self._policy.keys:
            self._drop(next(iter(self._answers)))
        kept = self._answers[scope] = KeptAnswer(digest, now, asyncio.get_running_loop().create_future())
        return kept

    def keep(self, scope: Scope, promised: KeptAnswer, reply: Reply) -> None:
        """Keeps the final answer to a request in progress."""
        promised.reply.set_result(reply)
        if self._answers.get(scope) is not promised:
            return
        self._bytes += len(reply.body)
        if len(reply.body) > LARGEST_ANSWER:
            self._drop(scope)
        while self._bytes > ANSWER_BYTES:
            self._drop(next(iter(self._answers)))

    def forget(self, scope: Scope, promised: KeptAnswer, error: BaseException) -> None:
        """Forgets a failed request, which may be tried again; requests that wait for its answer fail alike."""
        promised.reply.set_exception(error)
        promised.reply.exception()  # nobody need wait for it
        if self._answers.get(scope) is promised:
            self._drop(scope)

    def _forget_old(self, now: float) -> None:
        while self._answers:
            scope, kept = next(iter(self._answers.items()))
            if now - kept.since <= self._policy.seconds:
                return
            self._drop(scope)

    def _drop(self, scope: Scope) -> None:
        kept = self._answers.pop(scope)
        if kept.reply.done() and kept.reply.exception() is None:
            self._bytes -= len(kept.reply.result().body)


def check_key(key: str) -> str:
    """Returns a usable Idempotency-Key. Raises RequestRefused."""
    if not key or len(key) > LONGEST_KEY or not key.isprintable():
        raise RequestRefused(400, f"Idempotency-Key: send 1 to {LONGEST_KEY} printable characters, such as a UUID")
    return key

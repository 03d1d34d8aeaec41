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

    def promise(self, scope: Scope, digest: bytes, now: float) -> None:
        """Notes that a request is in progress; `keep` or `forget` must follow."""
        while len(self._answers) >= self._policy.keys:
            self._answers.popitem(last=False)
        self._answers[scope] = KeptAnswer(digest, now, asyncio.get_running_loop().create_future())

    def keep(self, scope: Scope, reply: Reply) -> None:
        """Keeps the final answer to a request in progress."""
        kept = self._answers.get(scope)
        if kept is None or kept.reply.done():
            return
        kept.reply.set_result(reply)
        if len(reply.body) > LARGEST_ANSWER:
            del self._answers[scope]

    def forget(self, scope: Scope, error: BaseException) -> None:
        """Forgets a failed request, which may be tried again; requests that wait for its answer fail alike."""
        kept = self._answers.pop(scope, None)
        if kept is not None and not kept.reply.done():
            kept.reply.set_exception(error)
            kept.reply.exception()  # nobody need wait for it

    def _forget_old(self, now: float) -> None:
        while self._answers:
            scope, kept = next(iter(self._answers.items()))
            if now - kept.since <= self._policy.seconds:
                return
            del self._answers[scope]


def check_key(key: str) -> str:
    """Returns an Idempotency-Key that can be kept. Raises RequestRefused."""
    if not key or len(key) > LONGEST_KEY or not key.isprintable():
        raise RequestRefused(400, f"Idempotency-Key: send 1 to {LONGEST_KEY} printable characters, such as a UUID")
    return key

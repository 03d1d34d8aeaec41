"""Waiting for a store that is away: again and again, until it answers or nobody wants the batch any more."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import TypeVar

from pipeline.errors import Unavailable

_Result = TypeVar("_Result")


class GivenUp(Exception):
    """The batch is not wanted any more: a rebalance or a stop did not want to wait for a store that is away."""


@dataclass(frozen=True)
class WaitPolicy:
    """Seconds between two tries: doubled from the first to the longest."""

    first: float = 0.1
    longest: float = 3.0


class Retry:
    """Tries an action until it works. `given_up` is that of the batch at hand."""

    def __init__(
        self, policy: WaitPolicy | None = None, on_store: Callable[[Unavailable | None], None] = lambda error: None
    ) -> None:
        """`on_store` is told each failure, and None once the store answers again."""
        self._policy, self._on_store = policy or WaitPolicy(), on_store
        self.given_up = Event()

    def __call__(self, action: Callable[[], _Result]) -> _Result:
        """What the action returns. Blocks. Raises GivenUp, and whatever is not worth another try."""
        wait, failed = self._policy.first, False
        while True:
            if self.given_up.is_set():
                raise GivenUp
            try:
                result = action()
            except Unavailable as error:
                failed = True
                self._on_store(error)
                # Jitter, so that workers that lost the store together do not come back together.
                self.given_up.wait(wait * random.uniform(0.5, 1))
                wait = min(wait * 2, self._policy.longest)
            else:
                if failed:
                    self._on_store(None)
                return result

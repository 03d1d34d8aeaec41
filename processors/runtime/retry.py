"""Retries of calls to a store that is away, until the store answers or the batch is given up."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import TypeVar

from pipeline.errors import Unavailable

_Result = TypeVar("_Result")


class GivenUp(Exception):
    """The batch was given up: a rebalance or a stop does not wait for a store that is away."""


@dataclass(frozen=True)
class WaitPolicy:
    """The waits between two tries in seconds. Each is twice the one before, from `first` up to `longest`."""

    first: float = 0.1
    longest: float = 3.0


class StoreRetry:
    """Repeats an action until the store answers. `given_up` is the event of the current batch."""

    def __init__(
        self, policy: WaitPolicy | None = None, on_store: Callable[[Unavailable | None], None] = lambda error: None
    ) -> None:
        """`on_store` is called with each failure, and with None once the store answers again."""
        self._policy, self._on_store = policy or WaitPolicy(), on_store
        self.given_up = Event()

    def __call__(self, action: Callable[[], _Result]) -> _Result:
        """Runs the action until the store answers, and returns the action's result. Blocks. Raises GivenUp, and any
        other error of the action."""
        wait, failed = self._policy.first, False
        while True:
            if self.given_up.is_set():
                raise GivenUp
            try:
                result = action()
            except Unavailable as error:
                failed = True
                self._on_store(error)
                # Jitter keeps workers that lost the store together from coming back together.
                self.given_up.wait(wait * random.uniform(0.5, 1))
                wait = min(wait * 2, self._policy.longest)
            else:
                if failed:
                    self._on_store(None)
                return result

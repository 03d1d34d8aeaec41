"""What a worker does about erasures: each agent looks for new steps before a batch, empties its memory of what the step
has changed, and says so.

An agent stores rows of what it has in memory. So an ack means: every row that this owner stores from now on follows
from what its source said when the step was recorded, or later. `engagement forget` waits for the acks of all owners. An
owner that does not answer, because ClickHouse is away or the process was stopped, holds it up; once it is no member of
its group any more, the next owner acks. When the process goes on it finds that steps went by without its ack, and
records that what it stored since then has to be looked through.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from pipeline.errors import Unavailable
from pipeline.privacy.erased_hashes import NOTHING_ERASED, ErasedHashes, ErasureKey
from pipeline.privacy.erasure_store import DONE, STALE, ErasureStep, ErasureStore

log = logging.getLogger(__name__)

ERASURE_LOOK_SECONDS: Final = 1.0
"""The time between two looks, each a query of a millisecond or two."""

MISSED: Final = "missed"
"""The name of a step before which others went by."""


class StepAhead(Exception):
    """A step of an erasure has come that this agent has not taken up."""


class ErasureWatch:
    """The erasures known to one agent. One thread calls it."""

    def __init__(self, agent: str, store: ErasureStore, key: ErasureKey | None) -> None:
        self._agent, self._store, self._key = agent, store, key
        self._partitions: tuple[int, ...] = ()
        self._taken_up = self._acked = 0
        self._due = 0.0
        self._may_store = False
        self.erased: ErasedHashes = NOTHING_ERASED
        """What was erased, as last read."""

    def join(self) -> None:
        """Reads what was erased before the worker joins its groups. Raises SettingsError for a missing or another key;
        Unavailable, Refused."""
        self._taken_up = self._store.epoch()
        self.erased = self._store.hashes(self._key)

    def assign(self, partitions: Sequence[int]) -> None:
        """Sets the owned partitions. The memory of the agent is empty."""
        self._may_store |= bool(partitions)
        self._partitions, self._acked, self._due = tuple(partitions), 0, 0.0

    def look(self, take_up: Callable[[ErasedHashes, str], None]) -> None:
        """Looks for a new step, when a look is due: has the agent empty its memory by `take_up`, and acks the step.
        `take_up` is called with what was erased and the name of the step, or MISSED where steps went by before it.
        Raises SettingsError for a missing or another key; Unavailable, Refused."""
        now = time.monotonic()
        if now < self._due:
            return
        epoch, step = self._store.latest()
        if epoch > self._taken_up:
            # Hashes are stored before the step that tells of them, so these are of this step at least.
            self.erased = self._store.hashes(self._key)
            is_next = epoch == self._taken_up + 1
            take_up(self.erased, step if is_next else MISSED)
            if self._may_store and (not is_next or step == DONE):
                self._tell_stale(epoch)
            self._taken_up = epoch
            self._may_store = bool(self._partitions)
        if epoch > self._acked and self._partitions:
            self._store.ack(self._agent, self._partitions, epoch)
            self._acked = epoch
        self._due = now + ERASURE_LOOK_SECONDS

    def break_off(self) -> None:
        """Raises StepAhead where a new step has come, and looks for one when a look is due. Called on the way through
        work that may last for minutes and may be begun anew: an erasure waits for each step. A store that is away is
        left to that work. Raises Refused."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + ERASURE_LOOK_SECONDS
        try:
            epoch = self._store.epoch()
        except Unavailable:
            return
        if epoch > self._taken_up:
            self._due = 0.0
            raise StepAhead

    def _tell_stale(self, epoch: int) -> None:
        """Records that an erasure went on without this worker, which may have stored rows of before meanwhile: a step
        waits for each owner, so this one hung until it was no member of its group any more."""
        log.warning(
            "people were erased while this worker hung, and it may have stored rows that name them: run "
            "`engagement forget` for them again"
        )
        self._store.record(epoch, ErasureStep(STALE))

"""The fuse stops the process when nearly all records are dead: then the fault is not in the records, and a topic must
not be drained into dead letters."""

from collections import deque
from dataclasses import dataclass

from pipeline.errors import FuseBlown


@dataclass(frozen=True)
class FusePolicy:
    """The fuse blows when at least the share `share` of the latest `records` records was dead."""

    records: int = 1000
    share: float = 0.95


class Fuse:
    """Counts the latest batches that together have at least `records` records; pure, without a clock.

    The fuse never blows before so many records were seen, so a few bad records at the start do not stop a worker.

    >>> fuse = Fuse(FusePolicy(records=10, share=0.5))
    >>> fuse.note(records=9, dead=9)
    >>> fuse.note(records=10, dead=1)
    >>> fuse.note(records=10, dead=5)
    Traceback (most recent call last):
    ...
    pipeline.errors.FuseBlown: 5 of the latest 10 records could not be taken ...
    """

    def __init__(self, policy: FusePolicy) -> None:
        self._policy = policy
        self._batches: deque[tuple[int, int]] = deque()
        self._records = self._dead = 0

    def note(self, records: int, dead: int) -> None:
        """Counts a batch of `records` records, of which `dead` were dead. Raises FuseBlown."""
        if records <= 0:
            return
        self._batches.append((records, dead))
        self._records += records
        self._dead += dead
        while self._records - self._batches[0][0] >= self._policy.records:
            old_records, old_dead = self._batches.popleft()
            self._records -= old_records
            self._dead -= old_dead
        if self._records >= self._policy.records and self._dead >= self._policy.share * self._records:
            raise FuseBlown(
                f"{self._dead} of the latest {self._records} records could not be taken (limit "
                f"{self._policy.share:.0%}): see `engagement dead-letters list` and mend the sender. A higher "
                "ENGAGEMENT_FUSE_RECORDS lets the records that are in the topics already pass, as dead letters"
            )

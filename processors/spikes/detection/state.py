"""State of all watched conversations: takes counts of closed minutes, gives changes of spikes. Pure: no clock, no I/O.

The same closed minutes give the same state, in whatever portions they come. Open minutes leave no trace in the state:
an early opening is kept apart until its minute closes, and then the closed minute decides.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from processors.spikes.detection.bank import Bank, Verdicts
from processors.spikes.detection.detector import verdicts_of
from processors.spikes.detection.life import Change, Fired, LifePolicy, LifeState, open_early, withdraw
from processors.spikes.detection.tracked import TrackedSeries
from processors.spikes.policy import DAY_MINUTES, MINUTE_SECONDS

CONVERSATION_KINDS: Final = ("hashtag", "mention", "brand", "author", "thread", "label")
"""The kinds of conversations: the first part of a conversation's key."""

AHEAD_MINUTES: Final = 5
"""How far an open minute may be ahead of the closed minutes and still be judged. The minutes between are not known
yet."""

EARLY_BYTES: Final = 1_000
"""Memory of an early opening, one whose minute is not over."""

TAKEN_BACK: Final = (
    "taken back: once the minute was over there was no spike, or it belonged to one that had opened before"
)


@dataclass(frozen=True)
class MonitorPolicy:
    """`most`: the most series in memory, of 756 bytes and a name each. `idle_days`: a series without a count for so
    many days is released, and closed minutes from before are not read."""

    kinds: tuple[str, ...] = CONVERSATION_KINDS
    most: int = 200_000
    idle_days: int = 28
    life: LifePolicy = field(default_factory=LifePolicy)


class MonitorState:
    """Series and spikes of the watched conversations. Not thread-safe."""

    def __init__(self, policy: MonitorPolicy) -> None:
        self._policy = policy
        self._kinds = None if set(policy.kinds) >= set(CONVERSATION_KINDS) else frozenset(policy.kinds)
        self._bank = Bank(MINUTE_SECONDS)
        self.tracked = TrackedSeries(self._bank, policy.most)
        self._lives: dict[str, LifeState] = {}
        self._early: dict[str, Change] = {}
        self._early_counts: dict[str, int] = {}
        self._day = 0

    @property
    def nbytes(self) -> int:
        """Bytes of memory of the open spikes; `tracked` has those of the series."""
        return sum(life.nbytes for life in self._lives.values()) + EARLY_BYTES * len(self._early)

    @property
    def open_spikes(self) -> int:
        return len(self._lives.keys() | self._early.keys())

    def is_open(self, spike_id: str) -> bool:
        """Tells whether a closed minute has opened this spike, and the spike is not resolved."""
        return any(life.opening.spike_id == spike_id for life in self._lives.values())

    def close_minute(self, minute: int, conversations: Sequence[str], counts: Sequence[int]) -> list[Change]:
        """Adds the counts of a closed minute and returns the changes.

        Conversations without a count are left out, the others are named once, and minutes of a conversation come in
        order. `close_until` closes minutes of conversations without a count.
        """
        names, values = self._watched(conversations, counts)
        if minute // DAY_MINUTES > self._day:
            self._day = minute // DAY_MINUTES
            self.tracked.release_before(minute - self._policy.idle_days * DAY_MINUTES, self._held)
        chosen = self.tracked.select_fitting(names, values, self._held)
        if len(chosen) < len(names):
            names, values = [names[index] for index in chosen], [values[index] for index in chosen]
        rows = self.tracked.touch(names, minute, self._held)
        verdicts = self._bank.update_many(rows, minute * MINUTE_SECONDS, values)
        fired = dict(_fired(names, verdicts, np.flatnonzero(verdicts.fires).tolist()))
        changes: list[Change] = []
        if self._lives or fired:
            for name, count in zip(names, values, strict=True):
                if (life := self._lives.get(name)) is not None:
                    changes += self._add_silent_minutes(name, life, minute)
                if name in self._lives:
                    changes += self._add_minute(name, self._lives[name], count, fired.get(name))
                elif name in fired:
                    life = self._lives[name] = LifeState(name, minute, count, fired[name], self._policy.life)
                    changes.append(life.opening)
        return changes

    def judge_open(
        self, conversations: Sequence[str], minutes: Sequence[int], counts: Sequence[int], closed_until: int
    ) -> list[Change]:
        """Judges open minutes by their counts so far, and returns the openings that are certain already. An early
        opening is returned again each time that its count has doubled, in its minute or in an open one after it: a
        spike may begin in the last second of a minute, which closes long after."""
        by_minute: dict[int, dict[str, tuple[int, int]]] = {}
        for name, minute, count in zip(conversations, minutes, counts, strict=True):
            if count > 0 and closed_until <= minute < closed_until + AHEAD_MINUTES:
                row = self.tracked.find(name)
                if row is not None and name not in self._lives and self._may_open(name, minute, count):
                    by_minute.setdefault(minute, {})[name] = row, count
        changes: list[Change] = []
        for minute in sorted(by_minute):
            candidates = {
                name: (row, count)
                for name, (row, count) in by_minute[minute].items()
                if self._may_open(name, minute, count)
            }
            if candidates:
                changes += self._judge_minute(minute, candidates)
        return changes

    def close_until(self, until_of: Callable[[str], int]) -> list[Change]:
        """Closes all minutes before `until_of(conversation)`: those without a count so far count 0. Returns the
        changes."""
        if not (self._lives or self._early):
            return []
        changes: list[Change] = []
        for name, life in list(self._lives.items()):
            changes += self._add_silent_minutes(name, life, until_of(name))
        return [*changes, *self._withdraw(until_of)]

    def restore_early(self, early: Change) -> None:
        """Takes over an early opening that an earlier owner of the partition has sent. Its minute is not closed yet."""
        self._early.setdefault(early.conversation, early)

    def state(self) -> bytes:
        """Returns all state that follows from closed minutes: equal after equal minutes."""
        lives = [(name, life.state()) for name, life in sorted(self._lives.items())]
        return repr((self.tracked.state(), lives)).encode()

    @property
    def _held(self) -> "set[str]":
        return {*self._lives, *self._early}

    def _watched(self, conversations: Sequence[str], counts: Sequence[int]) -> tuple[Sequence[str], Sequence[int]]:
        if self._kinds is None:
            return conversations, counts
        chosen = [i for i, name in enumerate(conversations) if name.partition(":")[0] in self._kinds]
        return [conversations[i] for i in chosen], [counts[i] for i in chosen]

    def _judge_minute(self, minute: int, candidates: dict[str, tuple[int, int]]) -> Iterator[Change]:
        names = list(candidates)
        rows, counts = np.array(list(candidates.values()), np.int64).T
        levels = self._bank.firing_levels(rows, minute * MINUTE_SECONDS)
        reached = np.flatnonzero(counts >= levels)
        if not len(reached):
            return
        verdicts = self._bank.judge_many(rows[reached], minute * MINUTE_SECONDS, counts[reached])
        chosen = [names[number] for number in reached.tolist()]
        enough = dict(zip(chosen, levels[reached].tolist(), strict=True))
        for name, fired in _fired(chosen, verdicts, np.flatnonzero(verdicts.fires).tolist()):
            count = self._early_counts[name] = candidates[name][1]
            early = open_early(name, minute, count, enough[name], fired)
            if (first := self._early.get(name)) is not None:
                early = early._replace(spike_id=first.spike_id, started=first.started, as_of=first.as_of)
            self._early[name] = early
            yield early

    def _may_open(self, name: str, minute: int, count: int) -> bool:
        """Tells whether a count of an open minute may open a spike early, or is twice the count that was last told."""
        early = self._early.get(name)
        if early is None:
            return True
        before = self._early_counts.get(name)
        return before is not None and early.started <= minute and count >= self._policy.life.growth * before

    def _add_silent_minutes(self, name: str, life: LifeState, until: int) -> Iterator[Change]:
        while life.until < until and name in self._lives:
            yield from self._add_minute(name, life, 0, None)

    def _add_minute(self, name: str, life: LifeState, count: int, fired: Fired | None) -> Iterator[Change]:
        change = life.add_minute(count, fired)
        if change is not None:
            if change.state == "resolved":
                del self._lives[name]
            yield change

    def _withdraw(self, until_of: Callable[[str], int]) -> Iterator[Change]:
        """Resolves early openings whose closed minute did not open the same spike."""
        for name, early in list(self._early.items()):
            if early.started < until_of(name):
                del self._early[name]
                self._early_counts.pop(name, None)
                life = self._lives.get(name)
                if life is None or life.opening.spike_id != early.spike_id:
                    yield withdraw(early, TAKEN_BACK)


def _fired(names: Sequence[str], verdicts: Verdicts, numbers: Sequence[int]) -> Iterator[tuple[str, Fired]]:
    chosen = Verdicts(*(column[list(numbers)] for column in verdicts)) if numbers else None
    for number, verdict in zip(numbers, verdicts_of(chosen) if chosen else [], strict=True):
        yield (
            names[number],
            Fired(
                verdict.score,
                verdict.observed,
                verdict.expected,
                verdict.level,
                verdict.scale_seconds // MINUTE_SECONDS,
                verdict.background,
            ),
        )

"""All that is watched: counts of closed minutes in, changes of spikes out. Pure; no clock, no I/O.

The same closed minutes give the same state, in whatever portions they come. Open minutes leave no trace in it: an early
opening is remembered apart until its minute closes, and is then what the closed minute says it is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from processors.spikes.bank import Bank, Verdicts
from processors.spikes.detector import verdicts_of
from processors.spikes.life import Change, Fired, LifePolicy, LifeState, open_early, withdraw
from processors.spikes.policy import DAY
from processors.spikes.tracked import TrackedState

MINUTE: Final = 60
DAY_MINUTES: Final = DAY // MINUTE
KINDS: Final = ("hashtag", "mention", "brand", "author", "thread")
"""What a conversation's key begins with."""

AHEAD_MINUTES: Final = 5
"""How far an open minute may be ahead of the closed ones to be judged: of what lies between nothing is known."""

EARLY_BYTES: Final = 1_000
"""What an opening that was told before its minute's end takes."""

TAKEN_BACK: Final = "not so once its minute was closed: taken back, or part of a spike that opened before"


@dataclass(frozen=True)
class WatchPolicy:
    """`most`: series in memory, of 756 bytes and their names. `idle_days`: a series without a count for so long is let
    go, and no past from before is read."""

    kinds: tuple[str, ...] = KINDS
    most: int = 200_000
    idle_days: int = 28
    life: LifePolicy = field(default_factory=LifePolicy)


class WatchState:
    """Series and spikes. Not thread-safe."""

    def __init__(self, policy: WatchPolicy) -> None:
        self._policy = policy
        self._kinds = None if set(policy.kinds) >= set(KINDS) else frozenset(policy.kinds)
        self._bank = Bank(MINUTE)
        self.tracked = TrackedState(self._bank, policy.most)
        self._lives: dict[str, LifeState] = {}
        self._early: dict[str, Change] = {}
        self._day = 0

    @property
    def nbytes(self) -> int:
        """Memory of the spikes that go on; that of series says `tracked`."""
        return sum(life.nbytes for life in self._lives.values()) + EARLY_BYTES * len(self._early)

    @property
    def open_spikes(self) -> int:
        return len(self._lives.keys() | self._early.keys())

    def is_open(self, spike_id: str) -> bool:
        """A closed minute has opened it, and it is not resolved."""
        return any(life.opening.spike_id == spike_id for life in self._lives.values())

    def close(self, minute: int, conversations: Sequence[str], counts: Sequence[int]) -> list[Change]:
        """A closed minute: counts of those that have one, each conversation named once, and their changes. Minutes of a
        conversation come in order. What it means for those that are not named says `pass_until`."""
        names, values = self._watched(conversations, counts)
        if minute // DAY_MINUTES > self._day:
            self._day = minute // DAY_MINUTES
            self.tracked.release_before(minute - self._policy.idle_days * DAY_MINUTES, self._held)
        places = self.tracked.that_fit(names, values, self._held)
        if len(places) < len(names):
            names, values = [names[place] for place in places], [values[place] for place in places]
        rows = self.tracked.touch(names, minute, self._held)
        verdicts = self._bank.update_many(rows, minute * MINUTE, values)
        fired = dict(_fired(names, verdicts, np.flatnonzero(verdicts.fires).tolist()))
        changes: list[Change] = []
        if self._lives or fired:
            for name, count in zip(names, values, strict=True):
                if (life := self._lives.get(name)) is not None:
                    changes += self._pass(name, life, minute)
                if name in self._lives:
                    changes += self._take(name, self._lives[name], count, fired.get(name))
                elif name in fired:
                    life = self._lives[name] = LifeState(name, minute, count, fired[name], self._policy.life)
                    changes.append(life.opening)
        return changes

    def look(
        self, conversations: Sequence[str], minutes: Sequence[int], counts: Sequence[int], closed_until: int
    ) -> list[Change]:
        """What open minutes came to so far: openings that are certain already."""
        by_minute: dict[int, dict[str, tuple[int, int]]] = {}
        for name, minute, count in zip(conversations, minutes, counts, strict=True):
            if count > 0 and closed_until <= minute < closed_until + AHEAD_MINUTES:
                row = self.tracked.find(name)
                if row is not None and name not in self._lives and name not in self._early:
                    by_minute.setdefault(minute, {})[name] = row, count
        changes: list[Change] = []
        for minute in sorted(by_minute):
            spots = {name: spot for name, spot in by_minute[minute].items() if name not in self._early}
            if spots:
                changes += self._look_at(minute, spots)
        return changes

    def pass_until(self, until_of: Callable[[str], int]) -> list[Change]:
        """All minutes before `until_of(conversation)` are closed; those that were not given had nothing in them."""
        if not (self._lives or self._early):
            return []
        changes: list[Change] = []
        for name, life in list(self._lives.items()):
            changes += self._pass(name, life, until_of(name))
        return [*changes, *self._withdraw(until_of)]

    def restore_early(self, early: Change) -> None:
        """Somebody before us told of this opening; its minute is not closed yet."""
        self._early.setdefault(early.conversation, early)

    def state(self) -> bytes:
        """All that follows from closed minutes: equal after equal ones."""
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

    def _look_at(self, minute: int, spots: dict[str, tuple[int, int]]) -> Iterator[Change]:
        names = list(spots)
        rows, counts = np.array(list(spots.values()), np.int64).T
        levels = self._bank.firing_levels(rows, minute * MINUTE)
        reached = np.flatnonzero(counts >= levels)
        if not len(reached):
            return
        verdicts = self._bank.judge_many(rows[reached], minute * MINUTE, counts[reached])
        chosen = [names[number] for number in reached.tolist()]
        enough = dict(zip(chosen, levels[reached].tolist(), strict=True))
        for name, fired in _fired(chosen, verdicts, np.flatnonzero(verdicts.fires).tolist()):
            early = self._early[name] = open_early(name, minute, spots[name][1], enough[name], fired)
            yield early

    def _pass(self, name: str, life: LifeState, until: int) -> Iterator[Change]:
        while life.until < until and name in self._lives:
            yield from self._take(name, life, 0, None)

    def _take(self, name: str, life: LifeState, count: int, fired: Fired | None) -> Iterator[Change]:
        change = life.take(count, fired)
        if change is not None:
            if change.state == "resolved":
                del self._lives[name]
            yield change

    def _withdraw(self, until_of: Callable[[str], int]) -> Iterator[Change]:
        """Early openings whose minute is closed: most of them have become what they were told to be."""
        for name, early in list(self._early.items()):
            if early.started < until_of(name):
                del self._early[name]
                life = self._lives.get(name)
                if life is None or life.opening.spike_id != early.spike_id:
                    yield withdraw(early, TAKEN_BACK)


def _fired(names: Sequence[str], verdicts: Verdicts, numbers: Sequence[int]) -> Iterator[tuple[str, Fired]]:
    some = Verdicts(*(column[list(numbers)] for column in verdicts)) if numbers else None
    for number, verdict in zip(numbers, verdicts_of(some) if some else [], strict=True):
        yield (
            names[number],
            Fired(
                verdict.score,
                verdict.observed,
                verdict.expected,
                verdict.level,
                verdict.scale_seconds // MINUTE,
                verdict.reasons,
            ),
        )

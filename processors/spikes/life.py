"""The life of a spike: opened, grown, resolved. Pure: minutes are arguments, nothing is looked up.

- It opens in the minute that fires, or before that minute's end, when its count already is sure to fire.
- It has grown when the detector fires again and it has at least doubled since it was last told.
- It is resolved when the count of its scale has been below half of what opened it, or below the level it had to reach
  where that is more, for a while; or after a longest time.

What is resolved speaks of the spike at its height: a row that only said how quiet it is now would be of no use.
"""

from array import array
from dataclasses import dataclass
from hashlib import blake2b
from struct import pack
from typing import Final, NamedTuple

from processors.spikes.policy import VERSION
from schemas.alerts import AlertState

RANKS: Final[dict[AlertState, int]] = {"opened": 2, "grown": 3, "resolved": 4}
"""Steps of a life, in its order. Before the minute's end it is EARLY."""

EARLY: Final = 1

LIFE_BYTES: Final = 2_000
"""What an open spike takes beside its counts."""


@dataclass(frozen=True)
class LifePolicy:
    """`growth`: by how much more something is worth telling again."""

    growth: float = 2.0
    quiet_minutes: int = 15
    longest_minutes: int = 24 * 60


class Fired(NamedTuple):
    """A verdict that fires. `observed` and `expected` are counts of the scale, of `scale` minutes; the first is capped
    on the long scales."""

    score: float
    observed: float
    expected: float
    level: float
    scale: int
    reasons: tuple[str, ...]


class Change(NamedTuple):
    """A spike has come to a state. Minutes since 1970; `as_of` and `seen_until` are ends: the `scale` minutes before
    `seen_until` are what it speaks of. `expected`: counts a minute."""

    spike_id: str
    conversation: str
    state: AlertState
    started: int
    ended: int | None
    as_of: int
    rank: int
    score: float
    expected: float
    scale: int
    seen_until: int
    reasons: tuple[str, ...]
    seen: float = 0.0
    """What the detector saw on the scale, bursts capped."""

    @property
    def version(self) -> int:
        """Of its row, as long as nobody was told: the next number says that somebody was."""
        return self.as_of << 8 | self.rank << 1

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in the life of its spike; the same for an early opening and the closed minute's."""
        return self.as_of, RANKS[self.state]


def spike_id_of(conversation: str, minute: int, version: int = VERSION) -> str:
    """The same for whoever finds it.

    >>> spike_id_of("hashtag:launch", 29_000_000, 1)
    '408bbe09160033c876161c760df93081'
    """
    return blake2b(f"{conversation}\0{minute}\0{version}".encode(), digest_size=16).hexdigest()


def open_early(conversation: str, minute: int, count: int, enough: int, fired: Fired) -> Change:
    """The opening of a spike whose minute is not over."""
    said = f"the minute is not over: {count} so far, {enough} are sure to fire"
    return _opening(conversation, minute, fired, EARLY)._replace(reasons=(*fired.reasons, said))


def withdraw(early: Change, why: str) -> Change:
    """The end of an early opening that did not stand once its minute was closed."""
    return early._replace(state="resolved", ended=early.as_of, rank=RANKS["resolved"], score=0.0, reasons=(why,))


class LifeState:
    """An open spike. Every minute from the opening one on is to be taken, in order, also silent ones."""

    __slots__ = (
        "_bar",
        "_calm_since",
        "_counts",
        "_last",
        "_level",
        "_peak",
        "_peak_until",
        "_policy",
        "_sum",
        "_told",
        "opening",
        "until",
    )

    def __init__(self, conversation: str, minute: int, count: int, fired: Fired, policy: LifePolicy) -> None:
        """Opens at the closing of `minute`, which had this count."""
        self._policy = policy
        self.opening = self._last = _opening(conversation, minute, fired, RANKS["opened"])
        self.until = minute + 1
        """Minutes before it are taken."""
        self._told, self._level = fired.observed, fired.level
        self._bar = max(fired.observed / policy.growth, fired.level)
        self._counts = array("q", bytes(8 * fired.scale))
        self._counts[minute % fired.scale] = self._sum = count
        self._peak, self._peak_until = fired.observed, minute + 1
        self._calm_since: int | None = None

    @property
    def nbytes(self) -> int:
        """Memory: two changes, and a count for each minute of the scale."""
        return LIFE_BYTES + self._counts.itemsize * len(self._counts)

    def take(self, count: int, fired: Fired | None) -> Change | None:
        """The next closed minute's count, and its verdict where that fires."""
        minute, scale = self.until, self.opening.scale
        self.until = minute + 1
        self._sum += count - self._counts[minute % scale]
        self._counts[minute % scale] = count
        if self._sum > self._peak:
            self._peak, self._peak_until = self._sum, self.until
        # Before that the sum lacks the minutes before the opening.
        is_calm = fired is None and self.until - self.opening.started >= scale and self._sum < self._bar
        self._calm_since = None if not is_calm else minute if self._calm_since is None else self._calm_since
        if fired is not None and (grown := self._grow(fired)) is not None:
            return grown
        return self._resolve()

    def state(self) -> bytes:
        """All that is known of it: equal after equal counts."""
        numbers = (self.until, self._told, self._bar, self._level, self._sum, self._peak, self._peak_until)
        return repr((self.opening, self._last, numbers, self._calm_since)).encode() + pack(
            f"<{len(self._counts)}q", *self._counts
        )

    def _grow(self, fired: Fired) -> Change | None:
        seen = fired.observed if fired.scale == self.opening.scale else float(self._sum)
        if seen < self._policy.growth * self._told:
            return None
        self._told = seen
        self._last = self.opening._replace(
            state="grown",
            as_of=self.until,
            rank=RANKS["grown"],
            score=fired.score,
            expected=fired.expected / fired.scale,
            seen_until=self.until,
            reasons=fired.reasons,
            seen=seen,
        )
        return self._last

    def _resolve(self) -> Change | None:
        opening, policy = self.opening, self._policy
        if self._calm_since is not None and self.until - self._calm_since >= policy.quiet_minutes:
            ended = self._calm_since
            why = f"below {self._bar:.0f} in {words(opening.scale)} for {policy.quiet_minutes} min, {self._sum} by now"
        elif self.until - opening.started >= policy.longest_minutes:
            ended, why = self.until, f"has gone on for {words(policy.longest_minutes)}: taken for usual from now on"
        else:
            return None
        return self._last._replace(
            state="resolved",
            ended=ended,
            as_of=self.until,
            rank=RANKS["resolved"],
            score=self._sum / self._level,
            seen_until=self._peak_until,
            reasons=(why,),
            seen=self._peak,
        )


def words(minutes: int) -> str:
    """A span of time.

    >>> words(5), words(240)
    ('5 min', '4 h')
    """
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def _opening(conversation: str, minute: int, fired: Fired, rank: int) -> Change:
    return Change(
        spike_id_of(conversation, minute),
        conversation,
        "opened",
        minute,
        None,
        minute + 1,
        rank,
        fired.score,
        fired.expected / fired.scale,
        fired.scale,
        minute + 1,
        fired.reasons,
        fired.observed,
    )

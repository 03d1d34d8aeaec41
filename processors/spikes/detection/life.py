"""The life of a spike: opened, grown, resolved. Pure: minutes are arguments, and nothing is read.

- A spike opens in the minute that fires, or before the end of that minute, when its count is already sure to fire.
- A spike has grown when the count of its scale has at least doubled since the last alert. Growth is told again after
  some minutes at the earliest, or at once where the count has quadrupled, so that each life has few such states.
- A spike is resolved when the count of its scale has been below half of the opening count, or below the level that
  fires where that is more, for a while; or after a longest time.

The resolved state describes the spike at its height: how quiet the conversation is afterwards would be of no use.
"""

from array import array
from dataclasses import dataclass
from hashlib import blake2b
from struct import pack
from typing import Final, NamedTuple

from processors.spikes.policy import DETECTOR_VERSION
from schemas.alert_words import minutes_in_words, with_article
from schemas.alerts import AlertState

RANKS: Final[dict[AlertState, int]] = {"opened": 2, "grown": 3, "resolved": 4}
"""Rank of each state, in the order of a life. Before the end of its minute an opening has the rank EARLY."""

EARLY: Final = 1

LIFE_BYTES: Final = 2_000
"""Memory of an open spike beside its counts."""


@dataclass(frozen=True)
class LifePolicy:
    """`growth`: the factor by which a count must have grown to be sent again, `growth_minutes` after the last alert;
    `burst`: the factor from which growth does not wait."""

    growth: float = 2.0
    growth_minutes: int = 5
    burst: float = 4.0
    quiet_minutes: int = 15
    longest_minutes: int = 24 * 60


class Fired(NamedTuple):
    """A verdict that fires. `observed` and `expected` are counts of the scale, of `scale` minutes; `observed` is capped
    on the long scales."""

    score: float
    observed: float
    expected: float
    level: float
    scale: int
    reasons: tuple[str, ...]


class Change(NamedTuple):
    """A spike has reached a state. Minutes since 1970; `as_of` and `seen_until` are ends: the change describes the
    `scale` minutes before `seen_until`. `expected`: counts a minute."""

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
    """The count that the detector saw on the scale, bursts capped."""
    highest_score: float = 0.0
    """The score at the height of the spike, in a state after its opening."""

    @property
    def version(self) -> int:
        """Version of the change's row until the alert is sent; the next number says that it was sent."""
        return self.as_of << 8 | self.rank << 1

    @property
    def order(self) -> tuple[int, int]:
        """Order within the life of a spike: the same for an early opening and for that of the closed minute."""
        return self.as_of, RANKS[self.state]


def spike_id_of(conversation: str, minute: int, version: int = DETECTOR_VERSION) -> str:
    """Returns the id of a spike: a hash, the same for every worker that finds the spike.

    >>> spike_id_of("hashtag:launch", 29_000_000, 1)
    '408bbe09160033c876161c760df93081'
    """
    return blake2b(f"{conversation}\0{minute}\0{version}".encode(), digest_size=16).hexdigest()


def open_early(conversation: str, minute: int, count: int, enough: int, fired: Fired) -> Change:
    """Opens a spike whose minute is not over."""
    reason = f"the minute is not over: {count:,} so far, {enough:,} are enough"
    return _opening(conversation, minute, fired, EARLY)._replace(reasons=(*fired.reasons, reason))


def withdraw(early: Change, why: str) -> Change:
    """Resolves an early opening that the closed minute did not confirm."""
    return early._replace(state="resolved", ended=early.as_of, rank=RANKS["resolved"], score=0.0, reasons=(why,))


class LifeState:
    """An open spike. Every minute from the opening on must be added, in order, silent ones included."""

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
        "_told_at",
        "opening",
        "until",
    )

    def __init__(self, conversation: str, minute: int, count: int, fired: Fired, policy: LifePolicy) -> None:
        """Opens a spike at the closing of `minute`, which had this count."""
        self._policy = policy
        self.opening = self._last = _opening(conversation, minute, fired, RANKS["opened"])
        self.until = minute + 1
        """Minutes before this one were added."""
        self._told, self._told_at, self._level = fired.observed, minute + 1, fired.level
        self._bar = max(fired.observed / policy.growth, fired.level)
        self._counts = array("q", bytes(8 * fired.scale))
        self._counts[minute % fired.scale] = self._sum = count
        self._peak, self._peak_until = fired.observed, minute + 1
        self._calm_since: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of memory: two changes, and a count for each minute of the scale."""
        return LIFE_BYTES + self._counts.itemsize * len(self._counts)

    def add_minute(self, count: int, fired: Fired | None) -> Change | None:
        """Adds the count of the next closed minute, with the verdict if the minute fires. Returns the change, if
        any."""
        minute, scale = self.until, self.opening.scale
        self.until = minute + 1
        self._sum += count - self._counts[minute % scale]
        self._counts[minute % scale] = count
        if self._sum > self._peak:
            self._peak, self._peak_until = self._sum, self.until
        # Until a whole scale has passed the sum lacks the minutes before the opening.
        is_calm = fired is None and self.until - self.opening.started >= scale and self._sum < self._bar
        self._calm_since = None if not is_calm else minute if self._calm_since is None else self._calm_since
        return self._grow(fired) or self._resolve()

    def state(self) -> bytes:
        """Returns the whole state of the spike: equal after equal counts."""
        numbers = (
            self.until,
            self._told,
            self._told_at,
            self._bar,
            self._level,
            self._sum,
            self._peak,
            self._peak_until,
        )
        return repr((self.opening, self._last, numbers, self._calm_since)).encode() + pack(
            f"<{len(self._counts)}q", *self._counts
        )

    def _grow(self, fired: Fired | None) -> Change | None:
        opening, policy = self.opening, self._policy
        seen = float(self._sum)
        if fired is not None and fired.scale == opening.scale:
            seen = max(seen, fired.observed)
        has_waited = self.until - self._told_at >= policy.growth_minutes
        if seen < (policy.growth if has_waited else policy.burst) * self._told:
            return None
        before = f"{self._told:,.0f} when last told"
        why = f"{seen:,.0f} in the last {minutes_in_words(opening.scale)} by now, {before}"
        self._told, self._told_at = seen, self.until
        score = seen / self._level if fired is None else max(fired.score, seen / self._level)
        self._last = opening._replace(
            state="grown",
            as_of=self.until,
            rank=RANKS["grown"],
            score=score,
            seen_until=self.until,
            reasons=(why, *(() if fired is None else fired.reasons)),
            seen=seen,
        )
        return self._last

    def _resolve(self) -> Change | None:
        opening, policy = self.opening, self._policy
        if self._calm_since is not None and self.until - self._calm_since >= policy.quiet_minutes:
            ended = self._calm_since
            span = with_article(minutes_in_words(opening.scale))
            quiet = f"fewer than {self._bar:,.0f} in {span} for {minutes_in_words(policy.quiet_minutes)}"
            why = f"{quiet}; {self._sum:,} by now"
        elif self.until - opening.started >= policy.longest_minutes:
            ended, why = (
                self.until,
                f"has gone on for {minutes_in_words(policy.longest_minutes)}: taken for usual from now on",
            )
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
            highest_score=max(opening.score, self._last.score, self._peak / self._level),
        )


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

"""The data behind the metrics: measures, windows, weight sets, half-life. Definitions and sources: docs/metrics.md.

Their names are parts of column names (`likes_5m`, `score_default_1h`, `hot_6h`), so a change here is a migration and a
new `FOLD_VERSION`, followed by `engagement recount`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.topics import KINDS, Kind

MINUTE: Final = 60
"""Seconds."""

MINUTE_US: Final = 60_000_000
"""Microseconds."""

WINDOWS: Final[dict[str, int]] = {"5m": 5, "1h": 60, "24h": 1440}
"""Rolling windows in minutes, sliding by one minute: a window at t sums the panes in (t - w, t]."""

MEASURE_KINDS: Final[tuple[Kind, ...]] = tuple(kind for kind in KINDS if kind != "post")
"""The kinds of events that are counted, in the order of `MEASURES`. KINDS begins with the post, so the number of a
measure is that of its kind less one."""

MEASURES: Final[tuple[str, ...]] = tuple(f"{kind}s" for kind in MEASURE_KINDS)
"""The names of what is counted, in the order of every array that has an axis of measures."""

MEASURE_COUNT: Final = len(MEASURES)
SHARES: Final = MEASURES.index("shares")
COMMENTS: Final = MEASURES.index("comments")

NODE_MEASURES: Final[tuple[int, ...]] = (SHARES, COMMENTS)
"""The measures whose events have a place in the trees of their post, can name conversations of their own and are
counted among voices and channels of conversations, in the order of the trees of shares and of comments. Events of the
other measures are only counted."""


@dataclass(frozen=True)
class WeightSet:
    """The weight of one event of each measure in an engagement score."""

    by_measure: Mapping[str, float]

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights in the order of MEASURES."""
        return tuple(self.by_measure[measure] for measure in MEASURES)


WEIGHT_SETS: Final[dict[str, WeightSet]] = {
    "plain": WeightSet({"likes": 1, "shares": 1, "comments": 1}),
    "default": WeightSet({"likes": 1, "shares": 2, "comments": 3}),
}

HOT_HALF_LIFE: Final = ("6h", 360)
"""Name and minutes of the hot score's half-life; it weighs by the default set."""

CHANNELS_SHOWN_FROM: Final = 20
"""Fewer net engagements than this make a channel entropy that says nothing: NULL."""

TREES: Final = ("share", "comment", "all")
"""Trees of a post: of shares alone, of comments alone, of both."""


def in_words(names: tuple[str, ...], last: str = "and") -> str:
    """Joins names as a sentence has them.

    >>> in_words(("likes", "shares", "comments"))
    'likes, shares and comments'
    """
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


TREE_EVENTS: Final = 1_000_000
"""A post of more events has no tree any more: bounds what one post can cost."""

LEVELS_SHOWN: Final = 32

VOICES: Final = 256
"""Distinct voices of a post's minute that are kept exactly; beyond it the smallest hashes are a theta sketch (Dasgupta
et al. 2015) with a standard error of 1 / sqrt(256)."""

FOLD_VERSION: Final = 7
"""Raised by every change of code that alters derived rows, so that the new code's rows win over the old code's (8
bits)."""

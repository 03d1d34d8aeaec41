"""The data behind the metrics: windows, weight sets, half-life. Definitions and sources: docs/metrics.md.

Their names are parts of column names (`likes_5m`, `score_default_1h`, `hot_6h`), so a change here is a migration and a
new `FOLD_VERSION`, followed by `engagement recount`.
"""

from dataclasses import dataclass
from typing import Final

MINUTE: Final = 60

WINDOWS: Final[dict[str, int]] = {"5m": 5, "1h": 60, "24h": 1440}
"""Rolling windows in minutes, sliding by one minute: a window at t sums the panes in (t - w, t]."""

MEASURES: Final[tuple[str, ...]] = ("likes", "shares", "comments")
"""What is counted, in the order of the fold's arrays."""


@dataclass(frozen=True)
class WeightSet:
    """What a like, a share and a comment are worth in an engagement score."""

    likes: float
    shares: float
    comments: float

    @property
    def weights(self) -> tuple[float, float, float]:
        return self.likes, self.shares, self.comments


WEIGHT_SETS: Final[dict[str, WeightSet]] = {"plain": WeightSet(1, 1, 1), "default": WeightSet(1, 2, 3)}

HOT_HALF_LIFE: Final = ("6h", 360)
"""Name and minutes of the hot score's half-life; it weighs by the default set."""

CHANNELS_SHOWN_FROM: Final = 20
"""Fewer net engagements than this make a channel entropy that says nothing: NULL."""

TREES: Final = ("share", "comment", "all")
"""Trees of a post: of shares alone, of comments alone, of both."""

TREE_EVENTS: Final = 1_000_000
"""A post of more events has no tree any more: bounds what one post can cost."""

LEVELS_SHOWN: Final = 32

VOICES: Final = 256
"""Distinct voices of a post's minute that are kept exactly; beyond it the smallest hashes are a theta sketch (Dasgupta
et al. 2015) with a standard error of 1 / sqrt(256)."""

FOLD_VERSION: Final = 3
"""Raised by every change of code that alters derived rows, so that the new code's rows win over the old code's (8
bits)."""

"""The setting of the spike detector: one for every series, whatever its rate, in round numbers.

A count is judged on three scales at once: the last block (5 minutes), the last hour and the last 4 hours. On each scale
the count must exceed a level, the highest of three:

- chance: a bound on what a negative binomial with the usual mean (slow mean x hour of the day) would give;
- memory: the series' own fading maximum of that scale, without the last hours, so that a steep rise is not measured by
  itself. The maximum fades more slowly for series that keep breaking records;
- silence: twice the count of the last alert, fading within hours: an event is alerted again only when it has doubled,
  and not within 5 minutes.

score = highest of observed / level; a score of 1 or more fires.
"""

from typing import Final, NamedTuple

from pipeline.errors import SettingsError

DETECTOR_VERSION: Final = 1
"""Part of each spike's id. Raised by every change of code or setting that alters verdicts."""

MINUTE_SECONDS: Final = 60
HOUR_SECONDS: Final = 3600
DAY_MINUTES: Final = 1440
LEAST_USUAL: Final = 1 / DAY_MINUTES
"""Below this usual count a minute, one a day, none is usual: a ratio to less would mean nothing."""

BLOCK_SECONDS: Final = 300
MOST_BUCKETS: Final = 5  # buckets of a minute in a block


class SpikePolicy(NamedTuple):
    """The setting of the detector. Times in hours are half-lives unless stated otherwise."""

    threshold: float = 1.0
    """A verdict fires from this score on."""
    margin: float = 1.1
    """A record must beat the old one by a tenth."""
    chance: float = 12.0
    """-ln of the bound on the probability that chance alone reaches the level."""
    least: float = 10.0
    """No level is below this count: nobody is woken for nine comments."""
    fade_hours: float = 336.0
    """Half-life of the maximum: two weeks ..."""
    slowing: float = 1.0
    """... and longer by this factor for each recent alert (alerts themselves fade in two weeks)."""
    silence_hours: float = 12.0
    """Half-life of the level that an alert sets ..."""
    growth: float = 2.0
    """... which is the observed count times this factor."""
    mean_hours: float = 48.0
    """Half-life of the slow mean."""
    spread_hours: float = 168.0
    """Half-life of the dispersion."""
    profile_days: float = 7.0
    """Days over which an hour of the day is averaged (the newest has a weight of 1/7)."""
    profile_prior: float = 10.0
    """Counts that an hour of the day must outweigh before its expectation leaves the mean."""
    cap: float = 4.0
    """On the long scales, and in all slow measures, a block counts as at most `cap` times the usual count, so that a
    short burst is not taken for a lasting rise ..."""
    cap_least: float = 3.0
    """... and this much more, per 5 minutes."""
    dispersion_prior: float = 0.02
    """Dispersion (variance = mean + dispersion x mean^2) as long as nothing is known."""
    dispersion_short: float = 1.0
    """The highest dispersion that is assumed for blocks ..."""
    dispersion_long: float = 0.05
    """... and for hours, where independent noise averages out. The rest is rhythm, which the maximum has seen."""
    silent_hours: float = 1.0
    """A new series does not fire for this long (hours) ..."""
    young_hours: float = 24.0
    """... and for this long (hours) its level is higher, because no whole day was seen yet ..."""
    young_factor: float = 3.0
    """... by this factor at first, falling to nothing."""


DEFAULT_POLICY: Final = SpikePolicy()


class Grid(NamedTuple):
    """The resolution of a series: counts come by buckets, and the state keeps blocks. `grid_of` derives the grid from
    the width of a bucket."""

    width: int
    """Seconds of a bucket."""
    block: int
    """Seconds of a block."""
    hour_blocks: int
    """Blocks in an hour, the second scale."""
    long_blocks: int
    """Blocks in 4 hours, the third scale."""


def grid_of(width_seconds: int) -> Grid:
    """Returns the grid for buckets of this width.

    Raises SettingsError for a width that does not fit: a width must divide 5 minutes into at most 5 (60, 75, 100, 150,
    300) or be at least 5 minutes and divide an hour (360, 600, 900, 1200, 1800, 3600, ...).

    >>> grid_of(60)
    Grid(width=60, block=300, hour_blocks=12, long_blocks=48)
    """
    short = width_seconds >= BLOCK_SECONDS // MOST_BUCKETS and BLOCK_SECONDS % width_seconds == 0
    if not short and (width_seconds < BLOCK_SECONDS or HOUR_SECONDS % width_seconds):
        raise SettingsError(
            f"width: buckets of {width_seconds} s are not known: make them 60 s, 300 s, "
            "or from there on a part of an hour (600, 900, 1200, 1800, 3600)"
        )
    block = max(width_seconds, BLOCK_SECONDS)
    return Grid(width_seconds, block, HOUR_SECONDS // block, 4 * HOUR_SECONDS // block)


def scale_seconds(grid: Grid) -> tuple[int, int, int]:
    """Returns the seconds of the three scales."""
    return (grid.block, HOUR_SECONDS, 4 * HOUR_SECONDS)

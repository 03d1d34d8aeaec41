"""What the detector takes for a spike: one setting for every series, whatever its rate, in round numbers.

A count is judged on three scales at once: the last block (5 minutes), the last hour and the last 4 hours. On each it
must beat a level made of three parts, the highest of which counts:

- chance: a bound on what a negative binomial with the usual mean (slow mean x hour of the day) would give;
- memory: the series' own fading maximum of that scale, but for the last hours, so that a steep rise is not its own
  measure. It fades more slowly for series that keep breaking records;
- silence: twice what the last alert had, fading within hours: an event is told again only when it has doubled, and not
  within 5 minutes.

score = highest of observed / level; from 1 on it fires.
"""

from typing import Final, NamedTuple

from pipeline.errors import SettingsError

VERSION: Final = 1
"""Part of each spike's id: raised by every change of code or setting that alters verdicts."""

HOUR: Final = 3600
DAY: Final = 86_400
BLOCK_SECONDS: Final = 300
SCALES: Final = 3
MOST_BUCKETS: Final = 5  # a minute's buckets in a block


class SpikePolicy(NamedTuple):
    """The detector's setting. Times in hours are half-lives unless said otherwise."""

    threshold: float = 1.0
    """Score from which a verdict fires."""
    margin: float = 1.1
    """A record must beat the old one by a tenth."""
    chance: float = 12.0
    """-ln of the bound on the probability that chance alone reaches the level."""
    least: float = 10.0
    """No level is below this count: nobody is woken for nine comments."""
    fade_hours: float = 336.0
    """Of the maximum: two weeks ..."""
    slowing: float = 1.0
    """... and that much longer for each alert of late (themselves fading in two weeks)."""
    silence_hours: float = 12.0
    """Of the level that an alert sets ..."""
    growth: float = 2.0
    """... at this many times what was observed."""
    mean_hours: float = 48.0
    """Of the slow mean."""
    spread_hours: float = 168.0
    """Of the dispersion."""
    profile_days: float = 7.0
    """Days over which an hour of the day is averaged (weight 1/7 for the newest)."""
    profile_prior: float = 10.0
    """Counts that an hour of the day must outweigh before it leaves the mean."""
    cap: float = 4.0
    """What lasts is told from what is only loud: on the long scales, and in all slow measures, a block counts as at
    most `cap` times the usual ..."""
    cap_least: float = 3.0
    """... and this much more, per 5 minutes."""
    dispersion_prior: float = 0.02
    """Dispersion (variance = mean + dispersion x mean^2) as long as nothing is known."""
    dispersion_short: float = 1.0
    """Most that is believed of the dispersion of blocks ..."""
    dispersion_long: float = 0.05
    """... and of hours: independent noise averages out there; what remains is rhythm, which the maximum has seen."""
    silent_hours: float = 1.0
    """From nothing: nothing fires for so long (hours) ..."""
    young_hours: float = 24.0
    """... and for so long (hours) the level is higher, because no whole day was seen ..."""
    young_factor: float = 3.0
    """... by this much at first, falling to nothing."""


SHIPPED: Final = SpikePolicy()


class Grid(NamedTuple):
    """How a series is cut: buckets come in, blocks are remembered. Derived from the bucket width by `cut`."""

    width: int
    """Seconds of a bucket."""
    block: int
    """Seconds of a block."""
    hour_blocks: int
    """Blocks in an hour, the second scale."""
    long_blocks: int
    """Blocks in 4 hours, the third scale."""


def cut(width_seconds: int) -> Grid:
    """The grid for buckets of that width.

    Raises SettingsError for a width that does not fit: it must divide 5 minutes into at most 5 (60, 75, 100, 150, 300)
    or be at least that and divide an hour (360, 600, 900, 1200, 1800, 3600, ...).

    >>> cut(60)
    Grid(width=60, block=300, hour_blocks=12, long_blocks=48)
    """
    short = width_seconds >= BLOCK_SECONDS // MOST_BUCKETS and BLOCK_SECONDS % width_seconds == 0
    if not short and (width_seconds < BLOCK_SECONDS or HOUR % width_seconds):
        raise SettingsError(
            f"width: buckets of {width_seconds} s are not known: make them 60 s, 300 s, "
            "or from there on a part of an hour (600, 900, 1200, 1800, 3600)"
        )
    block = max(width_seconds, BLOCK_SECONDS)
    return Grid(width_seconds, block, HOUR // block, 4 * HOUR // block)


def scale_seconds(grid: Grid) -> tuple[int, int, int]:
    """Seconds of the three scales."""
    return (grid.block, HOUR, 4 * HOUR)

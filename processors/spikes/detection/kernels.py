"""Arithmetic of the detector: compiled loops over one row of fixed width per series.

A row changes only when a bucket closes, a block closes (5 minutes) or an hour closes. An empty stretch is skipped block
by block, then hour by hour, and leaves exactly the row that its zeros would have left. `p` is a SpikePolicy, `g` a
Grid, `r` a row.
"""

from math import ceil, floor, sqrt
from typing import Final

import numpy as np
from numba import njit

from processors.spikes.policy import BLOCK_SECONDS, HOUR_SECONDS

BLOCKS: Final = 48  # 4 hours of blocks
MOST_COUNT: Final = 2**31
NEVER_FIRES: Final = 2**62

SERIES: Final = np.dtype(
    [
        ("alive", "i8"),  # 0: no count came yet
        ("born", "i8"),  # when the first count came, seconds since 1970
        ("bucket", "i8"),  # number of the open bucket since 1970, likewise block and hour
        ("block", "i8"),
        ("hour", "i8"),
        ("open", "i8"),  # count of the open bucket
        ("part", "i8"),  # count of the closed buckets of the open block
        ("buckets", "u4", 5),  # the last closed buckets, which make a block with the open one
        ("recent", "i8"),  # their sum
        ("blocks", "u4", BLOCKS),  # closed blocks, capped
        ("last_hour", "i8"),  # sum of the closed blocks that make an hour with the open one
        ("last_hours", "i8"),  # the same for 4 hours
        ("block_max", "i8"),  # highest sliding sum in the open block
        ("cap", "i8"),  # the most that a block counts in this hour
        ("seen", "i8"),  # closed blocks of this hour, their sum and sum of squares
        ("sum", "f8"),
        ("squares", "f8"),
        ("mean", "f8"),  # slow mean of a block, and its weight in hours
        ("weight", "f8"),
        ("counts", "f4", 24),  # by hour of the day: counts, and what the mean alone made expected
        ("usual", "f4", 24),
        ("excess", "f8", 2),  # variance beyond Poisson's and mean^2, of blocks and hours: their ratio is the dispersion
        ("square", "f8", 2),
        ("peaks", "f8", 3),  # highest count of this hour, by scale
        ("late", "f8", (3, 4)),  # peaks of the hours before, which are not yet in the maximum
        ("most", "f8", 3),  # fading maximum
        ("silence", "f8", 3),  # level set by the last alert
        ("records", "f8"),  # number of recent alerts, fading
        ("mute", "i8"),  # no verdict fires before this time: a burst takes a block to fill a sliding block
    ]
)

# Columns of a verdict.
SCORE: Final = 0
OBSERVED: Final = 1
EXPECTED: Final = 2
REQUIRED: Final = 3
SCALE: Final = 4
AGE: Final = 5  # hours since the first count
RECORD: Final = 6
VERDICT_COLUMNS: Final = 7


@njit(cache=True, nogil=True)
def usual_block(r, p):
    """Returns the expected count of a block at this hour of the day: the slow mean x a ratio shrunk towards 1."""
    h = r.hour % 24
    return r.mean * (r.counts[h] + p.profile_prior) / (r.usual[h] + p.profile_prior)


@njit(cache=True, nogil=True)
def chance_level(mean, dispersion, z):
    """Returns a count that is exceeded with probability below about e^-z: Bernstein's bound for a sub-gamma variable
    (Boucheron, Lugosi, Massart 2013, 2.4) with a negative binomial's variance, scale 1/3 (Poisson) + dispersion x mean
    (Gamma)."""
    variance = mean + dispersion * mean * mean
    return mean + sqrt(2.0 * variance * z) + (1.0 / 3.0 + dispersion * mean) * z


@njit(cache=True, nogil=True)
def start(r, p, g, time):
    """Begins a series with the bucket of its first count."""
    r.alive, r.born = 1, time
    r.bucket = time // g.width
    r.block = r.bucket * g.width // g.block
    r.hour = r.block * g.block // HOUR_SECONDS
    r.cap = MOST_COUNT  # no usual count is known yet


@njit(cache=True, nogil=True)
def close_bucket(r, p, g):
    """Moves the open bucket into the sliding block, and begins the next bucket."""
    n = g.block // g.width
    r.block_max = max(r.block_max, r.recent + r.open)
    r.part += r.open
    r.recent += r.open
    r.buckets[r.bucket % n] = r.open
    r.open = 0
    r.bucket += 1
    leaving = r.bucket % n
    r.recent -= r.buckets[leaving]
    r.buckets[leaving] = 0
    if r.bucket * g.width // g.block != r.block:
        close_block(r, p, g)


@njit(cache=True, nogil=True)
def close_block(r, p, g):
    """Caps the old block, adds its count to the sums of the longer scales, and begins the next block."""
    count = min(r.part, r.cap)
    r.part = 0
    r.blocks[r.block % BLOCKS] = count
    r.last_hour += count
    r.last_hours += count
    r.peaks[0] = max(r.peaks[0], np.float64(r.block_max))
    r.peaks[1] = max(r.peaks[1], np.float64(r.last_hour))
    r.peaks[2] = max(r.peaks[2], np.float64(r.last_hours))
    r.block_max = 0
    r.sum += count
    r.squares += np.float64(count) * count
    r.seen += 1
    r.block += 1
    r.last_hour -= r.blocks[(r.block - g.hour_blocks) % BLOCKS]
    leaving = (r.block - g.long_blocks) % BLOCKS
    r.last_hours -= r.blocks[leaving]
    r.blocks[leaving] = 0
    if r.block * g.block // HOUR_SECONDS != r.hour:
        close_hour(r, p, g)


@njit(cache=True, nogil=True)
def close_hour(r, p, g):
    """Updates all that changes once an hour: means, profile, dispersions, maxima and cap."""
    n, h, expected = np.float64(r.seen), r.hour % 24, usual_block(r, p)
    if r.weight > 0.0:
        keep = 0.5 ** (1.0 / p.spread_hours)
        squared = r.squares - 2.0 * expected * r.sum + n * expected * expected
        r.excess[0] = max(r.excess[0] * keep + squared - n * expected, 0.0)
        r.square[0] = r.square[0] * keep + n * expected * expected
        r.excess[1] = max(r.excess[1] * keep + (r.sum - n * expected) ** 2 - n * expected, 0.0)
        r.square[1] = r.square[1] * keep + (n * expected) ** 2
    keep = 0.5 ** (1.0 / p.mean_hours)
    share = n / g.hour_blocks
    r.mean = (r.mean * r.weight * keep + r.sum / n * share) / (r.weight * keep + share)
    r.weight = r.weight * keep + share
    keep = 1.0 - 1.0 / p.profile_days
    r.counts[h] = r.counts[h] * keep + r.sum
    r.usual[h] = r.usual[h] * keep + r.mean * n
    fade = 0.5 ** (1.0 / (p.fade_hours * (1.0 + p.slowing * r.records)))
    quieten = 0.5 ** (1.0 / p.silence_hours)
    alerted = r.hour * HOUR_SECONDS < r.mute + 24 * HOUR_SECONDS
    for k in range(3):
        # Recent peaks do not raise the maximum yet: blocks wait an hour, longer scales four, so that a rise is not
        # measured by itself. On the day after an alert they do: the rise is known, and cap and sums follow the mean.
        wait = 0 if k == 0 or alerted else 3
        r.most[k] *= fade
        for j in range(3, -1, -1):
            if j >= wait:
                r.most[k] = max(r.most[k], r.late[k, j])
            r.late[k, j] = r.late[k, j - 1] if j > 0 else r.peaks[k]
        r.peaks[k] = 0.0
        r.silence[k] *= quieten
    r.records *= 0.5 ** (1.0 / p.fade_hours)
    r.seen, r.sum, r.squares = 0, 0.0, 0.0
    r.hour += 1
    r.cap = np.int64(floor(usual_block(r, p) * p.cap + p.cap_least * g.block / 300.0))


@njit(cache=True, nogil=True)
def advance(r, p, g, bucket):
    """Closes every bucket before `bucket`. An empty stretch costs one step per hour."""
    while r.bucket < bucket:
        if r.open == 0 and r.recent == 0:
            left = (r.block + 1) * g.block // g.width - 1 - r.bucket  # buckets of the open block after this one
            if r.part == 0 and r.last_hours == 0 and r.block_max == 0:
                blocks = (r.hour + 1) * HOUR_SECONDS // g.block - 1 - r.block
                whole = min(blocks, bucket * g.width // g.block - r.block)
                if whole > 0:
                    r.seen += whole
                    r.block += whole
                    r.bucket = r.block * g.block // g.width
                    continue
            skipped = min(left, bucket - 1 - r.bucket)
            r.bucket += skipped
        close_bucket(r, p, g)


@njit(cache=True, nogil=True)
def level_of(r, p, g, k):
    """Returns the count that gives a score of 1 on scale `k`."""
    blocks = 1 if k == 0 else (g.hour_blocks if k == 1 else g.long_blocks)
    j = 0 if k == 0 else 1
    highest = p.dispersion_short if k == 0 else p.dispersion_long
    dispersion = min((r.excess[j] + p.dispersion_prior) / (r.square[j] + 1.0), highest)
    chance = chance_level(usual_block(r, p) * blocks, dispersion, p.chance)
    youth = 1.0 + p.young_factor * max(0.0, 1.0 - age_of(r, g) / p.young_hours)
    return max(chance * p.margin * youth, r.most[k] * p.margin * youth, r.silence[k], p.least)


@njit(cache=True, nogil=True)
def age_of(r, g):
    """Returns the hours since the first count, at the start of the open bucket."""
    return max((r.bucket * g.width - r.born) / 3600.0, 0.0)


@njit(cache=True, nogil=True)
def can_fire(r, p, g):
    """Tells whether the series is old enough, and not muted by its last alert."""
    return age_of(r, g) >= p.silent_hours and r.bucket * g.width >= r.mute


@njit(cache=True, nogil=True)
def judge(r, p, g, verdict):
    """Writes the verdict on the open bucket, and changes nothing else. The score is 0 without a count or where nothing
    can fire."""
    usual = usual_block(r, p)
    capped = min(r.part + r.open, r.cap)
    best = -1.0
    for k in range(3):
        observed = r.recent + r.open if k == 0 else (r.last_hour if k == 1 else r.last_hours) + capped
        level = level_of(r, p, g, k)
        ratio = observed / level
        if ratio > best:
            best = ratio
            verdict[OBSERVED] = observed
            verdict[EXPECTED] = usual * (1 if k == 0 else (g.hour_blocks if k == 1 else g.long_blocks))
            verdict[REQUIRED] = level
            verdict[SCALE] = k
            verdict[RECORD] = r.most[k]
    verdict[SCORE] = best if can_fire(r, p, g) and r.open > 0 else 0.0
    verdict[AGE] = age_of(r, g)


@njit(cache=True, nogil=True)
def update(series, p, g, rows, times, counts, verdicts):
    """Adds the counts in order, each to the bucket of its time, and judges the bucket. Times of a row never fall."""
    for i in range(len(rows)):
        r = series[rows[i]]
        if r.alive == 0:
            start(r, p, g, times[i])
        advance(r, p, g, times[i] // g.width)
        r.open = min(r.open + counts[i], MOST_COUNT)
        judge(r, p, g, verdicts[i])
        if verdicts[i, SCORE] >= p.threshold:
            r.records += 1.0
            r.mute = r.bucket * g.width + BLOCK_SECONDS
            for k in range(3):
                r.silence[k] = level_of(r, p, g, k) * verdicts[i, SCORE] * p.growth


@njit(cache=True, nogil=True)
def firing_counts(series, p, g, rows, time, spare, counts):
    """Writes, per row, the least count of the bucket of `time` that is sure to fire; NEVER_FIRES where no count would.
    Works in `spare`, a row of its own; the series stay as they are."""
    r = spare[0]
    bucket = time // g.width
    for i in range(len(rows)):
        counts[i] = NEVER_FIRES
        if series[rows[i]].alive == 0:
            continue
        if series[rows[i]].bucket < bucket:
            spare[0] = series[rows[i]]
            advance(r, p, g, bucket)
            counts[i] = least_count(r, p, g)
        elif series[rows[i]].bucket == bucket:
            counts[i] = least_count(series[rows[i]], p, g)


@njit(cache=True, nogil=True)
def least_count(r, p, g):
    """Returns the least count of the open bucket that is sure to fire; NEVER_FIRES where no count would."""
    least = np.int64(NEVER_FIRES)
    if not can_fire(r, p, g):
        return least
    for k in range(3):
        level = level_of(r, p, g, k) * p.threshold
        if k == 0:
            least = min(least, np.int64(ceil(level - r.recent)))
        else:
            missing = np.int64(ceil(level - (r.last_hour if k == 1 else r.last_hours)))
            if missing <= r.cap:
                least = min(least, missing - r.part)
    return max(least, 1)

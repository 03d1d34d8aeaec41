"""The calibration: learns versions of the forecast's parameters for each channel, as far as event time has come.

Which versions there are, and what they say, follows from the posts that are a day old, and those that have finished, by
event time (fit/versions.py).
A version is written once. So it does not matter when, where or how often a calibration runs: another one finds the same
versions, and writes those that are missing. A crash leaves a prefix of them.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from processors.calibration.store import CalibrationStore, StoredVersion, digest_of
from processors.columnar.arrays import Array
from processors.engagement.watermarks.store import stored_watermarks
from processors.virality.fit.kinds import READ_AGE_MINUTES
from processors.virality.fit.versions import (
    NEVER,
    SETTLED_MINUTES,
    WINDOW_POSTS,
    due_counts,
    learn,
    order_of,
    read,
    reading_minutes,
)
from processors.virality.parameters import ForecastParameters, dump_parameters, load_parameters, resampled
from processors.virality.spread import Lookups
from schemas.metrics import FOLD_VERSION, MINUTE_US
from schemas.spread import FITTED_AGES

DIGITS: Final = 9
"""Digits of a stored parameter."""

CHECKED_VERSIONS: Final = 3
"""The newest versions of a channel that a check learns again; each takes a second or two."""

CLOSE: Final = 1e-6
"""The largest difference of a parameter that was learned again."""


class Learned(NamedTuple):
    """A version that was learned now."""

    channel: str
    version: StoredVersion


class VersionDifference(NamedTuple):
    """A stored version that differs from the version learned again."""

    channel: str
    holds_from: int
    said: str

    def __str__(self) -> str:
        moment = np.datetime64(self.holds_from, "m")
        return f"forecast_versions {self.channel} {moment}: {self.said}"


class VersionsChecked(NamedTuple):
    """The result of a check: versions learned again, versions whose posts got late events since, and differences."""

    same: int
    late: int
    differences: list[VersionDifference]


def calibrate(settings: Settings) -> list[Learned]:
    """Learns and stores all versions that are due. Blocks for seconds per version. Raises SettingsError for a file of
    parameters that cannot be used; Unavailable, Refused."""
    prior = resampled(load_parameters(settings.forecast), FITTED_AGES)
    with ClickHouse(settings) as clickhouse:
        marks = stored_watermarks(clickhouse)
        if len(marks) < settings.partitions:
            return []  # of some partitions nobody knows yet how far their event time has come
        reached = min(marks.values()) // MINUTE_US
        store = CalibrationStore(clickhouse)
        return [learned for channel in store.channels() for learned in _learn_channel(store, channel, reached, prior)]


def check_versions(settings: Settings) -> VersionsChecked:
    """Learns the newest versions of each channel again, and compares. Blocks. Raises as `calibrate`."""
    prior, same, late, differences = resampled(load_parameters(settings.forecast), FITTED_AGES), 0, 0, []
    with ClickHouse(settings) as clickhouse:
        store = CalibrationStore(clickhouse)
        for channel in store.channels():
            stored = store.versions(channel)
            for number in range(max(len(stored) - CHECKED_VERSIONS, 0), len(stored)):
                version, before = stored[number], stored[number - 1].finished if number else 0
                if version.learned_by != learner(prior):
                    continue
                found, _ = _version(store, channel, version.holds_from, version.finished, before, prior)
                if found.digest != version.digest:
                    late += 1
                elif not np.allclose(found.here, version.here, rtol=CLOSE, atol=CLOSE):
                    said = "parameters are not what the finished posts teach"
                    differences.append(VersionDifference(channel, version.holds_from, said))
                else:
                    same += 1
    return VersionsChecked(same, late, differences)


def learner(prior: ForecastParameters) -> str:
    """Names the program and the prior that a version was learned with."""
    content = hashlib.sha256(dump_parameters(prior).encode()).hexdigest()[:12]
    return f"fold version {FOLD_VERSION}, prior sha256 {content}"


def _learn_channel(store: CalibrationStore, channel: str, reached: int, prior: ForecastParameters) -> Iterator[Learned]:
    stored = store.versions(channel)
    own = [version for version in stored if version.finished]
    before, since = (own[-1].finished, own[-1].holds_from) if own else (0, 0)
    finished_at = _ages_reached(store, channel, SETTLED_MINUTES, since if own else -1, reached)
    due = due_counts(finished_at, before, since)
    if prior.kinds and not own:
        yield from _read_channel(store, channel, reached, stored, int(finished_at[due[0] - 1]) if due else NEVER, prior)
    last = before
    for count in due:
        holds_from = int(finished_at[count - before - 1])
        version, habits = _version(store, channel, holds_from, count, last, prior)
        store.write(channel, version, FITTED_AGES, habits)
        last = count
        yield Learned(channel, version)


def _read_channel(
    store: CalibrationStore,
    channel: str,
    reached: int,
    stored: Sequence[StoredVersion],
    until: int,
    prior: ForecastParameters,
) -> Iterator[Learned]:
    """Stores the versions of posts a day old that hold before the minute `until` and are not stored yet."""
    read_at = _ages_reached(store, channel, READ_AGE_MINUTES, -1, reached)
    for _, minute in reading_minutes(read_at, until):
        if not stored or minute > stored[-1].holds_from:
            version, _ = _version(store, channel, minute, 0, 0, prior)
            store.write(channel, version, FITTED_AGES, {})
            yield Learned(channel, version)


def _ages_reached(store: CalibrationStore, channel: str, age: int, since: int, reached: int) -> Array:
    """Returns the minutes after `since`, rising, in which posts reached an age in minutes."""
    reached_at = store.reached(channel, age, max(since - age, -1), reached - age) + age
    # A minute counts once the watermark is behind its end.
    return reached_at[(reached_at > since) & (reached_at < reached)]


def _version(
    store: CalibrationStore, channel: str, holds_from: int, finished: int, before: int, prior: ForecastParameters
) -> tuple[StoredVersion, Mapping[str, float]]:
    """Learns one version from the posts that had finished by its minute, and the habits of authors of the posts after
    the first `before`; where none had, from those that were a day old."""
    age = SETTLED_MINUTES if finished else READ_AGE_MINUTES
    post_ids = store.newest(channel, age, holds_from - age, WINDOW_POSTS)
    cascades = store.cascades(post_ids, holds_from)
    order = order_of(cascades, np.ones(len(cascades.made), np.bool_))
    parameters = (
        learn(cascades, order, holds_from, finished - before, prior, Lookups())
        if finished
        else read(cascades, order, holds_from, prior, Lookups())
    )
    here = tuple(tuple(round(number, DIGITS) for number in row) for row in parameters.table.tolist())
    digest = digest_of(cascades)
    return StoredVersion(holds_from, finished, digest, learner(prior), here), parameters.habits

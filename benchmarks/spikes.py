"""The spike detector: cost and bytes of a series, quality on labelled series, false alarms on quiet ones.

    python benchmarks/spikes.py [--quiet 10000] [--data FOLDER]

Needs neither Kafka nor ClickHouse. The labelled series are CSV files with a labels.json beside them, if any.
Exit 1 beyond what is promised.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from processors.spikes.backtest import LabelScores, compare_with_labels, judge_series, rate_all
from processors.spikes.detection import numenta
from processors.spikes.detection.bank import ROW_BYTES, Bank, Verdicts
from processors.spikes.detection.series import Labels, Series, read_labels, read_series
from processors.spikes.policy import DEFAULT_POLICY, HOUR_SECONDS

Array = np.ndarray[Any, Any]

UPDATE_US, SERIES_BYTES, QUIET_ALERTS = 20.0, 2000, 1 / 20
"""Promised: microseconds an update, bytes a series, alerts a quiet series and week."""

START: Final = 1_767_225_600
"""2026-01-01."""
PROBATION_SECONDS: Final = numenta.PROBATION_ROWS * 300
"""Probation lasts this long at other resolutions too."""

DATA: Final = Path(os.environ.get("ENGAGEMENT_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


@click.command()
@click.option("--quiet", default=10_000, show_default=True, help="Quiet series of a week, a minute a bucket.")
@click.option("--data", default=DATA / "mentions", type=click.Path(path_type=Path), help="Folder of labelled series.")
def main(quiet: int, data: Path) -> None:
    """Prints all figures."""
    kept = True
    for number in (10_000, 100_000):
        mean, worst, firing = cost(number)
        kept &= mean <= UPDATE_US
        print(
            f"{number:>7,} series together: {mean:.2f} us an update ({worst:.2f} where an hour ends), "
            f"{firing:.2f} us a firing level",
            flush=True,
        )
    kept &= ROW_BYTES <= SERIES_BYTES
    print(f"{ROW_BYTES} bytes a series")
    if (data / "labels.json").is_file():
        show_quality(data)
    else:
        print(f"no labelled series in {data}: no figures of quality")
    series = alarms = young = 0
    for name, one in quiet_series(quiet):
        verdicts = judge_series(one, DEFAULT_POLICY)
        late = verdicts.ages >= DEFAULT_POLICY.young_hours
        series, alarms = series + 1, alarms + int(verdicts.fires[late].sum())
        young += int(verdicts.fires[~late].sum())
        if verdicts.fires.any():
            row = int(np.argmax(verdicts.fires))
            print(
                f"  {name}: {verdicts.observed[row]:.0f} in {verdicts.scales[row]} s, "
                f"usual {verdicts.expected[row]:.1f}"
            )
    per_week = alarms / max(series * 6 / 7, 1)
    kept &= per_week <= QUIET_ALERTS
    print(
        f"{series:,} quiet series of a week: {alarms} alerts after the first day ({per_week:.4f} a week), {young} in it"
    )
    sys.exit(0 if kept else 1)


def cost(number: int, minutes: int = 122) -> tuple[float, float, float]:
    """Measures microseconds an update, amortised over two hours; the same in the slowest minute; microseconds a firing
    level. Kernels are loaded before."""
    rng = np.random.default_rng(1)
    bank = Bank(60, capacity=number)
    rows, rates = bank.add(number), 10 ** rng.uniform(-2.5, 4.7, number)
    spent = []
    for minute in range(minutes):
        counts = rng.poisson(rates)
        before = time.perf_counter()
        bank.update_many(rows, START + 60 * minute, counts)
        spent.append((time.perf_counter() - before) / number * 1e6)
    bank.firing_levels(rows[:1], START + 60 * minutes)
    before = time.perf_counter()
    bank.firing_levels(rows, START + 60 * minutes)
    return float(np.mean(spent[2:])), max(spent[2:]), (time.perf_counter() - before) / number * 1e6


def show_quality(data: Path) -> None:
    """Prints Numenta's scores, then the number of windows found at other resolutions."""
    series = read_folder(data)
    labels = read_labels(data / "labels.json", series)
    judged, verdicts = judge(series, labels)
    rated = rate_all(verdicts, labels)
    print(
        f"{len(series)} labelled series: {judged.found} of {judged.windows} windows, "
        f"{judged.false_per_week:.2f} false a week"
    )
    for name, profile in numenta.PROFILES.items():
        top = numenta.best_threshold(rated, profile)
        print(
            f"  {name:<9} {judged.scores[name]:5.1f} as shipped, {top.score:5.1f} at the best threshold "
            f"({top.threshold:.2f}), {numenta.leave_one_out(rated, profile):5.1f} leave-one-out"
        )
    print(
        f"  median distance of the first alert in a window: {judged.first_minutes} min, "
        f"the nearest: {judged.nearest_minutes}"
    )
    for name, others in resolutions(series).items():
        found, false = found_in(others, read_labels(data / "labels.json", others))
        print(f"  {name:<22} {len(found)} windows, {false} false alarms")


def read_folder(folder: Path) -> list[Series]:
    """Reads all CSV files of a folder."""
    return [read_series(path) for path in sorted(folder.glob("*.csv"))]


def judge(series: Sequence[Series], labels: Sequence[Labels]) -> tuple[LabelScores, list[Verdicts]]:
    """Judges labelled series with the shipped setting."""
    verdicts = [judge_series(one, DEFAULT_POLICY) for one in series]
    return compare_with_labels(series, verdicts, labels), verdicts


def found_in(series: Sequence[Series], labels: Sequence[Labels]) -> tuple[set[tuple[str, int]], int]:
    """Returns (series, window) of each window with an alert, and the number of alerts outside; both after probation."""
    found, false = set(), 0
    for one, told in zip(series, labels, strict=True):
        fires = judge_series(one, DEFAULT_POLICY).fires & (one.times >= one.times[0] + PROBATION_SECONDS)
        for number, (first, last) in enumerate(told.windows):
            if fires[first : last + 1].any():
                found.add((one.name, number))
            fires[first : last + 1] = False
        false += int(fires.sum())
    return found, false


def resolutions(series: Sequence[Series]) -> dict[str, list[Series]]:
    """Returns 5-minute series at other resolutions: split at random to minutes, summed to quarters of an hour,
    thinned."""
    rng = np.random.default_rng(5)
    return {
        "1 minute": [_changed(one, _minutes(one, rng), 60) for one in series],
        "15 minutes": [_changed(one, one.counts, 900) for one in series],
        "a quarter of the counts": [_changed(one, rng.binomial(one.counts, 0.25), 300) for one in series],
    }


def quiet_series(number: int, width: int = 60, seed: int = 0) -> Iterator[tuple[str, Series]]:
    """Yields random series of a week without a spike: 5 counts a day to 5,000 a minute, Poisson or negative binomial
    (size 1 to 30 a bucket), even or with a daily rhythm (up to 11 x from trough to crest)."""
    times = START + width * np.arange(7 * 24 * HOUR_SECONDS // width)
    for index in range(number):
        rng = np.random.default_rng([seed, index])
        rate = 10 ** rng.uniform(np.log10(5 / 1440), np.log10(5000)) * width / 60
        name = f"{rate * 24 * HOUR_SECONDS / width:,.0f} a day"
        rates = np.full(len(times), rate)
        if index % 4 >= 2:
            crest = rng.uniform(0.2, 1.2)
            rates *= np.exp(crest * np.sin(2 * np.pi * (times / (24 * HOUR_SECONDS) + rng.uniform())))
            name += f", crest {np.exp(2 * crest):.1f} x trough"
        if index % 2:
            size = 10 ** rng.uniform(0, 1.5)
            rates *= rng.gamma(size, 1 / size, len(times))
            name += f", negative binomial of size {size:.1f}"
        yield name, Series(f"quiet{index}", (), times, rng.poisson(rates), width)


def _minutes(one: Series, rng: np.random.Generator) -> Array:
    return rng.multinomial(one.counts, [0.2] * 5).ravel()


def _changed(one: Series, counts: Array, width: int) -> Series:
    """Returns the series with other counts, or with other times: rows of one bucket are summed."""
    if width < one.width:
        times = (one.times[:, None] + width * np.arange(one.width // width)).ravel()
        return Series(one.name, (), times, counts, width)
    _, first = np.unique(one.times // width, return_index=True)
    return Series(one.name, (), one.times[first], np.add.reduceat(counts, first), width)


if __name__ == "__main__":
    main()

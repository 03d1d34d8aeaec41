"""A whole simulation: from a policy to records in the order of sending. The same policy gives the same bytes."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from producers.simulation.additions import add_retractions, make_awkward, plant_spike
from producers.simulation.cascades import grow_cascades
from producers.simulation.clock import Clock
from producers.simulation.columns import POST, Ints, SimulatedColumns
from producers.simulation.malformed import spoil
from producers.simulation.policy import SimulationPolicy
from producers.simulation.world import make_world
from producers.simulation.writing import Writer
from producers.source import SourceRecord

HOUR_MICROSECONDS: Final = 3_600_000_000
"""Microseconds, as all times here."""

FAR_AHEAD: Final = 4_102_444_800_000_000
"""2100-01-01: ahead of every clock."""


def simulated_records(policy: SimulationPolicy) -> Iterator[SourceRecord]:
    """Returns all records. Needs 150 bytes of memory an event. Raises SettingsError for a policy that makes no sense,
    or part of which would do nothing."""
    rng = np.random.Generator(np.random.PCG64(policy.seed))
    columns = draw_events(rng, policy)
    writer = Writer(rng, columns, make_world(rng, columns.actor[: policy.posts]), policy.name)
    occurred, order = draw_order(rng, columns, policy)
    flaws = draw_flaws(rng, policy, len(order))
    return with_malformed(writer.records(order, occurred[order]), flaws)


def draw_events(rng: np.random.Generator, policy: SimulationPolicy) -> SimulatedColumns:
    """Draws all events. Raises SettingsError as `simulated_records`."""
    policy.check()
    start, length = int(policy.start.timestamp() * 1e6), int(policy.hours * HOUR_MICROSECONDS)
    end = start + length
    taken_back = policy.taken_back
    columns = grow_cascades(rng, Clock(start / 1e6, length / 1e6), policy.posts, policy.events - taken_back, start)
    add_retractions(rng, columns, taken_back, end)
    for spike in policy.spikes:
        plant_spike(rng, columns, spike, start, end)
    make_awkward(rng, columns, policy.count(policy.awkward), end)
    return columns


def draw_order(rng: np.random.Generator, columns: SimulatedColumns, policy: SimulationPolicy) -> tuple[Ints, Ints]:
    """Draws the time of each row (beyond FAR_AHEAD for a future event), and the order of sending, some rows twice."""
    reactions = np.flatnonzero(columns.kind != POST)

    def some(share: float) -> Ints:
        return rng.choice(reactions, min(policy.count(share), len(reactions)), replace=False)

    occurred, sent = columns.occurred.copy(), columns.occurred.copy()
    late, shuffled, ahead = some(policy.late), some(policy.out_of_order), some(policy.future)
    sent[late] += (rng.uniform(1, 6, len(late)) * HOUR_MICROSECONDS).astype(np.int64)
    sent[shuffled] += (rng.exponential(HOUR_MICROSECONDS / 12, len(shuffled))).astype(np.int64)
    occurred[ahead] = FAR_AHEAD + np.arange(len(ahead))
    again = some(policy.duplicates)
    order = np.concatenate([np.arange(len(columns)), again])
    sent = np.concatenate([sent, sent[again] + (rng.exponential(HOUR_MICROSECONDS / 60, len(again))).astype(np.int64)])
    return occurred, order[np.argsort(sent, kind="stable")]


def draw_flaws(rng: np.random.Generator, policy: SimulationPolicy, records: int) -> Sequence[int]:
    """Draws the places of records followed by a malformed record, in order."""
    count = min(policy.count(policy.malformed), records)
    places: list[int] = np.sort(rng.choice(records, count, replace=False)).tolist()
    return places


def with_malformed(records: Iterator[SourceRecord], flaws: Sequence[int]) -> Iterator[SourceRecord]:
    """Yields the records, with spoilt copies behind the records at the places `flaws`."""
    number = 0
    for place, record in enumerate(records):
        yield record
        if number < len(flaws) and place == flaws[number]:
            yield spoil(record, number)
            number += 1

"""A whole simulation: from a policy to records in the order of sending. The same policy gives the same bytes."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from pipeline.errors import SettingsError
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
    """Returns all records. Needs 150 bytes of memory an event. Raises SettingsError for a policy that makes no
    sense."""
    if policy.posts < 1 or policy.events < 0 or policy.hours <= 0:
        raise SettingsError("a simulation needs at least one post, no fewer than 0 events and more than 0 hours")
    rng = np.random.Generator(np.random.PCG64(policy.seed))
    start, length = int(policy.start.timestamp() * 1e6), int(policy.hours * HOUR_MICROSECONDS)
    end = start + length
    taken_back = round(policy.events * policy.retractions)
    columns = grow_cascades(rng, Clock(start / 1e6, length / 1e6), policy.posts, policy.events - taken_back, start)
    add_retractions(rng, columns, taken_back, end)
    for spike in policy.spikes:
        plant_spike(rng, columns, spike, start, end)
    make_awkward(rng, columns, round(policy.events * policy.awkward), end)
    world = make_world(rng, columns.actor[: policy.posts])
    writer = Writer(rng, columns, world, f"sim{policy.seed}")
    order, occurred = _order(rng, columns, policy)
    flaws = np.flatnonzero(rng.random(len(order)) < policy.malformed * policy.events / len(order))
    return _with_malformed(writer.records(order, occurred), iter(flaws.tolist()))


def _order(rng: np.random.Generator, columns: SimulatedColumns, policy: SimulationPolicy) -> tuple[Ints, Ints]:
    """Returns rows in the order of sending, some twice, and the time of each record."""
    rows, count = len(columns), policy.events
    reactions = np.flatnonzero(columns.kind != POST)

    def some(share: float) -> Ints:
        return rng.choice(reactions, min(round(count * share), len(reactions)), replace=False)

    occurred, sent = columns.occurred.copy(), columns.occurred.copy()
    late, shuffled, ahead = some(policy.late), some(policy.out_of_order), some(policy.future)
    sent[late] += (rng.uniform(1, 6, len(late)) * HOUR_MICROSECONDS).astype(np.int64)
    sent[shuffled] += (rng.exponential(HOUR_MICROSECONDS / 12, len(shuffled))).astype(np.int64)
    occurred[ahead] = FAR_AHEAD + np.arange(len(ahead))
    again = some(policy.duplicates)
    order = np.concatenate([np.arange(rows), again])
    sent = np.concatenate([sent, sent[again] + (rng.exponential(HOUR_MICROSECONDS / 60, len(again))).astype(np.int64)])
    order = order[np.argsort(sent, kind="stable")]
    return order, occurred[order]


def _with_malformed(records: Iterator[SourceRecord], flaws: Iterator[int]) -> Iterator[SourceRecord]:
    """Yields the records, with spoilt copies behind some of them."""
    flaw, number = next(flaws, None), 0
    for place, record in enumerate(records):
        yield record
        if place == flaw:
            yield spoil(record, number)
            flaw, number = next(flaws, None), number + 1

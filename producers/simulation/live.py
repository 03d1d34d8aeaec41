"""A simulation without end: events at a steady rate, each stamped with the time at which it is sent.

The network is drawn in slices. A slice is a day of a simulation with posts of its own, of which only the order is used:
its events are spread evenly over the time that the rate gives them, an hour at most. So memory is bounded by the
largest slice, and parents still come before children.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from typing import Final

import numpy as np

from producers.simulation.additions import add_spike_comments, spike_times
from producers.simulation.cascades import REACTION_SHARES
from producers.simulation.clock import Reals
from producers.simulation.columns import POST, Ints
from producers.simulation.policy import PlantedSpike, SimulationPolicy, options_hash
from producers.simulation.records import FAR_AHEAD, draw_events, draw_flaws, draw_order, with_malformed
from producers.simulation.world import make_world
from producers.simulation.writing import Writer
from producers.source import SourceRecord

SLICE_SECONDS: Final = 3600.0
LEAST_SLICE: Final = 1_000
MOST_SLICE: Final = 50_000
"""The events of a slice: those of SLICE_SECONDS at the rate, within these bounds."""

EVENTS_A_POST: Final = 50
LEAST_TICK_SECONDS: Final = 0.02
TICK_SECONDS: Final = 0.1
"""The time between two looks at what is due: until the next event is, within these bounds. TICK_SECONDS is also the
most by which an event is dated before it is sent."""

BATCH: Final = 1_000
"""The most records that are written at a time."""


def sleep(seconds: float) -> bool:
    """Sleeps, and returns True: nobody has stopped the simulation."""
    time.sleep(seconds)
    return True


@dataclass(frozen=True)
class LiveClock:
    """The clocks of a live simulation. `now`: seconds of a monotonic clock. `wall`: Unix time in seconds. `sleep`
    blocks for some seconds, and returns False once the simulation is to end."""

    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], bool] = sleep


@dataclass(frozen=True)
class LivePolicy:
    """The policy of a live simulation. `rate`: records a second; spikes and malformed ones come on top. `untidy`: the
    shares of events, as of any simulation. Minutes of spikes count from the first record on."""

    rate: float
    untidy: SimulationPolicy = field(default_factory=SimulationPolicy)

    @property
    def slice_policy(self) -> SimulationPolicy:
        """The policy of each slice."""
        events = int(min(max(self.rate * SLICE_SECONDS, LEAST_SLICE), MOST_SLICE))
        return replace(self.untidy, events=events, posts=events // EVENTS_A_POST, hours=24.0, spikes=())


def live_records(policy: LivePolicy, clock: LiveClock | None = None) -> Iterator[SourceRecord]:
    """Returns records at their due times, until the clock's `sleep` returns False.

    Raises SettingsError for a policy part of which would do nothing.
    """
    clock = clock or LiveClock()
    policy.slice_policy.check()
    started, began = clock.now(), clock.wall()
    name = f"sim{policy.untidy.seed}-{options_hash({**asdict(policy), 'began': began})}"
    rng = np.random.Generator(np.random.PCG64([policy.untidy.seed, int(began * 1e6)]))
    comments_a_minute = policy.rate * 60 * REACTION_SHARES["comment"]
    spikes = [(spike, np.sort(spike_times(rng, spike, comments_a_minute)) / 1e6) for spike in policy.untidy.spikes]
    return _all_slices(policy, rng, name, spikes, clock, started)


def _all_slices(
    policy: LivePolicy,
    rng: np.random.Generator,
    name: str,
    spikes: Sequence[tuple[PlantedSpike, Reals]],
    clock: LiveClock,
    started: float,
) -> Iterator[SourceRecord]:
    begins = 0.0
    for number in count():
        slice_ = _Slice(rng, policy, f"{name}-{number}", begins, spikes)
        begins = slice_.ends
        flaws = draw_flaws(rng, policy.slice_policy, len(slice_.rows))
        yield from with_malformed(slice_.records(clock, started), flaws)
        if slice_.is_stopped:
            return
        del slice_  # before the next one takes as much memory


class _Slice:
    """A slice of a live simulation: rows in the order of sending, each with the time at which it is due."""

    def __init__(
        self,
        rng: np.random.Generator,
        policy: LivePolicy,
        name: str,
        begins: float,
        spikes: Sequence[tuple[PlantedSpike, Reals]],
    ) -> None:
        """Draws the slice. `begins`: seconds since the start of the simulation, as the times of spikes."""
        columns = draw_events(rng, policy.slice_policy)
        occurred, order = draw_order(rng, columns, policy.slice_policy)
        self.is_stopped = False
        self._newest = 0.0
        self.ends = begins + len(order) / policy.rate
        rows, dues = [order], [begins + np.arange(len(order)) / policy.rate]
        posts = columns.kind[order] == POST
        for spike, times in spikes:
            due = times[(times >= begins) & (times < self.ends)]
            if len(due):
                there = order[posts & (dues[0] <= due[0])]
                rows.append(add_spike_comments(rng, columns, spike, there, np.zeros(len(due), np.int64)))
                dues.append(due)
        due = np.concatenate(dues)
        in_time = np.argsort(due, kind="stable")
        self.rows, self._due = np.concatenate(rows)[in_time], due[in_time]
        # The time of each row in microseconds; 0 until its first record is sent. A duplicate has the time of the first.
        self._stamps = np.zeros(len(columns), np.int64)
        self._stamps[: len(occurred)] = np.where(occurred >= FAR_AHEAD, occurred, 0)
        world = make_world(rng, columns.actor[: policy.slice_policy.posts])
        self._writer = Writer(rng, columns, world, name)

    def records(self, clock: LiveClock, started: float) -> Iterator[SourceRecord]:
        """Yields the records at their due times. Sets `is_stopped` when the clock ends the simulation."""
        sent = 0
        while sent < len(self.rows):
            since = clock.now() - started
            wait = float(self._due[sent] - since)
            if not clock.sleep(min(max(wait, LEAST_TICK_SECONDS), TICK_SECONDS) if wait > 0 else 0.0):
                self.is_stopped = True
                return
            due = min(int(np.searchsorted(self._due, since, "right")), sent + BATCH)
            if due > sent:
                rows = self.rows[sent:due]
                stamps = self._stamp(rows, clock.wall() - np.clip(since - self._due[sent:due], 0, TICK_SECONDS))
                yield from self._writer.records(rows, stamps)
                sent = due

    def _stamp(self, rows: Ints, times: Reals) -> Ints:
        """Returns the times of some rows in microseconds; a new row gets its time of `times`, in seconds."""
        times = np.maximum(times, self._newest)
        self._newest = float(times[-1])
        # Backwards, so that the first time of a row that is among them twice stays.
        new = np.flatnonzero(self._stamps[rows] == 0)[::-1]
        self._stamps[rows[new]] = (times[new] * 1e6).astype(np.int64)
        stamps: Ints = self._stamps[rows]
        return stamps

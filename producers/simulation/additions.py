"""Additions to cascades: retractions, planted spikes, and awkward events that a careless fold gets wrong."""

from typing import Final

import numpy as np

from pipeline.errors import SettingsError
from producers.simulation.columns import COMMENT, LIKE, NO_ROW, POST, SHARE, Ints, SimulatedColumns
from producers.simulation.policy import PlantedSpike
from schemas.events import UNDO
from schemas.topics import KINDS

MINUTE_MICROSECONDS: Final = 60_000_000
FADING_MINUTES: Final = 10.0
SPIKE_MINUTES: Final = 30
UNDO_SECONDS: Final = 600.0
"""Mean time from an event to its retraction."""


def add_retractions(rng: np.random.Generator, columns: SimulatedColumns, count: int, end: int) -> None:
    """Adds `count` retractions of different likes, shares and comments, each by the actor and some time after the
    event."""
    candidates = np.flatnonzero(columns.kind != POST)
    targets = np.sort(rng.choice(candidates, min(count, len(candidates)), replace=False))
    _retract(columns, targets, np.minimum(columns.occurred[targets] + _delays(rng, len(targets)), end))


def plant_spike(rng: np.random.Generator, columns: SimulatedColumns, spike: PlantedSpike, start: int, end: int) -> None:
    """Adds comments under existing posts with the spike's hashtag or mention, until the end. Raises SettingsError where
    these would be none."""
    minutes = max(1.0, (end - start) / MINUTE_MICROSECONDS)
    occurred = start + spike_times(rng, spike, int((columns.kind == COMMENT).sum()) / minutes)
    occurred = occurred[occurred < end]
    if not len(occurred):
        raise _no_comment(spike)
    there = np.flatnonzero((columns.kind == POST) & (columns.occurred <= start + spike.minute * MINUTE_MICROSECONDS))
    add_spike_comments(rng, columns, spike, there, occurred)


def spike_times(rng: np.random.Generator, spike: PlantedSpike, comments_a_minute: float) -> Ints:
    """Draws the times of a spike's comments, in microseconds since the start, in no order.

    Minute m of the spike brings (factor - 1) x base x e^(-m / 10) on average; base: all comments a minute, / 10, at
    least 1. Raises SettingsError where no comment is drawn.
    """
    base = max(1.0, comments_a_minute / 10)
    per_minute = rng.poisson((spike.factor - 1) * base * np.exp(-np.arange(SPIKE_MINUTES) / FADING_MINUTES))
    if not per_minute.any():
        raise _no_comment(spike)
    minute = np.repeat(np.arange(SPIKE_MINUTES), per_minute)
    times: Ints = (spike.minute + minute) * MINUTE_MICROSECONDS + rng.integers(0, MINUTE_MICROSECONDS, len(minute))
    return times


def add_spike_comments(
    rng: np.random.Generator, columns: SimulatedColumns, spike: PlantedSpike, posts: Ints, occurred: Ints
) -> Ints:
    """Adds a comment of the spike at each time, by new actors, under some of `posts`, or under the first
    post where `posts` is empty. Returns their rows."""
    there = posts if len(posts) else np.flatnonzero(columns.kind == POST)[:1]
    actors = int(columns.actor.max()) + 1 + rng.integers(0, max(1, len(occurred)), len(occurred))
    rows = columns.add(np.full(len(occurred), COMMENT), rng.choice(there, len(occurred)), actors, occurred)
    columns.tags.update({int(row): (spike.where, spike.name) for row in rows})
    return rows


def make_awkward(rng: np.random.Generator, columns: SimulatedColumns, count: int, end: int) -> None:
    """Adds `count` rows in six equal sorts, each of which breaks a careless fold. Raises SettingsError where there is
    no like to begin with."""
    likes = np.flatnonzero((columns.kind == LIKE) & (columns.target == NO_ROW))
    if count and not len(likes):
        raise SettingsError("--awkward: among so few events there is no like to take back: give more --events")
    posts = max(1, int((columns.kind == POST).sum()))
    per_sort = max(1, count // 6) if count else 0

    def some() -> Ints:
        return rng.choice(likes, per_sort)

    # Before its target: dated earlier, therefore also sent earlier.
    targets = some()
    rows = _retract(columns, targets, columns.occurred[targets] - _delays(rng, per_sort))
    columns.ids.update({int(row): f"early-{row}" for row in rows})
    # Twice, by two ids.
    targets = some()
    for again in ("once", "twice"):
        rows = _retract(columns, targets, np.minimum(columns.occurred[targets] + _delays(rng, per_sort), end))
        columns.ids.update({int(row): f"{again}-{row}" for row in rows})
    # Of what is not there.
    targets = some()
    rows = _retract(columns, targets, columns.occurred[targets])
    columns.ids.update({int(row): f"lost-{row}" for row in rows})
    columns.targets.update({int(row): f"never-was-{row}" for row in rows})
    # Of another kind than its target: takes nothing back.
    targets = some()
    rows = _retract(columns, targets, columns.occurred[targets], np.full(per_sort, SHARE))
    columns.ids.update({int(row): f"astray-{row}" for row in rows})
    # One id on two kinds of a post, and on two posts.
    for kind, elsewhere in ((SHARE, False), (LIKE, True)):
        models = some()
        post = (columns.post[models] + elsewhere) % posts
        rows = columns.add(np.full(per_sort, kind), post, columns.actor[models], columns.occurred[models])
        columns.ids.update({int(row): default_id(columns, int(model)) for row, model in zip(rows, models, strict=True)})


def default_id(columns: SimulatedColumns, row: int) -> str:
    """Derives the event_id from a row: the kind's first letter and the number, or the target's id with
    '#undo'."""
    if columns.target[row] != NO_ROW:
        return default_id(columns, int(columns.target[row])) + UNDO
    return f"{KINDS[columns.kind[row]][0]}{row}"


def _no_comment(spike: PlantedSpike) -> SettingsError:
    place = f"{spike.where}:{spike.name}@{spike.minute}x{spike.factor:g}"
    return SettingsError(f"--spike {place} plants no comment: give a larger FACTOR")


def _retract(columns: SimulatedColumns, targets: Ints, occurred: Ints, kind: Ints | None = None) -> Ints:
    kinds = columns.kind[targets] if kind is None else kind
    return columns.add(kinds, columns.post[targets], columns.actor[targets], occurred, target=targets)


def _delays(rng: np.random.Generator, count: int) -> Ints:
    """Microseconds."""
    return (rng.exponential(UNDO_SECONDS, count) * 1e6).astype(np.int64) + 1

"""Cascades with a known reproduction number: a Hawkes process, generation by generation."""

from collections.abc import Callable
from typing import Any

import numpy as np

from processors.virality.fit.cascades import FOREVER, Cascades
from processors.virality.generation import MINUTES, WEIGHTS

Array = np.ndarray[Any, Any]
Waits = Callable[[int], Array]


def kernel_waits(rng: np.random.Generator) -> Waits:
    """Waits as the generation interval has them, minutes."""
    return lambda count: rng.exponential(MINUTES[rng.choice(len(MINUTES), count, p=WEIGHTS)])


def cascade(rng: np.random.Generator, r: float, given: Array, until: float, waits: Waits) -> Array:
    """Times of all nodes until then: those `given`, and what they bring: Poisson(r) each."""
    found, generation = [given], given
    while len(generation):
        children = np.repeat(generation, rng.poisson(r, len(generation)))
        generation = children + waits(len(children))
        generation = generation[generation < until]
        found.append(generation)
    return np.concatenate(found)


def cascades_with(
    rng: np.random.Generator, r: float, runs: int, given: int, until: float, waits: Waits | None = None
) -> Cascades:
    """Posts at minute 0 whose own audience shares `given` times at first and then as a Hawkes process. Where the waits
    are the kernel's they end at `until`, else (R < 1) they run out."""
    waits, until = waits or kernel_waits(rng), until if waits is None else 10**9
    times = [cascade(rng, r, np.zeros(given + 1), until, waits) for _ in range(runs)]
    post = np.repeat(np.arange(runs), [len(part) - 1 for part in times])
    lag = np.floor(np.concatenate([part[1:] for part in times])).astype(np.int64)
    return Cascades(
        [str(number) for number in range(runs)],
        [""] * runs,
        np.zeros(runs, np.int64),
        np.full(runs, 10**9),
        post,
        lag,
        np.full(len(post), FOREVER),
        np.ones(len(post), np.int64),
    )


def still_to_come(nodes: Array, age: float) -> float:
    """Shares that nodes of these times have still to bring after an age, at one a node."""
    return float((np.exp(-(age - nodes)[:, None] / MINUTES) @ WEIGHTS).sum())


def expected_shares(nodes: Array, age: float, r: float, minutes: float = 60.0) -> float:
    """Mean number of shares in the `minutes` after an age, by small steps through the equations of the mean."""
    rest = WEIGHTS * np.exp(-(age - nodes)[:, None] / MINUTES).sum(axis=0)
    total, steps = 0.0, 2000
    length = minutes / steps

    def change(rest: Array) -> tuple[Array, float]:
        rate = r * (rest / MINUTES).sum()
        return WEIGHTS * rate - rest / MINUTES, rate

    for _ in range(steps):  # by the midpoint rule
        middle, rate = change(rest + change(rest)[0] * length / 2)
        rest, total = rest + middle * length, total + rate * length
    return float(total)

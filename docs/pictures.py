"""Draws the pictures of docs/metrics.md from runs of the real fold over simulated events: python docs/pictures.py.

The script needs the extra `plot`. Run `python docs/themes.py` afterwards: it takes out what programs draw differently,
and writes the dark versions. docs/architecture.svg is drawn by hand.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

from processors.columnar.hashing import Hasher
from processors.engagement.fold.columns import KIND_NUMBER, identities
from processors.engagement.fold.fold import Fold
from processors.engagement.rows import post_rows
from processors.virality.columns import spread_columns
from processors.virality.fit.cascades import Cascades
from processors.virality.fit.progressive import backtest_progressive
from processors.virality.parameters import load_parameters
from processors.virality.prior.networks import NetworkPlan, network
from processors.virality.spread import Lookups
from producers.simulation.policy import SimulationPolicy
from producers.simulation.records import simulated_records

PICTURES = Path(__file__).with_name("pictures")
POLICY = SimulationPolicy(events=30_000, posts=60, seed=5, hours=72, retractions=0.0)
HASHER = Hasher("pictures-of-docs")
NODES = 8
SHOWN_POSTS = 60
NOBODY = Cascades([], [], *(np.zeros(0, np.int64) for _ in range(6)))

INK, BAND = "#3b6ea8", "#b9cfe6"
STYLE = {
    "svg.hashsalt": "engagement",
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
}

Event = dict[str, Any]


def fold_of(events: Sequence[Event]) -> Fold:
    """Folds the events of one post."""
    fold = Fold()
    post = fold.add([events[0]["post_id"]], np.zeros(1, np.uint16))
    text = {
        name: [event.get(name) or "" for event in events]
        for name in ("event_id", "target_id", "actor_id", "parent_id", "channel")
    }
    times = np.array([np.datetime64(event["occurred_at"].rstrip("Z"), "us") for event in events]).astype(np.int64)
    found = identities(
        np.array([KIND_NUMBER[event["kind"]] for event in events], np.int8),
        np.array([event.get("action") == "retract" for event in events], np.int8),
        times,
        HASHER.hashes(text["event_id"]),
        HASHER.hashes(text["target_id"]),
        HASHER.actors(text["actor_id"]),
        HASHER.hashes(text["parent_id"]),
        HASHER.hashes(text["channel"]),
        np.array([parent in ("", event["post_id"]) for parent, event in zip(text["parent_id"], events, strict=True)]),
    )
    fold.add_events(np.repeat(post, len(events)), found)
    return fold


def draw_virality() -> None:
    """Draws a broadcast (a post with seven shares) and a chain (each share carries on the share before)."""
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.2))
    for place, name in zip(axes, ("broadcast", "chain"), strict=True):
        parents = ["p" if name == "broadcast" or number == 0 else f"s{number - 1}" for number in range(NODES - 1)]
        events = [
            {
                "event_id": f"s{number}",
                "kind": "share",
                "post_id": "p",
                "actor_id": f"{number}",
                "parent_id": parent,
                "occurred_at": "2026-01-01T00:00:00Z",
            }
            for number, parent in enumerate(parents)
        ]
        virality = post_rows.of_posts(fold_of(events), np.array([0]))["share_structural_virality"][0]
        at = {"p": (0.0, 0.0)}
        for number, parent in enumerate(parents):
            at[f"s{number}"] = (number - (NODES - 2) / 2, -2.0) if name == "broadcast" else (number + 1.0, 0.0)
            place.plot(*zip(at[parent], at[f"s{number}"], strict=True), color=BAND, zorder=1)
        place.scatter(*zip(*at.values(), strict=True), s=60, color=INK, zorder=2)
        place.scatter(*at["p"], s=110, color="#d9822b", zorder=3)
        place.set_title(f"{name}: structural virality {virality:.2f}")
        place.margins(0.1, 0.4)
        place.axis("off")
    _save(figure, "structural_virality")


def draw_spread() -> None:
    """Draws R_t and the forecast, each with its interval, over the age of the simulated post with the most shares."""
    by_post: dict[str, list[Event]] = {}
    for record in simulated_records(POLICY):
        event = json.loads(record.value or b"")
        by_post.setdefault(event["post_id"], []).append(event)
    events = max(by_post.values(), key=lambda some: sum(event["kind"] == "share" for event in some))
    panes = fold_of(events).tables.post_panes(np.array([0]))
    minutes = np.array([np.datetime64(event["occurred_at"].rstrip("Z"), "m") for event in events]).astype(np.int64)
    is_share = np.array([event["kind"] == "share" for event in events])
    created, shares = minutes.min(), np.sort(minutes[is_share])
    ages = np.unique(np.geomspace(5, minutes.max() - created, 120).astype(np.int64))
    parameters, lookups = load_parameters(), Lookups()
    found: dict[str, list[float]] = {}
    for age in ages.tolist():
        said = spread_columns(panes, np.array([created]), np.array([created + age]), parameters, lookups)
        for name, values in said.items():
            found.setdefault(name, []).append(float(values[0]))

    figure, place = plt.subplots(figsize=(6.4, 2.8))
    place.fill_between(ages / 60, found["reproduction_low"], found["reproduction_high"], color=BAND, lw=0)
    place.plot(ages / 60, found["reproduction"], color=INK)
    place.axhline(1.0, color="grey", lw=0.8, ls=":")
    place.set(xscale="log", xlabel="age, hours", ylabel="R_t, 90 % interval", ylim=(0, None))
    _save(figure, "reproduction")

    figure, place = plt.subplots(figsize=(6.4, 2.8))
    place.fill_between(ages / 60, found["forecast_shares_low"], found["forecast_shares_high"], color=BAND, lw=0)
    place.plot(ages / 60, found["forecast_shares"], color=INK, label="forecast, 90 % interval")
    so_far = np.searchsorted(shares, created + ages)
    place.plot(ages / 60, so_far, color="#d9822b", label="shares so far")
    place.axhline(len(shares), color="grey", lw=0.8, ls=":", label="in the end")
    place.set(xscale="log", yscale="log", xlabel="age, hours", ylabel="shares")
    place.legend(frameon=False)
    _save(figure, "forecast")


def draw_intervals() -> None:
    """Draws forecasts at an hour of age with their intervals, and the truth: of the last posts of a simulated network,
    each forecast made from posts that had finished by then."""
    simulated = network(NetworkPlan(pace=0.5, reproduction=0.7), NOBODY, posts=400, seed=7)
    judged = backtest_progressive(simulated, (60,), 20, load_parameters(), Lookups())[0].quality
    last = judged.some(np.argsort(simulated.made[judged.post])[-SHOWN_POSTS:])
    last = last.some(np.argsort(last.truth))
    held = (last.low <= last.truth) & (last.truth <= last.high)
    rank = np.arange(len(held))
    figure, place = plt.subplots(figsize=(6.4, 2.8))
    place.vlines(rank, last.low, last.high, color=BAND, lw=4)
    place.scatter(rank, last.forecast, s=8, color=INK, label="forecast at 1 h, 90 % interval")
    place.scatter(rank[held], last.truth[held], s=8, color="#d9822b", label=f"in the end: {held.sum()} inside")
    place.scatter(rank[~held], last.truth[~held], s=24, color="#b3261e", marker="x", label=f"{(~held).sum()} outside")
    place.set(yscale="log", xlabel="posts, by their shares in the end", ylabel="shares", xticks=[])
    place.legend(frameon=False)
    _save(figure, "intervals")


def _save(figure: Any, name: str) -> None:
    figure.tight_layout()
    figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    with plt.rc_context(STYLE):
        draw_virality()
        draw_spread()
        draw_intervals()

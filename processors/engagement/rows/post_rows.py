"""Derived rows of posts and panes, column by column, from the state of the fold. Pure; schemas/tables.py has the
columns."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from processors.columnar.arrays import Array, Columns
from processors.engagement.fold.fold import Fold
from processors.engagement.fold.layout import COMMENT_TREE, MEASURE_OF_TREE, SHARE_TREE
from processors.engagement.fold.results import Panes, Snapshot
from processors.engagement.rows.post_facts import Facts
from processors.virality.clock import NO_MINUTE
from schemas.metrics import (
    CHANNELS_SHOWN_FROM,
    FOLD_VERSION,
    HOT_HALF_LIFE,
    MEASURES,
    MINUTE,
    NODE_MEASURES,
    TREES,
    WEIGHT_SETS,
    WINDOWS,
)

CONCENTRATION_SHOWN_FROM: Final = 100
"""The least number of actors of whom a hundredth is at least one."""

_TREE_NUMBERS: Final = {"all": 0, "share": SHARE_TREE, "comment": COMMENT_TREE}

SEEN_LIMIT: Final = np.uint64((1 << 30) - 1)


def versions(events_seen: Array, as_of: Array | None = None) -> Array:
    """Computes the versions of rows: fold version (8 bits) | events seen (30) | minute of as_of (26), 0 without one.

    `events_seen` counts, for each row, the distinct events seen that can change *that row* (law 4): a slow old owner
    then either writes the same row or loses.
    """
    seen = np.minimum(events_seen.astype(np.uint64), SEEN_LIMIT)
    found = (np.uint64(FOLD_VERSION) << np.uint64(56)) | (seen << np.uint64(26))
    return found if as_of is None else found | as_of.astype(np.uint64)


def post_metrics(post_ids: Array, posts: Snapshot) -> Columns:
    """Makes rows of post_metrics, one per post of the snapshot."""
    total = posts.net.sum(axis=1)
    with np.errstate(over="ignore"):
        entropy = np.where(total >= CHANNELS_SHOWN_FROM, posts.entropy, np.nan)
    columns: dict[str, Any] = {
        "post_id": post_ids,
        "as_of": (posts.as_of * MINUTE).astype(np.uint32),
        "events_seen": posts.events_seen.astype(np.uint64),
        **{measure: posts.net[:, number].astype(np.uint64) for number, measure in enumerate(MEASURES)},
        "actors": posts.actors.astype(np.uint64),
        "retractions_unmatched": posts.unmatched.astype(np.uint64),
        "channels": posts.channels,
        "channel_entropy": entropy,
        "channels_effective": np.exp2(entropy),
        f"hot_{HOT_HALF_LIFE[0]}": posts.hot,
    }
    columns |= _scores(posts)
    columns |= _windows(posts)
    columns |= _actors(posts)
    columns |= _trees(posts)
    columns["version"] = versions(posts.events_seen, posts.as_of)
    return columns


def post_minutes(post_ids: Array, panes: Panes) -> Columns:
    """Makes rows of post_minutes. `post_ids` has the post of each pane."""
    return {
        "post_id": post_ids,
        "minute": (panes.minutes.astype(np.int64) * MINUTE).astype(np.uint32),
        **{measure: panes.adds[:, number] for number, measure in enumerate(MEASURES)},
        **{f"{measure}_retracted": panes.retracted[:, number] for number, measure in enumerate(MEASURES)},
        "version": versions(panes.events_seen),
    }


def posts(post_ids: Sequence[str], facts: Sequence[Facts], version: Array) -> Columns:
    """Makes rows of posts, as lists, because they are few and mostly text."""
    by_field = zip(*facts, strict=True) if facts else [()] * len(Facts._fields)
    return {
        "post_id": list(post_ids),
        **{name: list(values) for name, values in zip(Facts._fields, by_field, strict=True)},
        "version": version.tolist(),
    }


def of_panes(fold: Fold, panes: Array) -> Columns:
    """Makes rows of post_minutes for these panes of the fold."""
    found = fold.panes(panes)
    owners, place = np.unique(found.posts, return_inverse=True)
    return post_minutes(names(fold, owners)[place], found)


def of_posts(fold: Fold, rows: Array) -> Columns:
    """Makes rows of post_metrics for these posts of the fold, without the columns of their spread (spread.py)."""
    return of_snapshot(fold, rows, fold.snapshot(rows))


def of_snapshot(fold: Fold, rows: Array, posts: Snapshot) -> Columns:
    """Makes the same rows from a snapshot of these posts."""
    return {
        **post_metrics(names(fold, rows), posts),
        "age_minutes": _ages(fold.tables.posts["created"][rows], posts.as_of),
        **fold.threads(rows),
    }


def names(fold: Fold, rows: Array) -> Array:
    """Returns the ids of these posts, as an array of objects."""
    ids = np.empty(len(rows), object)
    ids[:] = [fold.post_ids[row] for row in rows.tolist()]
    return ids


def _ages(created: Array, as_of: Array) -> Array:
    """Returns the minutes from `created` to `as_of`, 0 where `created` is not known."""
    ages: Array = np.where(created == NO_MINUTE, 0, as_of.astype(np.int64) - created).astype(np.uint32)
    return ages


def _scores(posts: Snapshot) -> Columns:
    scores: dict[str, Any] = {}
    for name, weight_set in WEIGHT_SETS.items():
        weights = np.array(weight_set.weights)
        scores[f"score_{name}"] = posts.net @ weights
        for number, window in enumerate(WINDOWS):
            scores[f"score_{name}_{window}"] = posts.windows[:, number, 0] @ weights
    return scores


def _windows(posts: Snapshot) -> Columns:
    """Computes the columns of windows. N(t) - N(t-w) is the net of a window, N(t) - 2N(t-w) + N(t-2w) its difference
    from the window before."""
    columns: dict[str, Any] = {}
    for m, measure in enumerate(MEASURES):
        for w, (window, minutes) in enumerate(WINDOWS.items()):
            new, old = posts.windows[:, w, 0, m], posts.windows[:, w, 1, m]
            both = (new + old).astype(np.float64)
            both[both <= 0] = np.nan
            columns[f"{measure}_{window}"] = new
            columns[f"{measure}_velocity_{window}"] = new / minutes
            columns[f"{measure}_acceleration_{window}"] = (new - old) / minutes**2
            columns[f"{measure}_z_{window}"] = (new - old) / np.sqrt(both)
    return columns


def _actors(posts: Snapshot) -> Columns:
    return {
        **{f"{measure}_actors": posts.actors_of[:, m].astype(np.uint64) for m, measure in enumerate(MEASURES)},
        "concentration": np.where(posts.actors >= CONCENTRATION_SHOWN_FROM, posts.concentration, np.nan),
    }


def _trees(posts: Snapshot) -> Columns:
    trees, columns = posts.trees, dict[str, Any]()
    net = posts.net.astype(np.int64)
    for name in TREES:
        tree = _TREE_NUMBERS[name]
        size, depth, levels = trees.sizes[:, tree].astype(np.int64), trees.depths[:, tree], trees.levels[:, tree]
        others = np.where(size > 1, size - 1.0, np.nan)
        events = net[:, MEASURE_OF_TREE[tree]] if tree else net[:, NODE_MEASURES].sum(axis=1)
        columns[f"{name}_size"] = trees.sizes[:, tree]
        columns[f"{name}_depth"] = depth
        columns[f"{name}_max_breadth"] = trees.breadths[:, tree]
        columns[f"{name}_wiener"] = trees.wieners[:, tree]
        columns[f"{name}_structural_virality"] = 2.0 * trees.wieners[:, tree] / (size * others)
        columns[f"{name}_viral_fraction"] = 1.0 - levels[:, 0] / others
        columns[f"{name}_parents_known"] = (trees.named[:, tree] > 0).astype(np.uint8)
        columns[f"{name}_waiting"] = np.where(trees.truncated, 0, events - (size - 1)).astype(np.uint32)
        if tree:
            columns[f"{name}_levels"] = _lists(levels, depth)
    columns["tree_truncated"] = trees.truncated.astype(np.uint8)
    return columns


def _lists(values: Array, lengths: Array) -> Array:
    """Returns the first `lengths[i]` values of row i, or all where they are fewer, as text, because the driver sends no
    arrays of arrays."""
    texts = np.empty(len(values), object)
    texts[:] = "[]"
    for number in np.flatnonzero(lengths).tolist():
        texts[number] = str(values[number, : lengths[number]].tolist())
    return texts

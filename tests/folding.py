"""Events as dicts, folded and compared with the truth."""

import json
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import numpy as np

from processors.columnar.hashing import Hasher
from processors.engagement.fold.columns import KIND_NUMBER, Identities, identities
from processors.engagement.fold.fold import Fold
from processors.engagement.fold.results import FoldedEvents
from processors.engagement.rows import post_rows
from tests.truth import PostTruth, microseconds

Event = dict[str, Any]

HASHER = Hasher("0123456789abcdef")
NEAR = 1e-9
"""How far a float may be from the truth, relative."""


def like(name: str, at: str = "2026-03-01T10:00:30Z", **more: Any) -> Event:
    """A like of the post p, unless told otherwise."""
    return {"event_id": name, "kind": "like", "post_id": "p", "actor_id": name, "occurred_at": at, **more}


def undo(target: str, at: str = "2026-03-01T10:00:30Z", **more: Any) -> Event:
    """The taking back of a like of the post p, unless told otherwise."""
    return like(f"{target}#undo", at, **{"action": "retract", "target_id": target, **more})


def identified(events: Sequence[Mapping[str, Any]], hasher: Hasher = HASHER) -> Identities:
    """What the fold is given for these events."""
    text = {
        name: hasher.hashes([event.get(name) or "" for event in events])
        for name in ("event_id", "target_id", "actor_id", "parent_id", "channel")
    }
    text["actor_id"] = hasher.actors([event["actor_id"] or "" for event in events])
    return identities(
        np.array([KIND_NUMBER[event["kind"]] for event in events], np.int8),
        np.array([event.get("action") == "retract" for event in events], np.int8),
        np.array([microseconds(event["occurred_at"]) for event in events], np.int64),
        *text.values(),
        np.array([(event.get("parent_id") or "") in ("", event["post_id"]) for event in events], np.bool_),
        np.array([bool(event.get("is_erased")) for event in events], np.bool_),
    )


def take(fold: Fold, events: Sequence[Mapping[str, Any]]) -> FoldedEvents:
    """Folds events, whose posts are added where they are missing."""
    ids = [event["post_id"] for event in events]
    missing = list(dict.fromkeys(post_id for post_id, row in zip(ids, fold.find(ids), strict=True) if row < 0))
    fold.add(missing, np.zeros(len(missing), np.uint16))
    return fold.add_events(fold.find(ids), identified(events))


def learn(fold: Fold, truth: Mapping[str, PostTruth]) -> None:
    """Tells the fold when each post was made and by whom."""
    facts = {row: said for row, post_id in enumerate(fold.post_ids) if (said := truth[post_id].facts())}
    fold.learn(
        np.array(list(facts), np.int64),
        np.array([said["created_at"] // 60_000_000 for said in facts.values()], np.uint32),
        HASHER.actors([said["author_id"] for said in facts.values()]),
    )


def metrics_of(fold: Fold) -> dict[str, dict[str, Any]]:
    """post_id -> its row of post_metrics, as `PostTruth.metrics` has it."""
    return by_key(post_rows.of_posts(fold, np.arange(len(fold))), "post_id")


def minutes_of(fold: Fold) -> dict[str, dict[int, tuple[int, ...]]]:
    """post_id -> minute -> counts, as `PostTruth.minutes` has it, rows of zeros left out."""
    columns = post_rows.of_panes(fold, fold.panes_of(np.arange(len(fold))))
    found: dict[str, dict[int, tuple[int, ...]]] = {post_id: {} for post_id in fold.post_ids}
    for post_id, second, *counts, _ in zip(*(plain(column) for column in columns.values()), strict=True):
        assert second // 60 not in found[post_id], "a minute has two panes"
        if any(counts):
            found[post_id][second // 60] = tuple(counts)
    return found


def by_key(columns: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    """Rows by key, without key and version; NaN is None."""
    found = {}
    for values in zip(*(plain(column) for column in columns.values()), strict=True):
        row = dict(zip(columns, values, strict=True))
        del row["version"]
        found[row.pop(key)] = row
    return found


def plain(column: Any) -> list[Any]:
    """A column as Python values; NaN is None."""
    values = column.tolist() if isinstance(column, np.ndarray) else list(column)
    return [None if isinstance(value, float) and isnan(value) else value for value in values]


def assert_true(fold: Fold, truth: Mapping[str, PostTruth]) -> None:
    """Every row of every post in memory is what the truth says, once the fold has learnt what the posts say."""
    learn(fold, truth)
    metrics, minutes = metrics_of(fold), minutes_of(fold)
    assert metrics.keys() == truth.keys()
    for post_id, post in truth.items():
        assert differences(metrics[post_id], post.metrics()) == {}
        assert minutes[post_id] == post.minutes


def differences(row: Mapping[str, Any], truth: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Column -> (found, true) where they differ; floats by more than NEAR."""
    assert row.keys() == truth.keys()
    return {name: (row[name], true) for name, true in truth.items() if not same(row[name], true)}


def same(found: Any, true: Any) -> bool:
    if isinstance(found, float) and isinstance(true, float | int):
        return abs(found - true) <= NEAR * max(abs(found), abs(true))
    if isinstance(true, list):
        return bool((json.loads(found) if isinstance(found, str) else found) == true)  # towards ClickHouse it is text
    return bool(found == true)

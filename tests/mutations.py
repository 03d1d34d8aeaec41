"""Mutations of JSON values: what foreign senders make of a valid row."""

import copy
import random
from typing import Any

STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**63, 1e308, float("nan"), float("inf")),
    *("", " ", "\0", "\ud800", "x" * 5000, "1e400", "[", "{"),
    *("2026-13-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"),
    *([], {}, [[]], [None], {"": None}, {"a": {"a": {"a": 1}}}),
)
"""Values that may stand where another was meant."""


def mutated(value: Any, chance: random.Random) -> Any:
    """Returns a copy of a JSON value with one to three places changed, removed, renamed or repeated."""
    changed = copy.deepcopy(value)
    for _ in range(chance.randint(1, 3)):
        changed = _change(changed, chance)
    return changed


def _change(value: Any, chance: random.Random) -> Any:
    if chance.random() < 0.3 or not isinstance(value, dict | list) or not value:
        return copy.deepcopy(chance.choice(STRANGE)) if chance.random() < 0.7 else [value]
    if isinstance(value, list):
        place = chance.randrange(len(value))
        match chance.randrange(3):
            case 0:
                del value[place]
            case 1:
                value.insert(place, copy.deepcopy(value[place]))
            case _:
                value[place] = _change(value[place], chance)
        return value
    key = chance.choice(list(value))
    match chance.randrange(5):
        case 0:
            del value[key]
        case 1:
            value[f"{key}x"] = value.pop(key)
        case _:
            value[key] = _change(value[key], chance)
    return value

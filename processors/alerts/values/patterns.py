"""Patterns of conversations: `*` stands for any text and `?` for one character; every other character for itself.

A pattern is folded as the keys of conversations are, so `hashtag:#Acme` means `hashtag:acme`.

    >>> normalise("Hashtag:#ACME")
    'hashtag:acme'
    >>> matcher("brand:[acme]*")("brand:[acme] care"), matcher("brand:[acme]*")("brand:a")
    (True, False)
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Final
from unicodedata import category

from schemas.events import conversation_keys
from schemas.folding import fold_name

WATCHED_KINDS: Final = ("hashtag", "mention", "brand", "author", "thread", "label")
LONGEST_PATTERN: Final = 1024

_NO_TEXT: Final = ("Cc", "Zl", "Zp")
"""Categories of characters that stand in no line of text. Joiners and others that are not displayed are folded."""

_ANY_TEXT, _ANY_CHARACTER = "\ue000", "\ue001"
"""Characters of private use that stand for the wildcards of a covered pattern."""


@dataclass(frozen=True)
class KnownConversations:
    """The conversations watched for spikes: kinds of keys, names of brands, keys of labels; None where unknown."""

    kinds: tuple[str, ...] = WATCHED_KINDS
    brands: frozenset[str] | None = None
    label_keys: frozenset[str] | None = None


def normalise(pattern: str) -> str:
    """Returns a pattern in the spelling of conversation keys; empty where no name is left."""
    kind, colon, name = fold_name(pattern.strip()).partition(":")
    if kind in ("hashtag", "mention") and colon:
        tags, accounts = ([name.strip()], ()) if kind == "hashtag" else ((), [name.strip()])
        return "".join(conversation_keys(tags, accounts))
    return f"{kind}:{name.strip()}" if colon and name.strip() else "" if colon else kind


def matcher(pattern: str) -> Callable[[str], bool]:
    """Returns the test whether a folded key fits a normalised pattern."""
    compiled = re.compile(translate(pattern.replace("[", "[[]")))
    return lambda key: compiled.match(key) is not None


def check_pattern(pattern: str, known: KnownConversations) -> str:
    """Returns a pattern unchanged. Raises ValueError where no key of a conversation can ever fit."""
    if not 1 <= len(pattern) <= LONGEST_PATTERN or any(category(sign) in _NO_TEXT for sign in pattern):
        raise ValueError(f"must be text in one line, of 1 to {LONGEST_PATTERN:,} characters: brand:acme")
    normal = normalise(pattern)
    if not normal:
        raise ValueError("names no conversation; write a name after the colon: hashtag:acme, or hashtag:*")
    rests = {kind: _rests(normal, f"{kind}:") for kind in known.kinds}
    possible = [kind for kind, rest in rests.items() if rest]
    if not possible:
        raise ValueError(_explain_kind(normal, known.kinds))
    if possible == ["author"] and not any(re.search(r"[*?]|/.", rest) for rest in rests["author"]):
        raise ValueError(
            "names an author without a channel, and can match no conversation; "
            f"say author:<channel>/<id>, or author:*/{rests['author'][0]}"
        )
    if possible == ["label"]:
        _check_label(normal, known.label_keys, any(re.search(r"[*?=]", rest) for rest in rests["label"]))
    if possible == ["brand"] and known.brands is not None:
        _check_brand(normal, known.brands)
    return pattern


def names_brand(pattern: str) -> bool:
    """Tells whether a normalised pattern names brands, and not all of them."""
    return pattern.startswith("brand:") and pattern.strip("*") != "brand:"


def covers(wider: str, narrower: str) -> bool:
    """Tells whether every key of the `narrower` pattern fits the `wider` pattern too; both are normalised."""
    if "?" in wider and "*" in narrower:
        return wider == narrower
    return matcher(wider)(narrower.replace("*", _ANY_TEXT).replace("?", _ANY_CHARACTER))


def first_covering(routes: Sequence[tuple[Sequence[str], bool]], number: int) -> int | None:
    """Returns the first earlier route by which the route `number` is never reached: all of its patterns are covered by
    earlier routes without `continue`. A route is its normalised patterns, and whether later routes are tried too."""
    ending = [
        (index, pattern)
        for index, (patterns, goes_on) in enumerate(routes[:number])
        if not goes_on
        for pattern in patterns
    ]
    covering = []
    for pattern in routes[number][0]:
        covered_by = next((index for index, wider in ending if covers(wider, pattern)), None)
        if covered_by is None:
            return None
        covering.append(covered_by)
    return min(covering)


def _rests(pattern: str, prefix: str) -> list[str]:
    """Returns the rests of a pattern, none of them empty, after each match of the beginning with the prefix."""
    places = {0}
    for sign in prefix:
        places = _after_stars(pattern, places)
        places = {
            place if pattern[place] == "*" else place + 1
            for place in places
            if place < len(pattern) and pattern[place] in ("*", "?", sign)
        }
    return [pattern[place:] for place in sorted(places) if place < len(pattern)]


def _after_stars(pattern: str, places: set[int]) -> set[int]:
    """Returns the places in a pattern, and the places behind stars for empty text."""
    reached = set[int]()
    for place in places:
        reached.add(place)
        while place < len(pattern) and pattern[place] == "*":
            place += 1
            reached.add(place)
    return reached


def _check_brand(pattern: str, brands: frozenset[str]) -> None:
    fits = matcher(pattern)
    if not any(fits(f"brand:{name}") for name in brands):
        there_are = ", ".join(sorted(brands)[:10]) or "none"
        raise ValueError(f"names no brand of ENGAGEMENT_BRANDS; add the brand there, or name one of: {there_are}")


def _check_label(pattern: str, keys: frozenset[str] | None, can_have_value: bool) -> None:
    if not can_have_value:
        raise ValueError("names a label without a value, and can match no conversation; say label:<key>=<value>")
    if keys is not None and not any(_rests(pattern, f"label:{key}=") for key in keys):
        there_are = ", ".join(sorted(keys)) or "none"
        raise ValueError(f"names no label of ENGAGEMENT_LABEL_KEYS; add its key there, or name one of: {there_are}")


def _explain_kind(pattern: str, kinds: Sequence[str]) -> str:
    kind, colon, name = pattern.partition(":")
    keys = ", ".join(f"{known}:" for known in kinds)
    if colon and kind in WATCHED_KINDS:
        return (
            f"can match no conversation, because {kind}: is not watched for spikes; "
            f"add it to ENGAGEMENT_SPIKE_KEYS, or name one of {keys}"
        )
    example = (name if colon else pattern).lstrip("#@/")[:40] or "acme"
    return f"can match no conversation; write a key with its kind, such as hashtag:{example} (kinds: {keys})"

"""What each post adds to each minute of each conversation: plain Python over a list of events, in the order of the log.

cells_of(events)    # (conversation, minute, post_id) -> Cell, of cells in which there is anything
carried_by(events)  # (message, post_id) -> whether the post carries it now
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tests.folding import HASHER
from tests.truth import KINDS, microseconds

VOICES = 256


class Cell(NamedTuple):
    """posts, what was added of each of KINDS, the same taken back; channels; voices and whether these are all."""

    counts: tuple[int, ...]
    channels: tuple[str, ...]
    voices: tuple[int, ...]
    exact: int


class _Sum:
    def __init__(self) -> None:
        self.counts = [0] * (1 + 2 * len(KINDS))
        self.channels: set[str] = set()
        self.voices: set[str] = set()

    def speak(self, event: Mapping[str, Any], actor_id: str | None) -> None:
        if actor_id is not None:
            self.voices.add(actor_id)
        if event.get("channel"):
            self.channels.add(event["channel"])

    def cell(self) -> Cell:
        voices = sorted(HASHER.actors(sorted(self.voices)).tolist()) if self.voices else []
        exact = int(len(voices) <= VOICES)
        return Cell(tuple(self.counts), tuple(sorted(self.channels)), tuple(voices[:VOICES]), exact)


def cells_of(events: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int, str], Cell]:
    """Names need no folding here: give them in lower case, and without brands."""
    posts: dict[str, dict[tuple[str, str, str], Mapping[str, Any]]] = {}
    for event in events:
        action = event.get("action") or "add"
        event_id = event.get("event_id") or event["target_id"] + "#undo"
        posts.setdefault(event["post_id"], {}).setdefault((event["kind"], action, event_id), event)
    cells: dict[tuple[str, int, str], _Sum] = {}

    for post_id, own in posts.items():
        newest, created, stands, takebacks = _post(own)
        shared = {f"thread:{post_id}", *(named(newest) if newest else ()), *(author_of(newest) if newest else ())}

        def at(conversation: str, minute: int, post_id: str = post_id) -> _Sum:
            return cells.setdefault((conversation, minute, post_id), _Sum())

        if newest:
            for key in shared:
                at(key, created).counts[0] += int(stands)
                at(key, created).speak(newest, newest.get("author_id") or newest["actor_id"])
        for (kind, action, event_id), event in own.items():
            if kind == "post" or action == "retract":
                continue
            place = 1 + KINDS.index(kind)
            speaks = kind in ("share", "comment")
            for key in shared | (set(named(event)) if speaks else set()):
                cell = at(key, minute_of(event))
                cell.counts[place] += 1
                if speaks:
                    cell.speak(event, event["actor_id"])
                if (kind, event_id) in takebacks:
                    at(key, takebacks[kind, event_id]).counts[place + len(KINDS)] += 1
    found = {place: some.cell() for place, some in cells.items()}
    return {place: cell for place, cell in found.items() if any(cell.counts) or cell.voices}


def _post(
    own: Mapping[tuple[str, str, str], Mapping[str, Any]],
) -> tuple[Mapping[str, Any] | None, int, bool, dict[tuple[str, str], int]]:
    """Its newest event, the minute in which it was made, whether it stands, and the minute of each thing taken back."""
    adds = {event_id: event for (kind, action, event_id), event in own.items() if (kind, action) == ("post", "add")}
    takebacks: dict[tuple[str, str], int] = {}
    for (kind, action, _), event in own.items():
        if action == "retract":
            target = kind, event["target_id"]
            takebacks[target] = min(minute_of(event), takebacks.get(target, 1 << 40))
    if not adds:
        return None, 0, False, takebacks
    newest = max(adds.items(), key=lambda pair: (microseconds(pair[1]["occurred_at"]), pair[0]))[1]
    stands = not any(("post", event_id) in takebacks for event_id in adds)
    return newest, min(map(minute_of, adds.values())), stands, takebacks


def carried_by(events: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], bool]:
    """Of addresses that are spelled in the one way already."""
    posts: dict[str, dict[tuple[str, str, str], Mapping[str, Any]]] = {}
    for event in events:
        action = event.get("action") or "add"
        event_id = event.get("event_id") or event["target_id"] + "#undo"
        posts.setdefault(event["post_id"], {}).setdefault((event["kind"], action, event_id), event)
    found: dict[tuple[str, str], bool] = {}
    for post_id, own in posts.items():
        newest, _, stands, _ = _post(own)
        for (kind, action, _), event in own.items():
            if (kind, action) == ("post", "add"):
                found |= {(message, post_id): False for message in messages_of(event)}
        if newest and stands:
            found |= {(message, post_id): True for message in messages_of(newest)}
    return found


def messages_of(event: Mapping[str, Any]) -> list[str]:
    said = [address or "" for address in (event.get("url"), *event.get("links", ()))]
    # Simulated links say by whom they came, which is no part of the address.
    addresses = [address.partition("?utm_source=")[0] for address in said if address.startswith("https")]
    quoted = [f"post:{event['quotes']}"] if event.get("quotes") else []
    return [f"url:{address}" for address in addresses] + quoted


def named(event: Mapping[str, Any]) -> list[str]:
    return [f"hashtag:{tag}" for tag in event.get("hashtags", ())] + [f"mention:{a}" for a in event.get("mentions", ())]


def author_of(event: Mapping[str, Any]) -> list[str]:
    return [f"author:{event.get('channel') or ''}/{event.get('author_id') or event['actor_id']}"]


def minute_of(event: Mapping[str, Any]) -> int:
    return microseconds(event["occurred_at"]) // 60_000_000

"""What the numbers must be: plain Python over a list of events, written against docs/metrics.md and nothing else.

    truth = truth_of(events)             # events as producers send them (schemas/events.py), in the order of the log
    truth["p"].metrics()                 # the row of post_metrics: column -> value, as of the post's newest minute
    truth["p"].minutes                   # minute -> (likes, shares, comments, likes_retracted, ...): post_minutes
    truth["p"].windows(minute)           # columns of rolling windows as of the start of that minute, for any time
    truth["p"].facts()                   # the row of posts, None where only deletions are known

Minutes are minutes since 1970. A minute in which nothing is left (zeros only) may have a row; `minutes` never has it.
"""

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from math import log2, sqrt
from typing import Any, NamedTuple

from tests.thread_truth import thread_of

KINDS = ("like", "share", "comment")
NAMES = ("likes", "shares", "comments")
WINDOWS = {"5m": 5, "1h": 60, "24h": 1440}
WEIGHTS = {"plain": (1, 1, 1), "default": (1, 2, 3)}
HALF_LIFE = 360
ENTROPY_FROM = 20
CONCENTRATION_FROM = 100
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CONVERSATIONS = (("hashtags", "hashtag:", "#＃"), ("mentions", "mention:", "@＠"))

Counts = tuple[int, ...]


class PostTruth:
    """All that follows from the events of one post. Values are kept once asked for: note all events first."""

    def __init__(self) -> None:
        self.identities: set[tuple[str, str, str]] = set()
        self.adds: dict[tuple[str, str], tuple[int, str, str]] = {}  # (kind, event_id) -> minute, actor, channel
        self.parents: dict[tuple[str, str], str | None] = {}  # of shares and comments; None: the post
        self.takebacks: dict[tuple[str, str], list[int]] = {}  # (kind, target_id) -> minutes of its retractions
        self.ghosts: dict[tuple[str, str], tuple[int, str, str]] = {}  # erased shares and comments, in no count
        self.erased = 0
        self.own: list[dict[str, Any]] = []  # the events of kind post
        self.newest = 0

    def note(self, event: Mapping[str, Any], action: str, event_id: str) -> None:
        kind = event["kind"]
        if (kind, action, event_id) in self.identities:
            return
        self.identities.add((kind, action, event_id))
        us = microseconds(event["occurred_at"])
        minute = us // 60_000_000
        self.newest = max(self.newest, minute)
        self.erased += bool(event.get("is_erased"))
        if action == "add":
            is_ghost = bool(event.get("is_erased")) and kind in ("share", "comment")
            added = (minute, event["actor_id"] or "", event.get("channel") or "")
            (self.ghosts if is_ghost else self.adds)[kind, event_id] = added
            if kind in ("share", "comment"):
                parent = event.get("parent_id") or event["post_id"]
                self.parents[kind, event_id] = None if parent == event["post_id"] else parent
        else:
            self.takebacks.setdefault((kind, event["target_id"]), []).append(minute)
        if kind == "post":
            self.own.append({**event, "action": action, "event_id": event_id, "us": us})

    @property
    def events_seen(self) -> int:
        return len(self.identities) + self.erased

    @property
    def as_of(self) -> int:
        """The end of the newest minute."""
        return self.newest + 1

    @property
    def retractions_unmatched(self) -> int:
        return sum(len(minutes) for target, minutes in self.takebacks.items() if target not in self._came)

    @cached_property
    def _came(self) -> dict[tuple[str, str], tuple[int, str, str]]:
        return self.adds | self.ghosts

    @cached_property
    def _gone(self) -> set[tuple[str, str]]:
        return self.takebacks.keys() | self.ghosts.keys()

    @cached_property
    def standing(self) -> list[tuple[str, int, str, str]]:
        """(kind, minute, actor, channel) of each like, share and comment that no retraction names."""
        return [
            (kind, *content)
            for (kind, event_id), content in self.adds.items()
            if kind != "post" and (kind, event_id) not in self.takebacks
        ]

    @cached_property
    def net(self) -> tuple[int, ...]:
        kinds = [kind for kind, *_ in self.standing]
        return tuple(kinds.count(kind) for kind in KINDS)

    @cached_property
    def minutes(self) -> dict[int, Counts]:
        """minute -> what was added in it of each kind, and taken back in it (by each one's earliest retraction)."""
        counts: dict[int, list[int]] = {}
        for (kind, event_id), (minute, _, _) in self.adds.items():
            if kind == "post":
                continue
            place = KINDS.index(kind)
            counts.setdefault(minute, [0] * 2 * len(KINDS))[place] += 1
            if (kind, event_id) in self.takebacks:
                counts.setdefault(min(self.takebacks[kind, event_id]), [0] * 2 * len(KINDS))[len(KINDS) + place] += 1
        return {minute: tuple(values) for minute, values in counts.items()}

    def windows(self, at: int) -> dict[str, float | None]:
        """Columns of post_metrics that look back from the start of minute `at`, which is not in them."""
        minutes = self.minutes
        columns: dict[str, float | None] = {}
        for window, length in WINDOWS.items():
            new, old = _net_between(minutes, at - length, at), _net_between(minutes, at - 2 * length, at - length)
            for place, name in enumerate(NAMES):
                n, o = new[place], old[place]
                columns[f"{name}_{window}"] = n
                columns[f"{name}_velocity_{window}"] = n / length
                columns[f"{name}_acceleration_{window}"] = (n - o) / length**2
                columns[f"{name}_z_{window}"] = (n - o) / sqrt(n + o) if n + o > 0 else None
            for weight_set, weights in WEIGHTS.items():
                columns[f"score_{weight_set}_{window}"] = _weighted(weights, new)
        return columns

    @property
    def hot(self) -> float | None:
        """log2 of the sum of weight x 2^(end of minute / half-life), landmark 1970; None without engagement."""
        weights = dict(zip(KINDS, WEIGHTS["default"], strict=True))
        terms: dict[int, int] = {}
        for kind, minute, _, _ in self.standing:
            terms[minute + 1] = terms.get(minute + 1, 0) + weights[kind]
        if not terms:
            return None
        last = max(terms)
        return last / HALF_LIFE + log2(sum(weight * 2.0 ** ((end - last) / HALF_LIFE) for end, weight in terms.items()))

    @cached_property
    def channels(self) -> dict[str, int]:
        """Net engagements of each channel that has any."""
        counts: dict[str, int] = {}
        for _, _, _, channel in self.standing:
            counts[channel] = counts.get(channel, 0) + 1
        return counts

    @property
    def entropy(self) -> float | None:
        """Bits; None below 20 engagements."""
        counts = self.channels.values()
        total = sum(counts)
        return -sum(n / total * log2(n / total) for n in counts) + 0.0 if total >= ENTROPY_FROM else None

    @property
    def concentration(self) -> float | None:
        """Share of net engagements by the most active 1 % of actors; None below 100 actors."""
        by_actor = Counter(actor for _, _, actor, _ in self.standing if actor)
        if len(by_actor) < CONCENTRATION_FROM:
            return None
        most = sorted(by_actor.values(), reverse=True)[: -(-len(by_actor) // 100)]
        return sum(most) / by_actor.total()

    def trees(self) -> dict[str, Any]:
        """Columns of the trees of shares, of comments and of both; not for a post that is truncated."""
        columns: dict[str, Any] = {"tree_truncated": 0}
        for name, kinds in (("share", ("share",)), ("comment", ("comment",)), ("all", ("share", "comment"))):
            tree = tree_of(self.parents, self._gone, kinds)
            net = sum(1 for node in self.parents if node[0] in kinds and node not in self._gone)
            others = tree.size - 1
            columns |= {
                f"{name}_size": tree.size,
                f"{name}_depth": tree.depth,
                f"{name}_max_breadth": tree.max_breadth,
                f"{name}_wiener": tree.wiener,
                f"{name}_structural_virality": 2 * tree.wiener / (tree.size * others) if others else None,
                f"{name}_viral_fraction": 1 - tree.levels[1] / others if others else None,
                f"{name}_parents_known": int(
                    any(
                        parent is not None and node[0] in kinds and node not in self._gone
                        for node, parent in self.parents.items()
                    )
                ),
                f"{name}_waiting": net - others,
            }
            if name != "all":
                columns[f"{name}_levels"] = [tree.levels[level] for level in range(1, min(tree.depth, 32) + 1)]
        return columns

    def thread(self) -> dict[str, Any]:
        """Columns of the conversation, without brands; not for a post that is truncated."""
        facts = self.facts()
        return thread_of(self._came, self.parents, self._gone, facts["author_id"] if facts else None)

    def metrics(self) -> dict[str, Any]:
        """The row of post_metrics without key and version; `as_of` in seconds since 1970."""
        return dict(self._row)

    @cached_property
    def _row(self) -> dict[str, Any]:
        net, entropy, facts = self.net, self.entropy, self.facts()
        return {
            "as_of": self.as_of * 60,
            "age_minutes": self.as_of - facts["created_at"] // 60_000_000 if facts else 0,
            "events_seen": self.events_seen,
            **dict(zip(NAMES, net, strict=True)),
            "actors": len({actor for _, _, actor, _ in self.standing if actor}),
            "retractions_unmatched": self.retractions_unmatched,
            "channels": len(self.channels),
            "channel_entropy": entropy,
            "channels_effective": None if entropy is None else 2**entropy,
            "hot_6h": self.hot,
            **{
                f"score_{name}": float(sum(w * n for w, n in zip(ws, net, strict=True))) for name, ws in WEIGHTS.items()
            },
            **self.windows(self.as_of),
            **{
                f"{name}_actors": len({actor for each, _, actor, _ in self.standing if each == kind and actor})
                for kind, name in zip(KINDS, NAMES, strict=True)
            },
            "concentration": self.concentration,
            **self.trees(),
            **self.thread(),
        }

    def facts(self) -> dict[str, Any] | None:
        """The row of posts without key and version, times in microseconds; None where no add of it is known."""
        added = [event for event in self.own if event["action"] == "add"]
        if not added:
            return None
        newest = max(added, key=lambda event: (event["us"], event["event_id"]))
        ids = {event["event_id"] for event in added}
        deleted = [event["us"] for event in self.own if event["action"] == "retract" and event["target_id"] in ids]
        conversations = []
        for field, prefix, marks in CONVERSATIONS:
            for name in newest.get(field) or ():
                key = prefix + _folded(name.lstrip(marks))
                if key not in conversations:
                    conversations.append(key)
        author, channel = newest.get("author_id") or newest["actor_id"], newest.get("channel") or ""
        return {
            "author_id": author,
            "channel": channel,
            "created_at": min(event["us"] for event in added),
            "url": newest.get("url") or "",
            "conversations": [*conversations, f"author:{channel}/{author}"],
            "mentions": [key.removeprefix("mention:") for key in conversations if key.startswith("mention:")],
            "links": newest.get("links") or [],
            "quotes": newest.get("quotes") or "",
            "followers": newest.get("followers"),
            "deleted_at": min(deleted, default=None),
            "labels": [part for pair in sorted((newest.get("labels") or {}).items()) for part in pair],
            "text": "",
        }


Node = tuple[str, str]
"""Kind and event_id of a share or comment."""


class TreeTruth(NamedTuple):
    """A tree with its post."""

    size: int
    depth: int
    max_breadth: int
    wiener: int
    levels: Counter[int]


def tree_of(parents: Mapping[Node, str | None], taken_back: Collection[Node], kinds: tuple[str, ...]) -> TreeTruth:
    """The tree of the nodes of these kinds: each below its nearest ancestor of them. Those taken back hold what is
    below them and do not count; those that do not reach the post are not in it."""
    above = {node: named_by(parents, node) for node in parents}
    paths: dict[Node, list[Node] | None] = {}  # node -> itself and those above it; None: it does not reach the post
    for node in parents:
        path, at = dict[Node, None](), above[node]
        path[node] = None
        while at is not None and at not in path:
            path[at] = None
            at = above[at]
        paths[node] = list(path) if at is None else None
    depths: dict[Node, int] = {}
    below: Counter[Node] = Counter()  # counted nodes at and below
    for node, path in paths.items():
        if path is not None and node[0] in kinds and node not in taken_back:
            kin = [each for each in path if each[0] in kinds]
            depths[node] = len(kin)
            below.update(kin)
    size = len(depths) + 1
    levels = Counter(depths.values())
    return TreeTruth(
        size=size,
        depth=max(levels, default=0),
        max_breadth=max(levels.values(), default=1),
        wiener=sum(count * (size - count) for count in below.values()),  # an edge is on that many paths
        levels=levels,
    )


def named_by(parents: Mapping[Node, str | None], node: Node) -> Node | None:
    """The node above; None is the post. One that is not there is above itself: nobody gets anywhere from it."""
    parent = parents[node]
    if parent is None:
        return None
    kinds = (node[0], "comment" if node[0] == "share" else "share")
    return next(((kind, parent) for kind in kinds if (kind, parent) in parents), node)


def truth_of(events: Iterable[Mapping[str, Any]]) -> dict[str, PostTruth]:
    """post_id -> its truth. Of one identity (post, kind, action, event_id) the first event counts. 5 us an event."""
    posts: dict[str, PostTruth] = {}
    for event in events:
        post = posts.get(event["post_id"])
        if post is None:
            post = posts[event["post_id"]] = PostTruth()
        action = event.get("action") or "add"
        event_id = event.get("event_id") or event["target_id"] + "#undo"
        post.note(event, action, event_id)
    return posts


def microseconds(moment: str | datetime) -> int:
    """Since 1970, UTC; exact."""
    passed = (datetime.fromisoformat(moment) if isinstance(moment, str) else moment) - EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def _net_between(minutes: Mapping[int, Counts], start: int, end: int) -> tuple[int, ...]:
    net = [0] * len(KINDS)
    for minute, counts in minutes.items():
        if start <= minute < end:
            for place in range(len(KINDS)):
                net[place] += counts[place] - counts[len(KINDS) + place]
    return tuple(net)


def _weighted(weights: tuple[int, ...], counts: tuple[int, ...]) -> float:
    return float(sum(weight * count for weight, count in zip(weights, counts, strict=True)))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())

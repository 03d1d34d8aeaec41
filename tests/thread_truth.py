"""What the conversation under a post must be: plain Python over its shares and comments, written against
docs/metrics.md and nothing else.

    truth = thread_of(adds, parents, taken_back, author="host", brand={"helper"})
    truth["thread_reciprocity"]                        # the columns of post_metrics; None for NaN
"""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from typing import Any
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Node = tuple[str, str]
"""Kind and event_id of a share or comment."""

Hours = tuple[str, str, set[int], str]
"""First, end, ISO weekdays, zone."""

OFFICE: Hours = ("09:00", "17:00", {1, 2, 3, 4, 5}, "UTC")


def thread_of(
    adds: Mapping[Node, tuple[int, str, str]],
    parents: Mapping[Node, str | None],
    taken_back: Collection[Node],
    author: str | None,
    brand: Collection[str] = (),
    hours: Hours = OFFICE,
) -> dict[str, Any]:
    """`adds`: minute, actor and channel of each share and comment, and of whatever else. `author` None: not known.
    `brand`: accounts whose comments are the brand's, the author's beside."""
    turns = {}  # net comments that reach the post -> the comments above, the nearest first
    for node in parents:
        path = _path(parents, node)
        if node[0] == "comment" and node not in taken_back and path is not None:
            turns[node] = [above for above in path if above[0] == "comment"]
    levels = Counter(len(above) + 1 for above in turns.values())
    answers = set()  # (who, whom)
    for node, above in turns.items():
        whom = author if not above else adds[above[0]][1] if above[0] in turns else None
        if whom not in (None, adds[node][1]):
            answers.add((adds[node][1], whom))
    pairs = {frozenset(pair) for pair in answers}
    mutual = sum((whom, who) in answers for who, whom in answers) // 2
    ours = {node for node in turns if author is not None and adds[node][1] in {author, *brand}}
    theirs = {node for node in turns if author is not None and node not in ours}
    waits: dict[Node, int] = {}
    for node in ours:
        if turns[node] and (asked := turns[node][0]) in theirs:
            wait = max(adds[node][0] - adds[asked][0], 0)
            waits[asked] = min(waits.get(asked, wait), wait)
    in_hours = [wait for node, wait in waits.items() if _is_within(adds[node][0], hours)]
    return {
        "thread_h_index": max((h for h, count in levels.items() if count >= h), default=0),
        "thread_pairs": len(pairs),
        "thread_reciprocity": mutual / len(pairs) if pairs else None,
        "brand_turns": len(ours),
        "audience_turns": len(theirs),
        "answered": len(waits),
        "unanswered": len(theirs) - len(waits),
        "oldest_unanswered_at": min((adds[node][0] * 60 for node in theirs - waits.keys()), default=0),
        "first_response_p50": _quantile(list(waits.values()), 50),
        "first_response_p90": _quantile(list(waits.values()), 90),
        "first_response_business_p50": _quantile(in_hours, 50),
        "first_response_business_p90": _quantile(in_hours, 90),
        "thread_reason": int(author is None),
    }


def _path(parents: Mapping[Node, str | None], node: Node) -> list[Node] | None:
    """The nodes above, the nearest first; None where they do not lead to the post."""
    path: list[Node] = []
    seen = {node}
    while (parent := parents[node]) is not None:
        kinds = (node[0], "comment" if node[0] == "share" else "share")
        above = next(((kind, parent) for kind in kinds if (kind, parent) in parents), node)
        if above in seen:
            return None
        seen.add(above)
        path.append(above)
        node = above
    return path


def _is_within(minute: int, hours: Hours) -> bool:
    first, end, days, zone = hours
    local = (EPOCH + timedelta(minutes=minute)).astimezone(ZoneInfo(zone))
    return local.isoweekday() in days and first <= local.strftime("%H:%M") < end


def _quantile(values: list[int], percent: int) -> float | None:
    """As numpy.quantile has it: linear between neighbours."""
    if len(values) < 2:
        return float(values[0]) if values else None
    return quantiles(values, n=100, method="inclusive")[percent - 1]

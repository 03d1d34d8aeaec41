"""Whether two spikes have one cause: whether the same posts made both, at the same time. Pure.

Two spikes match when each began before the other ended, at most START_MINUTES apart, and

- where one post makes at least half of either spike: that post makes at least half of both;
- elsewhere: posts that both name make at least half of what the named posts of each have.

So an author and the thread of the one post that takes off match, and a hashtag and its brand; a thread and a hashtag of
which the thread is a third do not, nor do two hashtags that happen to spike in the same minute. Both arguments count
alike, and nothing but event time is compared, so a log gives the same matches in whatever order its spikes arrive.
"""

from typing import Final

from schemas.alerts import SpikeAlert

START_MINUTES: Final = 60
SHARED: Final = 0.5

KIND_ORDER: Final = ("hashtag", "mention", "brand", "label", "thread", "author")
"""Of spikes that began in the same minute, the first in this order names the cause."""


def have_one_cause(one: SpikeAlert, other: SpikeAlert) -> bool:
    """Tells whether two spikes have leading posts and time in common."""
    if not _meet_in_time(one, other):
        return False
    shares, others = _shares(one), _shares(other)
    if not shares or not others:
        return False
    loudest, of_loudest = max((share, post) for share, post in (_loudest(shares), _loudest(others)))
    if loudest >= SHARED:
        return min(shares.get(of_loudest, 0.0), others.get(of_loudest, 0.0)) >= SHARED
    common = shares.keys() & others.keys()
    return all(sum(made[post] for post in common) >= SHARED * sum(made.values()) for made in (shares, others))


def rank_in_group(alert: SpikeAlert) -> tuple[float, int, str]:
    """Returns the position of a spike in its group: the first one gives the group its id."""
    kind = alert["conversation"].partition(":")[0]
    order = KIND_ORDER.index(kind) if kind in KIND_ORDER else len(KIND_ORDER)
    return alert["started_at"].timestamp(), order, alert["conversation"]


def _meet_in_time(one: SpikeAlert, other: SpikeAlert) -> bool:
    apart = abs((one["started_at"] - other["started_at"]).total_seconds())
    return apart <= 60 * START_MINUTES and all(
        first["ended_at"] is None or last["started_at"] <= first["ended_at"]
        for first, last in ((one, other), (other, one))
    )


def _shares(alert: SpikeAlert) -> dict[str, float]:
    """Returns the share of each named post in all counts of the spike."""
    counts = dict(zip(alert["top_posts"], alert["top_counts"], strict=False))
    total = max(alert["observed"] * alert["scale_minutes"], float(sum(counts.values())))
    return {post: count / total for post, count in counts.items() if count > 0 and total > 0}


def _loudest(shares: dict[str, float]) -> tuple[float, str]:
    return max((share, post) for post, share in shares.items())

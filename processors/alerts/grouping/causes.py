"""The causes behind spikes: spikes that the same posts made are told as one alert. Pure; time is an argument.

A group is a connected component of spikes that match (matching.py), so the order of arrival does not matter. Its id is
that of its first spike in event time, and is stored for each of its spikes. Receivers know a group by its head: the
spike under whose id the group was first told. A group opens once; it has grown when a spike of it has, or when its
severity rises; it is over when all of its spikes are. A spike that joins later updates the alert, and is no alert of
its own. Where two groups that were both told turn out to be one, both alerts live on and name all.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from processors.alerts.deliveries.receiver_state import life_position
from processors.alerts.grouping.matching import have_one_cause, rank_in_group
from processors.alerts.ports import GroupRow
from schemas.alerts import SEVERITIES, AlertState, SpikeAlert

GROWTH: Final = 2.0
"""Growth of a group's level since it was last told, from which the group has grown ..."""

TOGETHER: Final = 1.5
"""... and where a spike of several says that it has grown: the others grow with it, and once is enough."""


GATHERED_SECONDS: Final = 600.0
"""A state that is older in event time does not wait for further spikes of its cause."""


class GroupAlert(NamedTuple):
    """An alert of a group, in the form of an alert of its head. `is_news`: a new state; else an update of the last."""

    alert: SpikeAlert
    is_news: bool


@dataclass(eq=False)
class Cause:
    """A group of spikes.

    `heads`: ids under which receivers are told; none while the group gathers until `due`, with the states that came
    since in `gathered`. `bases`: the level of each spike at growth 1. `state`, `as_of`: the last state that was told.
    """

    members: dict[str, SpikeAlert]
    due: float
    heads: list[str] = field(default_factory=list)
    bases: dict[str, float] = field(default_factory=dict)
    growth: float = 1.0
    severity: int = 0
    state: AlertState = "opened"
    as_of: datetime | None = None
    gathered: list[SpikeAlert] = field(default_factory=list)

    @property
    def group_id(self) -> str:
        return self.ordered[0]["spike_id"]

    @property
    def ordered(self) -> list[SpikeAlert]:
        """All spikes, the first in event time first."""
        return sorted(self.members.values(), key=rank_in_group)

    @property
    def is_over(self) -> bool:
        return all(member["state"] == "resolved" for member in self.members.values())

    @property
    def highest_severity(self) -> int:
        return max(SEVERITIES.index(member["severity"]) for member in self.members.values())

    def growth_of(self, member: SpikeAlert) -> float:
        """Returns the growth of a spike, in multiples of its base."""
        return member["observed"] / base if (base := self.bases.get(member["spike_id"], 0.0)) > 0 else 0.0

    def alone(self, alert: SpikeAlert) -> SpikeAlert:
        """Returns a state of the only spike of the group as an alert of the group."""
        merged: SpikeAlert = {**alert, "group_id": self.group_id, "conversations": [alert["conversation"]]}
        return merged

    def alert(self, head: str) -> SpikeAlert:
        """Returns the last state of the group as an alert of its head: with the head's numbers, or with those of the
        spike that has grown most where the head's have not grown with it."""
        members = self.ordered
        most = max(members, key=self.growth_of)
        shown = self.members[head]
        if self.growth_of(shown) * GROWTH < self.growth_of(most):
            shown = most
        last, own = max(members, key=lambda member: member["as_of"]), self.members[head]["conversation"]
        ends = [member["ended_at"] for member in members if member["ended_at"] is not None]
        merged: SpikeAlert = {
            **shown,
            "spike_id": head,
            "state": self.state,
            "started_at": min(member["started_at"] for member in members),
            "ended_at": max(ends) if self.state == "resolved" and ends else None,
            "as_of": self.as_of or last["as_of"],
            "severity": SEVERITIES[max(self.severity, self.highest_severity)],
            "group_id": members[0]["spike_id"],
            "conversations": list(dict.fromkeys([own, *(member["conversation"] for member in members)])),
        }
        return merged


class Causes:
    """The groups of all spikes of an agent. Not thread-safe."""

    def __init__(self, gather: float) -> None:
        """`gather`: seconds for which a new group waits for further spikes before it is told."""
        self._gather = gather
        self._causes: dict[str, Cause] = {}
        self._by_post: defaultdict[str, set[str]] = defaultdict(set)
        self._gathering: list[Cause] = []
        self._unsaved: dict[str, GroupRow] = {}

    def __contains__(self, spike_id: str) -> bool:
        return spike_id in self._causes

    @property
    def is_gathering(self) -> bool:
        return bool(self._gathering)

    def restore(
        self, spikes: Iterable[SpikeAlert], groups: Mapping[str, str], heads: Collection[str]
    ) -> list[SpikeAlert]:
        """Puts stored spikes into memory, and returns the alert of each head. `groups`: stored ids of groups by spike;
        `heads`: spikes under whose id receivers were told."""
        by_group: dict[str, Cause] = {}
        for spike in sorted(spikes, key=rank_in_group):
            stored = by_group.get(group := groups.get(spike["spike_id"], ""))
            cause = self._join(spike, [*self._matching(spike), *([stored] if stored else [])], 0.0)
            if group:
                by_group = {name: cause if known is stored else known for name, known in by_group.items()}
                by_group[group] = cause
        restored = []
        self._gathering.clear()
        for cause in dict.fromkeys(self._causes.values()):
            cause.heads = [spike_id for spike_id in cause.members if spike_id in heads] or [cause.group_id]
            grown = [member["as_of"] for member in cause.members.values() if member["state"] == "grown"]
            if cause.is_over:
                cause.state = "resolved"
            elif grown:
                cause.state, cause.as_of = "grown", max(grown)
            elif len(cause.members) > 1:
                cause.as_of = cause.members[cause.heads[0]]["as_of"]
            cause.severity = cause.highest_severity
            restored += [cause.alert(head) for head in cause.heads]
        return restored

    def add(self, alert: SpikeAlert, now: float, is_head: bool = False) -> list[GroupAlert]:
        """Adds a state of a spike and returns the alerts that follow. `is_head`: receivers were told of the spike
        before, under its own id."""
        cause = self._causes.get(alert["spike_id"])
        if cause is None:
            found = [] if is_head else [each for each in self._matching(alert) if not each.is_over or not each.heads]
            is_fresh = now - alert["as_of"].timestamp() < GATHERED_SECONDS
            cause = self._join(alert, found, now + (self._gather if is_fresh else 0.0))
            if is_head:
                cause.heads, cause.severity = [alert["spike_id"]], cause.highest_severity
                cause.state = alert["state"]
            return self._tell(cause, alert)
        known = cause.members[alert["spike_id"]]
        if life_position(alert) >= life_position(known):
            cause.members[alert["spike_id"]] = alert
        elif cause.heads and len(cause.members) == 1:
            # Read again after a restart: the state takes its place in the life of the spike.
            return [GroupAlert(cause.alone(alert), True)]
        return self._tell(cause, alert)

    def open_gathered(self, now: float) -> list[GroupAlert]:
        """Opens the groups that have gathered long enough."""
        opened: list[GroupAlert] = []
        waiting = []
        for cause in self._gathering:
            if cause.heads:
                continue
            if cause.due > now:
                waiting.append(cause)
                continue
            head = cause.ordered[0]
            cause.heads, cause.severity = [head["spike_id"]], cause.highest_severity
            if len(cause.members) == 1:
                for state in cause.gathered:
                    cause.state, cause.as_of = state["state"], state["as_of"]
                    opened.append(GroupAlert(cause.alone(state), True))
            else:
                cause.as_of = head["as_of"]
                opened.append(GroupAlert(cause.alert(head["spike_id"]), True))
                opened += self._told(cause, head) if cause.is_over else []
            cause.gathered.clear()
        self._gathering = waiting
        return opened

    def unsaved_rows(self) -> list[GroupRow]:
        """Returns the rows of `spike_groups` with changes since their last save."""
        return list(self._unsaved.values())

    def mark_saved(self, rows: Iterable[GroupRow]) -> None:
        """Notes that `rows` are stored. A row that has changed meanwhile stays unsaved."""
        for row in rows:
            if self._unsaved.get(row.spike_id) == row:
                del self._unsaved[row.spike_id]

    def keep(self, heads: Collection[str]) -> None:
        """Forgets the groups of which no head is among `heads`."""
        for cause in list(dict.fromkeys(self._causes.values())):
            if cause.heads and not any(head in heads for head in cause.heads):
                for spike_id in cause.members:
                    del self._causes[spike_id]
        known = {post: ids & self._causes.keys() for post, ids in self._by_post.items()}
        self._by_post = defaultdict(set, {post: ids for post, ids in known.items() if ids})

    def _matching(self, alert: SpikeAlert) -> list[Cause]:
        """Returns the groups of which a spike matches; only spikes that name a common post can."""
        near = dict.fromkeys(spike_id for post in alert["top_posts"] for spike_id in self._by_post.get(post, ()))
        matching = (self._causes[spike_id] for spike_id in near if spike_id in self._causes)
        return [
            cause
            for cause in dict.fromkeys(matching)
            if any(have_one_cause(member, alert) for member in cause.members.values())
        ]

    def _tell(self, cause: Cause, alert: SpikeAlert) -> list[GroupAlert]:
        if cause.heads:
            return self._told(cause, alert)
        cause.gathered.append(alert)
        return []

    def _join(self, alert: SpikeAlert, found: list[Cause], due: float) -> Cause:
        """Puts a spike and all groups but the first of `found` into the first, or the spike into a new group."""
        causes = sorted(dict.fromkeys(found), key=lambda each: (not each.heads, rank_in_group(each.ordered[0])))
        cause, *others = causes or [Cause({}, due)]
        if not causes:
            self._gathering.append(cause)
        for other in others:
            scale = cause.growth / other.growth
            cause.bases |= {spike_id: base / scale for spike_id, base in other.bases.items()}
            cause.heads += other.heads
            cause.members |= other.members
            cause.severity = max(cause.severity, other.severity)
            cause.gathered += other.gathered
            self._gathering = [each for each in self._gathering if each is not other]
        cause.members[alert["spike_id"]] = alert
        cause.bases[alert["spike_id"]] = alert["observed"] / cause.growth
        self._causes |= dict.fromkeys(cause.members, cause)
        for post in alert["top_posts"]:
            self._by_post[post].add(alert["spike_id"])
        if len(cause.members) > 1:
            rows = [GroupRow(spike_id, cause.group_id, len(cause.members)) for spike_id in cause.members]
            self._unsaved |= {row.spike_id: row for row in rows}
        return cause

    def _told(self, cause: Cause, alert: SpikeAlert) -> list[GroupAlert]:
        """Returns the alerts of a told group after the change of a spike to `alert`."""
        growth = max(map(cause.growth_of, cause.members.values()))
        is_single = len(cause.members) == 1
        needed = GROWTH if alert["state"] != "grown" else 0.0 if is_single else TOGETHER
        is_news = True
        if cause.is_over:
            cause.state, cause.as_of = "resolved", None
        elif alert["state"] != "resolved" and (
            growth >= needed * cause.growth or cause.highest_severity > cause.severity
        ):
            cause.growth, cause.severity = growth, max(cause.severity, cause.highest_severity)
            cause.state, cause.as_of = "grown", alert["as_of"]
        elif is_single:
            cause.as_of = cause.as_of or alert["as_of"]
        else:
            is_news = False
        return [GroupAlert(cause.alert(head), is_news) for head in cause.heads]

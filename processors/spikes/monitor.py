"""Who watches conversations: an Audience that finds spikes and tells of them.

The order of telling, which makes a crash between any two steps harmless:

    1. a row of conversation_spikes, with a version that says: not told yet
    2. a message to the topic of alerts, acked
    3. the same row, with a version that says: told

All of it is done after the minutes are marked as closed; of many spikes at once some are told later, so that others are
not kept waiting. State is a cache of conversation_closed: at an assignment the closed minutes of the last weeks are
taken again, by the same calls. What is found in them and was not told, as the rows say, is told; with the same ids, so
that it counts once.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from math import inf
from time import perf_counter
from typing import Final, Protocol, TypeVar

from pipeline.observability.spike_metrics import SpikeMetrics
from processors.columnar.partitioning import partitions_of
from processors.spikes.alert_message import alert_of
from processors.spikes.life import EARLY, RANKS, Change
from processors.spikes.ports import Messages, Past, Spikes, StoredSpike, Witness
from processors.spikes.state import AHEAD_MINUTES, DAY_MINUTES, WatchPolicy, WatchState
from schemas.alerts import SPIKE_ALERT

AT_ONCE: Final = 50
FIRST: Final = 5
"""Of many only so many are told first, that they need not wait for what the others are made of."""

STALE_MINUTES: Final = 60
"""A spike that has nothing newer to tell waits for those that have."""

REPAIRED_DAYS: Final = 7
"""Where there is more past than is read, its first weeks look newer than they are: what is found there and nobody has
stored was rightly not found."""

CHANGE_BYTES: Final = 1_000
"""What a state of a spike takes that is still to be told, or was."""

FORGOTTEN: Final = "not watched any more, or found by a detector of before: nothing more will be told of it"

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Patiently(Protocol):
    """Tries an action until it works (see processors/runtime/retry.py). Raises GivenUp and final errors."""

    def __call__(self, action: Callable[[], Result]) -> Result: ...


class Watch:
    """The conversations of some partitions. Not thread-safe. Before `load` it takes nothing."""

    ahead_minutes = AHEAD_MINUTES

    def __init__(
        self,
        past: Past,
        witness: Witness,
        spikes: Spikes,
        messages: Messages,
        metrics: SpikeMetrics,
        policy: WatchPolicy | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        """`alive` is told of every step forward: to take the past again may last longer than a batch ever does."""
        self._alive = alive
        self._past, self._witness, self._spikes, self._messages = past, witness, spikes, messages
        self._metrics, self._policy = metrics, policy or WatchPolicy()
        self.forget()

    def forget(self) -> None:
        """Nothing is ours any more."""
        self.state = WatchState(self._policy)
        self._closed_until = 0
        self._open: list[tuple[Sequence[str], Sequence[int], Sequence[int]]] = []
        self._untold: list[Change] = []
        self._stored: dict[str, StoredSpike] = {}  # as far as it may still matter: of spikes that are open

    def load(self, floors: Mapping[int, int], of: int) -> None:
        """These partitions, out of `of`, are ours: their minutes before `floors` are closed. Takes them again; blocks,
        and may be repeated where it raises."""
        self.forget()
        span = self._policy.idle_days * DAY_MINUTES
        stored = {s.spike_id: s for s in self._past.spikes(floors, of, min(floors.values()) - span)}
        oldest = self._past.oldest(floors, of)
        owners = cache(lambda conversation: int(partitions_of([conversation], of)[0]))

        def floor_of(conversation: str) -> int:
            return floors.get(owners(conversation), 0)

        found: list[Change] = []
        for minute, names, counts in self._past.closings(floors, of, span, self._policy.kinds):
            found += self.state.pass_until(lambda name: min(minute, floor_of(name)))  # noqa: B023
            found += self._close(minute, names, counts)
            self._alive()
        found += self.state.pass_until(floor_of)
        newest = max(floors.values())
        is_whole = oldest is None or oldest >= newest - span
        since = 0 if is_whole else newest - REPAIRED_DAYS * DAY_MINUTES
        self._untold = [each for each in found if each.as_of >= since or each.spike_id in stored]
        ids = {each.spike_id for each in found}
        for spike in stored.values():
            if spike.spike_id not in ids and not (spike.state == "resolved" and spike.is_told):
                self._adopt(spike, floor_of(spike.conversation))
        self._stored = stored
        self._untold = [each for each in self._untold if self._has_news(each)]
        self._stored = {key: each for key, each in stored.items() if each.state != "resolved" or not each.is_told}
        self._closed_until = min(floors.values())
        self._show()

    def on_closed(self, minute: int, conversations: Sequence[str], counts: Sequence[int]) -> None:
        # Minutes of all conversations come in order: what is before this one is closed for each of them.
        self._untold += self.state.pass_until(lambda conversation: minute)
        self._untold += self._close(minute, conversations, counts)
        self._closed_until = max(self._closed_until, minute + 1)

    def on_open(self, conversations: Sequence[str], minutes: Sequence[int], counts: Sequence[int]) -> None:
        # What closes in the same batch comes first: without it nothing is certain.
        self._open.append((conversations, minutes, counts))

    def settle(self, closed_until: int, patiently: Patiently, seconds: float = inf) -> None:
        """Every minute before it is closed. Tells what is to be told, for so long, or a little of it: blocks. What is
        left, or was given up, stays to be told."""
        started = perf_counter()
        self._untold += self.state.pass_until(lambda conversation: closed_until)
        self._closed_until = max(self._closed_until, closed_until)
        for columns in self._open:
            self._untold += self.state.look(*columns, self._closed_until)
        self._open.clear()
        self._metrics.add_seconds(perf_counter() - started)
        self._untold = self._by_weight(self._untold)
        at_once = FIRST
        started = perf_counter()
        while self._untold and (at_once == FIRST or perf_counter() - started < seconds):
            changes = self._untold[:at_once]
            self._tell([each for each in changes if self._has_news(each)], patiently)
            del self._untold[: len(changes)]
            at_once = min(2 * at_once, AT_ONCE)
            self._alive()
        self._show()

    @property
    def memory(self) -> tuple[int, int]:
        """Bytes of all series, and of the spikes that go on or are still to be told."""
        waiting = CHANGE_BYTES * (len(self._untold) + len(self._stored))
        return self.state.tracked.nbytes, self.state.nbytes + waiting

    def _by_weight(self, changes: Sequence[Change]) -> list[Change]:
        """What is news before what is history, openings before what came of them, the clearest first. The states of one
        spike stay in their order."""
        newest: dict[str, int] = {}
        for change in changes:
            newest[change.spike_id] = max(newest.get(change.spike_id, 0), change.as_of)
        fresh = self._closed_until - STALE_MINUTES

        def weight(change: Change) -> tuple[bool, int, float]:
            score = 0.0 if change.state == "grown" else -change.score
            return newest[change.spike_id] < fresh, RANKS[change.state], score

        return sorted(changes, key=weight)

    def _close(self, minute: int, conversations: Sequence[str], counts: Sequence[int]) -> list[Change]:
        started = perf_counter()
        changes = self.state.close(minute, conversations, counts)
        self._metrics.add_seconds(perf_counter() - started)
        return changes

    def _adopt(self, spike: StoredSpike, floor: int) -> None:
        """A stored spike that is open, or was never told of, and does not follow from what is closed."""
        change = Change(
            spike.spike_id,
            spike.conversation,
            spike.state,
            spike.started,
            None,
            spike.as_of,
            EARLY,
            0.0,
            spike.expected,
            spike.scale,
            spike.as_of,
            (),
        )
        if spike.started >= floor and spike.state != "resolved":
            self.state.restore_early(change)
            if not spike.is_told:
                self._untold.append(change)
            return
        end = spike.as_of if spike.state == "resolved" else max(floor, spike.as_of)
        self._untold.append(
            change._replace(state="resolved", ended=end, as_of=end, rank=RANKS["resolved"], reasons=(FORGOTTEN,))
        )

    def _tell(self, changes: Sequence[Change], patiently: Patiently) -> None:
        if not changes:
            return
        started = perf_counter()
        facts = patiently(partial(self._witness.facts, changes))
        took = perf_counter() - started
        self._metrics.add_evidence_seconds(took)
        alerts = [alert_of(*pair) for pair in zip(changes, facts, strict=True)]
        versions = [change.version for change in changes]
        new = [alert for alert, change in zip(alerts, changes, strict=True) if not self._was_told(change)]
        if new:
            patiently(partial(self._spikes.save, alerts, versions))
            for alert in new:
                value = SPIKE_ALERT.dump_json(alert)
                patiently(partial(self._messages.send, alert["conversation"], value))
            patiently(self._messages.flush)
        patiently(partial(self._spikes.save, alerts, [version | 1 for version in versions]))
        for change in changes:
            if not self._was_told(change):
                self._metrics.count_spike(change.state)
                log.info("spike %s of %s %s", change.spike_id, change.conversation, change.state)
        log.debug("evidence of %d states took %.2f s, all of it %.2f s", len(changes), took, perf_counter() - started)
        self._remember(changes)

    def _remember(self, changes: Iterable[Change]) -> None:
        for each in changes:
            if each.state == "resolved":
                self._stored.pop(each.spike_id, None)
            else:
                self._stored[each.spike_id] = StoredSpike(
                    each.spike_id,
                    each.conversation,
                    each.state,
                    each.started,
                    each.as_of,
                    each.version | 1,
                    each.expected,
                    each.scale,
                )

    def _was_told(self, change: Change) -> bool:
        known = self._stored.get(change.spike_id)
        return known is not None and known.is_told and known.place >= change.place

    def _has_news(self, change: Change) -> bool:
        """It was not told; or it was told before its minute's end, and its row can say now what it came to."""
        known = self._stored.get(change.spike_id)
        return known is None or not known.is_told or known.version < (change.version | 1)

    def _show(self) -> None:
        self._metrics.show(len(self.state.tracked), self.state.tracked.released, self.state.open_spikes)

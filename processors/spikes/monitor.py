"""The spike monitor: an Audience of the conversation job that detects spikes and sends their alerts.

Each state of a spike is published in this order, which makes a crash between any two steps harmless:

    1. a row of conversation_spikes, with a version that says: not sent yet
    2. a message to the topic of alerts, acked
    3. the same row, with a version that says: sent

An opening that was sent before its minute was over is sent again, under the same key, when its count has doubled, and
once the minute has closed: its count may have multiplied. Where a minute after it was told already, its lesser count is
stored only. All three steps come after the minutes were marked as closed. Where many spikes come at once,
some are sent later, so that the batches that follow need not wait. State is a cache of conversation_closed: at an
assignment the monitor reads the closed minutes of the last weeks again, through the same calls. Alerts of these minutes
that were not sent, as their rows say, are sent under the same ids, so that receivers count each once.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import inf
from time import perf_counter
from typing import Final, Protocol, TypeVar

from pipeline.observability.spike_metrics import SpikeMetrics
from pipeline.privacy.erased_hashes import NOTHING_ERASED
from processors.columnar.partitioning import partitions_of
from processors.spikes.alert_message import alert_of
from processors.spikes.detection.life import EARLY, RANKS, Change
from processors.spikes.detection.state import AHEAD_MINUTES, MonitorPolicy, MonitorState
from processors.spikes.policy import DAY_MINUTES
from processors.spikes.ports import AlertSender, EvidenceSource, SpikeHistory, SpikeStore, StoredSpike
from schemas.alerts import ALERTS_KEY, SPIKE_ALERT

FIRST_AT_ONCE: Final = 5
"""How many alerts are sent first where there are many: few, because all wait for the evidence of all."""

MOST_AT_ONCE: Final = 50
"""The number doubles with each round, up to this."""

STALE_MINUTES: Final = 60
"""A spike whose newest state is older than this waits for those with newer ones."""

REPAIRED_DAYS: Final = 7
"""Where the history is longer than what is read, the first weeks read look newer than they are, and may fire where the
live detector did not. So only spikes of these last days, or with a stored row, are published after a restart."""

CHANGE_BYTES: Final = 1_000
"""Memory of a state of a spike that is to be sent, or of a stored one."""

NOT_WATCHED: Final = (
    "this conversation is not watched any more, or an older detector found the spike: no more will be told"
)

_Result = TypeVar("_Result")

log = logging.getLogger(__name__)


class RetryUntilDone(Protocol):
    """Tries an action until it works (see processors/runtime/retry.py). Raises GivenUp and final errors."""

    def __call__(self, action: Callable[[], _Result]) -> _Result: ...


@dataclass(frozen=True)
class MonitorPorts:
    """All that the monitor reaches outside of itself (processors/spikes/ports.py)."""

    history: SpikeHistory
    evidence: EvidenceSource
    store: SpikeStore
    alerts: AlertSender


class SpikeMonitor:
    """Watches the conversations of some partitions: of none before `load`. Not thread-safe."""

    ahead_minutes = AHEAD_MINUTES

    def __init__(
        self,
        ports: MonitorPorts,
        metrics: SpikeMetrics,
        policy: MonitorPolicy | None = None,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_progress` is called at every step forward: reading the history again may last longer than any batch. What
        it raises breaks `load` and `publish` off, and both may be called again."""
        self._history, self._evidence, self._store, self._alerts = (
            ports.history,
            ports.evidence,
            ports.store,
            ports.alerts,
        )
        self._metrics, self._policy, self._on_progress = metrics, policy or MonitorPolicy(), on_progress
        self.erased = NOTHING_ERASED
        self.forget()

    def forget(self) -> None:
        """Drops all state, as no partition is assigned any more."""
        self.state = MonitorState(self._policy)
        self._closed_until = 0
        self._open: list[tuple[Sequence[str], Sequence[int], Sequence[int]]] = []
        self._unsent: list[Change] = []
        self._stored: dict[str, StoredSpike] = {}  # open spikes only: rows of the others do not matter any more
        self._early_sent: dict[str, Change] = {}
        self._show_metrics()

    def load(self, floors: Mapping[int, int], of: int) -> None:
        """Takes over partitions, out of `of`, whose minutes before `floors` (by partition) are closed. Reads these
        minutes again. Blocks; may be repeated where an error was raised."""
        self.forget()
        span = self._policy.idle_days * DAY_MINUTES
        stored = {spike.spike_id: spike for spike in self._history.spikes(floors, of, min(floors.values()) - span)}
        oldest = self._history.oldest(floors, of)
        owners = cache(lambda conversation: int(partitions_of([conversation], of)[0]))

        def floor_of(conversation: str) -> int:
            return floors.get(owners(conversation), 0)

        changes: list[Change] = []
        for minute, names, counts in self._history.closings(floors, of, span, self._policy.kinds):
            changes += self.state.close_until(lambda name: min(minute, floor_of(name)))  # noqa: B023
            changes += self._close(minute, names, counts)
            self._on_progress()
        changes += self.state.close_until(floor_of)
        newest = max(floors.values())
        is_whole = oldest is None or oldest >= newest - span
        since = 0 if is_whole else newest - REPAIRED_DAYS * DAY_MINUTES
        self._unsent = [change for change in changes if change.as_of >= since or change.spike_id in stored]
        found_again = {change.spike_id for change in changes}
        for spike in stored.values():
            if spike.spike_id not in found_again and not (spike.state == "resolved" and spike.is_sent):
                self._adopt(spike, floor_of(spike.conversation))
        self._stored = stored
        self._unsent = [change for change in self._unsent if self._has_news(change)]
        self._stored = {
            spike_id: spike for spike_id, spike in stored.items() if spike.state != "resolved" or not spike.is_sent
        }
        self._closed_until = min(floors.values())
        self._show_metrics()

    def on_closed(self, minute: int, conversations: Sequence[str], counts: Sequence[int]) -> None:
        # Minutes of all conversations come in order, so all minutes before this one are closed for each conversation.
        self._unsent += self.state.close_until(lambda conversation: minute)
        self._unsent += self._close(minute, conversations, counts)
        self._closed_until = max(self._closed_until, minute + 1)

    def on_open(self, conversations: Sequence[str], minutes: Sequence[int], counts: Sequence[int]) -> None:
        # Open minutes are judged in `publish`, after those that close in the same batch: no verdict is certain before.
        self._open.append((conversations, minutes, counts))

    def publish(self, closed_until: int, retry: RetryUntilDone, seconds: float = inf) -> None:
        """Sends alerts, the most important first, for about `seconds`, and at least FIRST_AT_ONCE of them. Every minute
        before `closed_until` is closed. Blocks. The rest, and what was given up, is sent by the next calls."""
        started = perf_counter()
        self._unsent += self.state.close_until(lambda conversation: closed_until)
        self._closed_until = max(self._closed_until, closed_until)
        for columns in self._open:
            self._unsent += self.state.judge_open(*columns, self._closed_until)
        self._open.clear()
        self._metrics.add_seconds(perf_counter() - started)
        self._unsent = self._by_priority(self._unsent)
        at_once = FIRST_AT_ONCE
        started = perf_counter()
        while self._unsent and (at_once == FIRST_AT_ONCE or perf_counter() - started < seconds):
            changes = self._unsent[:at_once]
            self._send([change for change in changes if self._has_news(change)], retry)
            del self._unsent[: len(changes)]
            at_once = min(2 * at_once, MOST_AT_ONCE)
            self._on_progress()
        self._show_metrics()

    @property
    def memory(self) -> tuple[int, int]:
        """Bytes of all series, and of the spikes that are open or still to be sent."""
        waiting = CHANGE_BYTES * (len(self._unsent) + len(self._stored))
        return self.state.tracked.nbytes, self.state.nbytes + waiting

    def _by_priority(self, changes: Sequence[Change]) -> list[Change]:
        """Sorts recent spikes before stale ones, openings before later states, high scores first. The states of one
        spike stay in their order."""
        newest: dict[str, int] = {}
        for change in changes:
            newest[change.spike_id] = max(newest.get(change.spike_id, 0), change.as_of)
        fresh = self._closed_until - STALE_MINUTES

        def priority(change: Change) -> tuple[bool, int, float]:
            score = 0.0 if change.state == "grown" else -change.score
            return newest[change.spike_id] < fresh, RANKS[change.state], score

        return sorted(changes, key=priority)

    def _close(self, minute: int, conversations: Sequence[str], counts: Sequence[int]) -> list[Change]:
        started = perf_counter()
        changes = self.state.close_minute(minute, conversations, counts)
        self._metrics.add_seconds(perf_counter() - started)
        return changes

    def _adopt(self, spike: StoredSpike, floor: int) -> None:
        """Takes over a stored spike that is open, or was never sent, and does not follow from the closed minutes."""
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
            if not spike.is_sent:
                self._unsent.append(change)
            return
        end = spike.as_of if spike.state == "resolved" else max(floor, spike.as_of)
        self._unsent.append(
            change._replace(state="resolved", ended=end, as_of=end, rank=RANKS["resolved"], reasons=(NOT_WATCHED,))
        )

    def _send(self, changes: Sequence[Change], retry: RetryUntilDone) -> None:
        """Stores and sends the alerts of these changes, in the order of this module's docstring."""
        if not changes:
            return
        started = perf_counter()
        evidence = retry(partial(self._evidence.collect, changes))
        evidence_seconds = perf_counter() - started
        self._metrics.add_evidence_seconds(evidence_seconds)
        alerts = [alert_of(*pair) for pair in zip(changes, evidence, strict=True)]
        versions = [change.version for change in changes]
        new = [alert for alert, change in zip(alerts, changes, strict=True) if self._is_to_be_sent(change)]
        if new:
            retry(partial(self._store.save, alerts, versions))
            for alert in new:
                value = SPIKE_ALERT.dump_json(alert)
                retry(partial(self._alerts.send, ALERTS_KEY, value))
            retry(self._alerts.flush)
        retry(partial(self._store.save, alerts, [version | 1 for version in versions]))
        for change in changes:
            if not self._was_sent(change):
                self._metrics.count_spike(change.state)
                log.info("spike %s of %s %s", change.spike_id, change.conversation, change.state)
        log.debug(
            "evidence of %d states took %.2f s, sending them %.2f s in all",
            len(changes),
            evidence_seconds,
            perf_counter() - started,
        )
        self._remember(changes)

    def _remember(self, changes: Iterable[Change]) -> None:
        """Keeps the states that were sent of open spikes, and forgets resolved spikes."""
        for change in changes:
            self._early_sent.pop(change.spike_id, None)
            if change.state == "resolved":
                self._stored.pop(change.spike_id, None)
            else:
                if change.rank == EARLY:
                    self._early_sent[change.spike_id] = change
                its = change.spike_id, change.conversation, change.state, change.started, change.as_of
                self._stored[change.spike_id] = StoredSpike(*its, change.version | 1, change.expected, change.scale)

    def _was_sent(self, change: Change) -> bool:
        stored = self._stored.get(change.spike_id)
        return stored is not None and stored.is_sent and stored.order >= change.order

    def _is_to_be_sent(self, change: Change) -> bool:
        """Tells whether the state was not sent yet, or only before the end of its minute, or with a lesser count."""
        stored, early = self._stored.get(change.spike_id), self._early_sent.get(change.spike_id)
        is_overtaken = early is not None and early.seen_until > change.seen_until
        is_newer = stored is not None and stored.version < change.version and not is_overtaken
        return not self._was_sent(change) or is_newer or self._has_more(change)

    def _has_news(self, change: Change) -> bool:
        """Tells whether the row of a change is not final yet. The change was not sent, or was sent before the end of
        its minute, so that the final row can now replace the early one. Nothing is told of a conversation
        that an erasure deletes."""
        stored = self._stored.get(change.spike_id)
        is_final = stored is not None and stored.is_sent and stored.version >= (change.version | 1)
        return (not is_final or self._has_more(change)) and not self.erased.conversations([change.conversation])[0]

    def _has_more(self, change: Change) -> bool:
        """Tells whether an early opening was sent with a lesser count."""
        early = self._early_sent.get(change.spike_id)
        return change.rank == EARLY and early is not None and change.seen > early.seen

    def _show_metrics(self) -> None:
        self._metrics.show(len(self.state.tracked), self.state.tracked.released, self.state.open_spikes)

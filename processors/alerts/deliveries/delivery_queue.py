"""The deliveries of one agent: which notice is due to which receiver, and when. Pure: no I/O, time is an argument (Unix
time in seconds), chance is injected.

The rules:
- Each state is delivered at least once, in the order of the spike's life, to each receiver of its conversation.
- A failed delivery is tried again with exponential backoff and jitter, and given up when the state is too old.
- An opening or growth that is old in event time, or silenced, is recorded and not delivered. A resolution goes to each
  receiver that knows of the spike, silenced or not, and to no other.
- A spike of a severity below the receiver's is recorded as minor. Growth to that severity is its opening there.
- Growth that is still pending when more growth comes is superseded. Of a spike that has to wait for a receiver's rate
  only the latest state is delivered.
- A receiver that forgets (Alertmanager) gets an open spike again and again, and a resolution for a while. One whose
  messages are updated gets a delivered state again when more is known of it.
- What comes in a receiver's quiet hours, or between its digests, is recorded as held. Later, the latest state of each
  spike is delivered, all in one message; a spike that has a message of its own is told there.
- A receiver holds up nobody but itself.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from random import Random

from processors.alerts.config import AlertsConfig
from processors.alerts.deliveries.admission import Admission
from processors.alerts.deliveries.ledger import Ledger
from processors.alerts.deliveries.policy import DeliveryPolicy, Tally
from processors.alerts.deliveries.receiver_state import (
    PendingDelivery,
    ReceiverState,
    SpikeState,
    as_of_minute,
    life_of,
    life_position,
    seen_position,
)
from processors.alerts.ports import DELIVERED, GAVE_UP, MINOR, OLD, SILENCED, SUPERSEDED, UNTOLD, Answer, Delivery
from processors.alerts.routing import Routing
from schemas.alerts import AlertState, SpikeAlert


class DeliveryQueue:
    """Pending deliveries of all spikes of an agent. `ledger`: the rows of deliveries to be stored. Not thread-safe."""

    def __init__(
        self,
        config: AlertsConfig,
        forgetful: Collection[str],
        tally: Tally,
        chance: Random,
        now: float,
        policy: DeliveryPolicy | None = None,
    ) -> None:
        """`forgetful`: names of the receivers that need a delivered state again and again."""
        self._routing, self._oldest, self._forgetful = Routing(config), config.oldest, frozenset(forgetful)
        self._updated = frozenset(name for name, receiver in config.receivers.items() if receiver.is_updated)
        self._schedules = {name: receiver.schedule for name, receiver in config.receivers.items()}
        self._tally, self._chance, self._policy = tally, chance, policy or DeliveryPolicy()
        rates = {name: receiver.rate for name, receiver in config.receivers.items()}
        self._admission = Admission(rates, self._policy.at_once, now)
        self._spikes: dict[str, SpikeState] = {}
        self.ledger = Ledger(tally)

    def __contains__(self, spike_id: str) -> bool:
        return spike_id in self._spikes

    @property
    def spike_ids(self) -> Collection[str]:
        return self._spikes.keys()

    @property
    def in_flight(self) -> int:
        return self._admission.in_flight

    def count_pending(self) -> dict[str, int]:
        """Counts pending states by receiver, refreshes left out."""
        counts = dict.fromkeys(self._schedules, 0)
        for receiver_state in self._receiver_states():
            counts[receiver_state.receiver] += len(receiver_state.queue)
        return counts

    def count_untried(self, now: float) -> int:
        """Counts states that are due and were never tried."""
        pending = (pending for receiver_state in self._receiver_states() for pending in receiver_state.queue)
        return sum(not each.attempts and each.due <= now for each in pending)

    def restore(self, spike: SpikeAlert, rows: Sequence[Delivery], now: float, is_new_alert: bool = False) -> None:
        """Puts a stored spike into memory: its newest state and its rows. Pending deliveries go on.

        `is_new_alert`: `spike` comes from the topic and is not stored yet; only its rows are taken over, and the caller
        adds the alert afterwards.
        """
        by_receiver: defaultdict[str, dict[AlertState, Delivery]] = defaultdict(dict)
        for row in rows:
            by_receiver[row.receiver][row.state] = row
        routes = self._routing.routes_of_all(spike["conversations"])
        receivers = {route.receiver: ReceiverState(*route, by_receiver[route.receiver]) for route in routes}
        known = self._spikes[spike["spike_id"]] = SpikeState(spike, receivers)
        if is_new_alert:
            known.seen = {seen_position(row.state, row.minute) for row in rows if row.is_settled}
            return
        for alert in life_of(spike):
            known.seen.add(seen_position(alert["state"], as_of_minute(alert)))
            for receiver_state in receivers.values():
                self._decide(receiver_state, alert, now)
        for receiver_state in receivers.values():
            grown = receiver_state.rows.get("grown")
            if spike["state"] == "resolved" and grown is not None and not grown.is_settled:
                # The content of the growth is not stored; the resolution says all that is known.
                self.ledger.record(receiver_state, Delivery(**{**vars(grown), "outcome": SUPERSEDED}))
                self._tally.count_suppressed(SUPERSEDED)
            self._plan_refresh(known, receiver_state, now, now)

    def add_alert(self, alert: SpikeAlert, now: float) -> None:
        """Adds a state of a spike from the topic. A state that was added before changes nothing."""
        spike = self._spikes.setdefault(alert["spike_id"], SpikeState(alert, {}))
        position = seen_position(alert["state"], as_of_minute(alert))
        if position in spike.seen:
            self.update(alert, now)
            return
        if life_position(alert) > life_position(spike.latest):
            spike.latest = alert
        self._find_receivers(spike, alert, now)
        spike.seen.add(position)
        self._tally.count_fired(alert["state"])
        if not spike.receivers:
            self._tally.count_suppressed("unrouted")
        for receiver_state in spike.receivers.values():
            self._decide(receiver_state, alert, now)

    def update(self, alert: SpikeAlert, now: float) -> None:
        """Replaces the content of a state that was added before: more is known of it, or of its group. Receivers that
        forget get the content with the next repetition, and receivers of conversations that joined get an opening."""
        spike = self._spikes[alert["spike_id"]]
        if life_position(alert) >= life_position(spike.latest):
            spike.latest = alert
        for receiver_state in spike.receivers.values():
            if (pending := receiver_state.find_pending(alert)) and not pending.attempts:
                pending.notice = receiver_state.notice(alert)
            if receiver_state.refresh is not None and not receiver_state.refresh.in_flight:
                receiver_state.refresh.notice = receiver_state.notice(spike.latest, is_repetition=True)
            elif receiver_state.receiver in self._updated and receiver_state.reference:
                self._plan_repetition(spike, receiver_state, now + self._policy.gather)
        self._find_receivers(spike, alert, now)

    def start_due(self, now: float) -> list[PendingDelivery]:
        """Marks the deliveries to be sent now as in flight and returns them. New states come before refreshes. The
        deliveries `in_digest` to a receiver are one message. The caller passes the answer of each to
        `record_answer`."""
        heads: defaultdict[str, list[PendingDelivery]] = defaultdict(list)
        for receiver_state in self._receiver_states():
            if not receiver_state.is_busy and (head := self._due_head(receiver_state, now)):
                head.notice = head.notice._replace(reference=receiver_state.reference)
                heads[receiver_state.receiver].append(head)
        started: list[PendingDelivery] = []
        for receiver, due in heads.items():
            admitted, limited = self._admission.admit(receiver, due, now)
            for pending in limited:
                self._keep_latest(receiver, pending)
            started += admitted
        return started

    def record_answer(self, sent: PendingDelivery, answer: Answer, now: float) -> None:
        """Records the answer to a started delivery. The row of a spike that has left memory stays as it is."""
        self._admission.finish(sent)
        sent.attempts += 1
        alert = sent.notice.alert
        spike = self._spikes.get(alert["spike_id"])
        receiver_state = spike.receivers.get(sent.receiver) if spike else None
        if answer.reference:
            sent.notice = sent.notice._replace(reference=answer.reference)
        if not answer.is_delivered:
            self._tally.count_failed(sent.receiver)
            sent.due = now + self._policy.backoff(sent.attempts, answer.wait, self._chance, sent.in_digest)
        elif not sent.is_refresh:
            self._tally.count_delivered(sent.receiver, alert["state"])
        if spike is None or receiver_state is None:
            return
        if sent is receiver_state.refresh:
            if answer.is_delivered:
                receiver_state.refresh = None
                self._plan_refresh(spike, receiver_state, self._policy.next_refresh(now, self._chance), now)
        elif sent in receiver_state.queue:
            if answer.is_delivered:
                receiver_state.queue.remove(sent)
                self.ledger.record(receiver_state, sent.outcome(DELIVERED, round(now * 1000)))
                self._plan_refresh(spike, receiver_state, self._policy.next_refresh(now, self._chance), now)
            else:
                self.ledger.record(receiver_state, sent.unsettled(answer.reason))
                self._give_up(receiver_state, now)

    def sweep(self, now: float) -> None:
        """Removes spikes without pending deliveries that are over and older than `oldest`. The agent looks up the rows
        of a removed spike when an alert of the spike comes again."""
        for spike_id, spike in list(self._spikes.items()):
            age = now - spike.latest["as_of"].timestamp()
            is_open = spike.latest["state"] != "resolved" and age < self._policy.forget
            is_over = all(receiver_state.is_over for receiver_state in spike.receivers.values())
            if is_over and not is_open and age > self._oldest:
                del self._spikes[spike_id]

    def _receiver_states(self) -> Iterator[ReceiverState]:
        return (receiver_state for spike in self._spikes.values() for receiver_state in spike.receivers.values())

    def _due_head(self, receiver_state: ReceiverState, now: float) -> PendingDelivery | None:
        """Returns the next delivery of a spike that is due: of held states the latest alone."""
        queue = receiver_state.queue
        if queue and queue[0].held_until and queue[0].due <= now:
            self.ledger.supersede(receiver_state, queue[:-1])
        head = queue[0] if queue else receiver_state.refresh
        return head if head is not None and head.due <= now else None

    def _find_receivers(self, spike: SpikeState, alert: SpikeAlert, now: float) -> None:
        """Adds receivers of conversations that the group of the spike has got, each with an opening."""
        known = bool(spike.seen)
        for route in self._routing.routes_of_all(alert["conversations"]):
            if route.receiver not in spike.receivers:
                spike.receivers[route.receiver] = added = ReceiverState(*route)
                if known and alert["state"] != "resolved":
                    self._decide(added, {**alert, "state": "opened"}, now)

    def _decide(self, receiver_state: ReceiverState, news: SpikeAlert, now: float) -> None:
        """Queues or suppresses a state of the spike that is new to this receiver."""
        if receiver_state.has_settled(news) or receiver_state.has_newer(news):
            return
        alert, is_minor = receiver_state.as_first(news), receiver_state.is_minor(news)
        attempts, held_until = receiver_state.attempts(alert), receiver_state.held_until(alert)
        due = max(now, held_until)
        pending = PendingDelivery(receiver_state.notice(alert), receiver_state.receiver, due, attempts)
        pending.held_until = held_until
        is_first = not attempts and not held_until
        if receiver_state.is_beyond(alert):
            self.ledger.suppress(receiver_state, pending, SUPERSEDED)
        elif alert["state"] == "resolved":
            if receiver_state.knows_of_spike or receiver_state.queue:
                self._enqueue(receiver_state, pending, now)
            else:
                self.ledger.suppress(receiver_state, pending, UNTOLD)
        elif is_first and now - alert["as_of"].timestamp() > self._oldest:
            self.ledger.suppress(receiver_state, pending, OLD)
        elif is_first and (
            silence := self._routing.silence_of_all(alert["conversations"], datetime.fromtimestamp(now, UTC))
        ):
            self.ledger.suppress(receiver_state, pending, SILENCED, silence.comment)
        elif is_first and is_minor:
            self.ledger.suppress(receiver_state, pending, MINOR, alert["severity"])
        else:
            if alert is not news:
                grown = PendingDelivery(receiver_state.notice(news), receiver_state.receiver, now)
                self.ledger.suppress(receiver_state, grown, SUPERSEDED)
            if alert["state"] == "grown":
                grown_before = [each for each in receiver_state.queue if each.notice.alert["state"] == "grown"]
                self.ledger.supersede(receiver_state, grown_before)
            self._enqueue(receiver_state, pending, now)

    def _enqueue(self, receiver_state: ReceiverState, pending: PendingDelivery, now: float) -> None:
        """Queues a state in the order of the spike's life, held where the receiver's schedule says so. A state that is
        delivered at once takes the place of held ones."""
        release = self._schedules[pending.receiver].release(now, pending.notice.severity)
        if not pending.held_until and not pending.attempts and release > now:
            pending.due = pending.held_until = release
            self.ledger.record(receiver_state, pending.unsettled(""))
        elif not pending.held_until:
            self.ledger.supersede(receiver_state, [queued for queued in receiver_state.queue if queued.held_until])
        receiver_state.queue.append(pending)
        receiver_state.queue.sort(key=lambda queued: life_position(queued.notice.alert))

    def _keep_latest(self, receiver: str, limited: PendingDelivery) -> None:
        """Supersedes all but the latest state of a spike that has to wait for the receiver's rate."""
        receiver_state = self._spikes[limited.notice.alert["spike_id"]].receivers[receiver]
        self.ledger.supersede(receiver_state, receiver_state.queue[:-1])

    def _give_up(self, receiver_state: ReceiverState, now: float) -> None:
        """Removes states too old for a further attempt from the front of the queue."""
        while receiver_state.queue:
            first = receiver_state.queue[0]
            alert = first.notice.alert
            if first.attempts and now - first.since > self._policy.give_up[alert["state"]]:
                last = receiver_state.rows[alert["state"]].outcome
                receiver_state.queue.pop(0)
                receiver_state.refresh = None if alert["state"] == "resolved" else receiver_state.refresh
                self.ledger.suppress(receiver_state, first, GAVE_UP, last)
            elif alert["state"] == "resolved" and not receiver_state.knows_of_spike:
                receiver_state.queue.pop(0)
                self.ledger.suppress(receiver_state, first, UNTOLD)
            else:
                break

    def _plan_refresh(self, spike: SpikeState, receiver_state: ReceiverState, due: float, now: float) -> None:
        """Plans the next repetition for a receiver that forgets. An update that is planned gets the newest state."""
        planned, receiver_state.refresh = receiver_state.refresh, None
        is_known = receiver_state.receiver in self._forgetful and receiver_state.knows_of_spike
        if planned is not None and receiver_state.receiver in self._updated:
            self._plan_repetition(spike, receiver_state, planned.due)
        elif is_known and receiver_state.has_to_hear(spike.latest, now, self._policy):
            self._plan_repetition(spike, receiver_state, due)

    def _plan_repetition(self, spike: SpikeState, receiver_state: ReceiverState, due: float) -> None:
        notice = receiver_state.notice(spike.latest, is_repetition=True)
        receiver_state.refresh = PendingDelivery(notice, receiver_state.receiver, due, is_refresh=True)

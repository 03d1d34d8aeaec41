"""All spikes that this agent tells of: what is due to whom, and when. Pure: no I/O, time is an argument (Unix time in
seconds), chance is injected.

The rules:
- Each state is told at least once, in the order of the spike's life, to each receiver of its conversation.
- A failure is tried again, later and later (exponential backoff with jitter), and given up when the state is too old.
- An opening or growth that is old in event time, or silenced, is recorded, not told. A resolution goes to whoever was
  told before, silenced or not, and to nobody else.
- Growth that is not told when more growth comes is superseded. A spike that has to wait for a receiver's rate is told
  in its latest state alone.
- A receiver that forgets (Alertmanager) is told of an open spike again and again, and of a resolution for a while.
- A receiver holds up nobody but itself.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from processors.alerts.config import AlertsConfig
from processors.alerts.policy import DeliveryPolicy, Tally
from processors.alerts.ports import DELIVERED, GAVE_UP, OLD, SILENCED, SUPERSEDED, UNTOLD, Answer, Delivery, Notice
from processors.alerts.rate_bucket import BucketState
from processors.alerts.receiver_state import LIFE, SpikeState, TrackState, Waiting, minute_of, place
from processors.alerts.routing import Routing
from schemas.alerts import SpikeAlert, State


class BookState:
    """Not thread-safe."""

    def __init__(
        self,
        config: AlertsConfig,
        forgetful: Collection[str],
        tally: Tally,
        chance: Random,
        now: float,
        policy: DeliveryPolicy | None = None,
    ) -> None:
        """`forgetful`: names of the receivers that have to be told again."""
        self._routing, self._oldest, self._forgetful = Routing(config), config.oldest, frozenset(forgetful)
        self._tally, self._chance, self._policy = tally, chance, policy or DeliveryPolicy()
        self._buckets = {name: BucketState(each.rate, now) for name, each in config.receivers.items()}
        self._in_flight: dict[str, int] = dict.fromkeys(config.receivers, 0)
        self._spikes: dict[str, SpikeState] = {}
        self._unsaved: dict[tuple[str, str, State], Delivery] = {}

    def __contains__(self, spike_id: str) -> bool:
        return spike_id in self._spikes

    @property
    def open_spikes(self) -> int:
        return sum(spike.latest["state"] != "resolved" for spike in self._spikes.values())

    @property
    def in_flight(self) -> int:
        return sum(self._in_flight.values())

    def waiting(self) -> dict[str, int]:
        """States that are still to be told, by receiver."""
        counts = dict.fromkeys(self._in_flight, 0)
        for track in self._tracks():
            counts[track.receiver] += len(track.queue)
        return counts

    def untried(self, now: float) -> int:
        """States that are due and were never tried."""
        return sum(1 for track in self._tracks() for each in track.queue if not each.attempts and each.due <= now)

    def unsaved(self) -> list[Delivery]:
        """Rows that changed since they were saved."""
        return list(self._unsaved.values())

    def note_saved(self, rows: Iterable[Delivery]) -> None:
        """These are saved; what changed meanwhile is not."""
        for row in rows:
            key = (row.spike_id, row.receiver, row.state)
            if self._unsaved.get(key) is row:
                del self._unsaved[key]

    def restore(self, spike: SpikeAlert, rows: Sequence[Delivery], now: float, is_news: bool = False) -> None:
        """A spike that is not in memory: its newest state and what is recorded of it. What is not settled goes on.
        `is_news`: nothing but its rows was known; the state has still to be taken."""
        by_receiver: defaultdict[str, dict[State, Delivery]] = defaultdict(dict)
        for row in rows:
            by_receiver[row.receiver][row.state] = row
        legs = self._routing.legs(spike["conversation"])
        tracks = {leg.receiver: TrackState(*leg, by_receiver[leg.receiver]) for leg in legs}
        known = self._spikes[spike["spike_id"]] = SpikeState(spike, tracks)
        if is_news:
            known.seen = {_once(row.state, row.minute) for row in rows if row.is_settled}
            return
        for alert in _life_of(spike):
            known.seen.add(_once(alert["state"], minute_of(alert)))
            for track in tracks.values():
                self._decide(track, alert, now)
        for track in tracks.values():
            grown = track.rows.get("grown")
            if spike["state"] == "resolved" and grown is not None and not grown.is_settled:
                # What it said is not known any more; the resolution says it all.
                self._note(track, Delivery(**{**vars(grown), "outcome": SUPERSEDED}))
                self._tally.count_suppressed(SUPERSEDED)
            self._plan_refresh(known, track, now, now)

    def take(self, alert: SpikeAlert, now: float) -> None:
        """A state of a spike as it comes from the topic; one that was seen before changes nothing."""
        spike = self._spikes.get(alert["spike_id"])
        if spike is None:
            legs = self._routing.legs(alert["conversation"])
            spike = SpikeState(alert, {leg.receiver: TrackState(*leg) for leg in legs})
            self._spikes[alert["spike_id"]] = spike
        if place(alert) > place(spike.latest):
            spike.latest = alert
        once = _once(alert["state"], minute_of(alert))
        if once in spike.seen:
            for track in spike.tracks.values():
                # Whatever was made of a row can be told in the words that were meant.
                if (waiting := track.find(alert)) and not waiting.attempts:
                    waiting.notice = Notice(alert, track.severity)
            return
        spike.seen.add(once)
        self._tally.count_fired(alert["state"])
        if not spike.tracks:
            self._tally.count_suppressed("unrouted")
        for track in spike.tracks.values():
            self._decide(track, alert, now)

    def due(self, now: float) -> list[Waiting]:
        """What is to be sent now; each must be settled. New states first, then what is told again."""
        heads: defaultdict[str, list[Waiting]] = defaultdict(list)
        for track in self._tracks():
            head = track.queue[0] if track.queue else track.refresh
            if head is not None and not track.is_busy and head.due <= now:
                heads[track.receiver].append(head)
        chosen: list[Waiting] = []
        for receiver, waiting in heads.items():
            is_limited = False
            for each in sorted(waiting, key=lambda each: (each.is_refresh, each.due)):
                if self._in_flight[receiver] >= self._policy.at_once:
                    break
                if not each.is_refresh and (is_limited or not self._buckets[receiver].take(now)):
                    self._fold(receiver, each)
                    is_limited = True
                    continue
                each.in_flight = True
                self._in_flight[receiver] += 1
                chosen.append(each)
        return chosen

    def settle(self, sent: Waiting, answer: Answer, now: float) -> None:
        """What came of something that was due. Whatever is not ours any more is left alone."""
        sent.in_flight = False
        self._in_flight[sent.receiver] -= 1
        sent.attempts += 1
        alert = sent.notice.alert
        spike = self._spikes.get(alert["spike_id"])
        track = spike.tracks.get(sent.receiver) if spike else None
        if not answer.is_delivered:
            self._tally.count_failed(sent.receiver)
            sent.due = now + self._wait(sent.attempts, answer.wait)
        elif not sent.is_refresh:
            self._tally.count_delivered(sent.receiver, alert["state"])
        if spike is None or track is None:
            return
        if sent is track.refresh:
            if answer.is_delivered:
                self._plan_refresh(spike, track, now + self._policy.refresh * self._chance.uniform(0.9, 1), now)
        elif sent in track.queue:
            if answer.is_delivered:
                track.queue.remove(sent)
                self._note(track, sent.outcome(DELIVERED, round(now * 1000)))
                self._plan_refresh(spike, track, now + self._policy.refresh * self._chance.uniform(0.9, 1), now)
            else:
                self._note(track, sent.outcome(answer.said))
                self._give_up(track, now)

    def sweep(self, now: float) -> None:
        """Lets go of spikes of which nothing more will be told. One that comes again is looked up."""
        for spike_id, spike in list(self._spikes.items()):
            age = now - spike.latest["as_of"].timestamp()
            is_open = spike.latest["state"] != "resolved" and age < self._policy.forget
            if not is_open and age > self._oldest and all(track.is_over for track in spike.tracks.values()):
                del self._spikes[spike_id]

    def _tracks(self) -> Iterator[TrackState]:
        return (track for spike in self._spikes.values() for track in spike.tracks.values())

    def _decide(self, track: TrackState, alert: SpikeAlert, now: float) -> None:
        """What becomes of a state that was not seen before."""
        if track.has_settled(alert) or track.has_newer(alert):
            return
        attempts = track.attempts(alert)
        waiting = Waiting(Notice(alert, track.severity), track.receiver, now, attempts)
        if track.is_beyond(alert):
            self._suppress(track, waiting, SUPERSEDED)
        elif alert["state"] == "resolved":
            if track.is_told or track.queue:
                track.queue.append(waiting)
            else:
                self._suppress(track, waiting, UNTOLD)
        elif not attempts and now - alert["as_of"].timestamp() > self._oldest:
            self._suppress(track, waiting, OLD)
        elif not attempts and (silence := self._routing.silence(alert["conversation"], _time(now))):
            self._suppress(track, waiting, SILENCED, silence.comment)
        else:
            if alert["state"] == "grown":
                self._supersede(track, [each for each in track.queue if each.notice.alert["state"] == "grown"])
            track.queue.append(waiting)
            track.queue.sort(key=lambda each: place(each.notice.alert))

    def _fold(self, receiver: str, limited: Waiting) -> None:
        """Of a spike that has to wait for the receiver's rate only the latest state is kept."""
        track = self._spikes[limited.notice.alert["spike_id"]].tracks[receiver]
        self._supersede(track, track.queue[:-1])

    def _supersede(self, track: TrackState, left_out: Iterable[Waiting]) -> None:
        for each in list(left_out):
            if not each.in_flight:
                track.queue.remove(each)
                self._suppress(track, each, SUPERSEDED)

    def _suppress(self, track: TrackState, waiting: Waiting, why: str, said: str = "") -> None:
        self._note(track, waiting.outcome(f"{why}: {said}" if said else why))
        self._tally.count_suppressed(why)

    def _give_up(self, track: TrackState, now: float) -> None:
        """Drops from the front what is too old to be tried again."""
        while track.queue:
            first = track.queue[0]
            alert = first.notice.alert
            if first.attempts and now - alert["as_of"].timestamp() > self._policy.give_up[alert["state"]]:
                last = track.rows[alert["state"]].outcome
                track.queue.pop(0)
                track.refresh = None if alert["state"] == "resolved" else track.refresh
                self._suppress(track, first, GAVE_UP, last)
            elif alert["state"] == "resolved" and not track.is_told:
                track.queue.pop(0)
                self._suppress(track, first, UNTOLD)
            else:
                break

    def _plan_refresh(self, spike: SpikeState, track: TrackState, due: float, now: float) -> None:
        """When a receiver that forgets is told again; never when it does not know of the spike."""
        track.refresh = None
        if track.receiver not in self._forgetful or not track.is_told:
            return
        alert = spike.latest
        if alert["state"] == "resolved":
            row = track.rows.get("resolved")
            if row is None or row.delivered_ms is None or now - row.delivered_ms / 1000 > self._policy.after:
                return
        elif now - alert["as_of"].timestamp() > self._policy.forget:
            return
        track.refresh = Waiting(Notice(alert, track.severity), track.receiver, due, is_refresh=True)

    def _note(self, track: TrackState, row: Delivery) -> None:
        track.rows[row.state] = row
        self._unsaved[row.spike_id, row.receiver, row.state] = row

    def _wait(self, attempts: int, asked: float) -> float:
        wait: float = min(self._policy.first_wait * 2 ** min(attempts - 1, 20), self._policy.longest_wait)
        return max(wait * self._chance.uniform(0.5, 1), min(asked, self._policy.longest_asked))


def _life_of(spike: SpikeAlert) -> Iterator[SpikeAlert]:
    """The states that a spike has gone through as far as its newest one tells. An opening that is not known word for
    word says what is known of it."""
    if spike["state"] != "opened":
        opened = spike.copy()
        opened["state"], opened["ended_at"] = "opened", None
        opened["as_of"] = spike["started_at"] + timedelta(minutes=1)
        yield opened
    yield spike


def _once(state: State, minute: int) -> tuple[int, int]:
    """A spike opens and resolves once, but may grow several times."""
    return LIFE[state], minute if state == "grown" else 0


def _time(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)

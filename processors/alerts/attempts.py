"""Attempts to deliver: passes started deliveries to their receivers, with a picture where a receiver shows one, and
records the answers."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pipeline.observability.outages import OutageLog
from processors.alerts.config import AlertsConfig
from processors.alerts.deliveries.delivery_queue import DeliveryQueue
from processors.alerts.deliveries.receiver_state import PendingDelivery
from processors.alerts.ports import AlertPorts, Answer, HeartbeatPort, Notice

CUT_OFF: Final = Answer(False, "was cut off")

log = logging.getLogger(__name__)


class Attempts:
    """Makes the attempts of one agent, and says once in the log when a receiver fails and when it is back."""

    def __init__(self, config: AlertsConfig | None, ports: AlertPorts, clock: Callable[[], float]) -> None:
        receivers = config.receivers.items() if config is not None else ()
        self._with_picture = frozenset(name for name, receiver in receivers if receiver.takes_picture)
        self._ports, self._clock = ports, clock
        self._outages = OutageLog(log)

    async def deliver(self, queue: DeliveryQueue, parts: list[PendingDelivery]) -> None:
        """Makes one attempt to deliver a message, of one notice or of several, and records its answer for each."""
        receiver, answer = parts[0].receiver, CUT_OFF
        try:
            answer = await self._send(receiver, [part.notice for part in parts])
        except Exception as error:
            log.exception("receiver %s failed", receiver)
            answer = Answer(False, type(error).__name__)
        finally:
            for part in parts:
                queue.record_answer(part, answer, self._clock())
        if answer.is_delivered:
            self._outages.note_success(f"receiver {receiver}")
        else:
            told = f"{receiver} was not told of {', '.join(part.notice.key for part in parts)}: {answer.reason}"
            self._outages.note_failure(f"receiver {receiver}", told, answer.reason)

    async def send_heartbeat(self, heartbeat: HeartbeatPort) -> None:
        """Makes one attempt to tell the dead man's switch that alerts can be delivered."""
        answer = await heartbeat.post(b"", {})
        self._ports.metrics.count_heartbeat(answer.is_delivered)
        if answer.is_delivered:
            self._outages.note_success("the heartbeat")
        else:
            self._outages.note_failure("the heartbeat", f"the heartbeat was not taken: {answer.reason}")

    async def _send(self, receiver: str, notices: list[Notice]) -> Answer:
        port = self._ports.receivers[receiver]
        if len(notices) > 1:
            return await port.send_digest(notices, self._clock())
        [notice] = notices
        if self._ports.pictures is not None and receiver in self._with_picture and not notice.is_repetition:
            notice = notice._replace(picture=await self._ports.pictures.picture_of(notice.alert))
        return await port.send(notice, self._clock())


def messages_of(started: Iterable[PendingDelivery]) -> Iterator[list[PendingDelivery]]:
    """Yields the started deliveries by message: the parts of a digest together, any other alone."""
    digests: dict[str, list[PendingDelivery]] = {}
    for pending in started:
        if pending.in_digest:
            digests.setdefault(pending.receiver, []).append(pending)
        else:
            yield [pending]
    yield from digests.values()

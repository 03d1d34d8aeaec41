"""Whether another process has taken a static member's name (ENGAGEMENT_INSTANCE), which aiokafka does not ask.

A broker lets whoever joins last have the name, and answers the one before FENCED_INSTANCE_ID. aiokafka 0.14 sends
heartbeats and commits without the name, is told "unknown member", joins again, and takes the name back: two such
processes do that to each other for ever. So before a member joins again it asks here, in the words of KIP-345. Beside
group.py and parsed.py the one file that knows aiokafka.
"""

import logging
from typing import Any, Final

from aiokafka import errors
from aiokafka.errors import BrokerResponseError, KafkaError
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.group import HeartbeatResponse_v1
from aiokafka.protocol.types import Int32, Schema, String

from pipeline.errors import Refused
from pipeline.kafka.bounded import within

FENCED: Final = 82
ASK_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class FencedInstanceIdError(BrokerResponseError):  # type: ignore[misc]
    """As aiokafka declares the errors that it knows."""

    errno = FENCED
    message = "FENCED_INSTANCE_ID"
    description = "Another member has joined with the same group.instance.id"


class _HeartbeatOfInstance(RequestStruct):  # type: ignore[misc]
    """Version 3 of a heartbeat, the first one with the name in it."""

    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = type(
        "HeartbeatResponse_v3", (HeartbeatResponse_v1,), {"API_VERSION": 3, "SCHEMA": HeartbeatResponse_v1.SCHEMA}
    )
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class _Heartbeat(Request[_HeartbeatOfInstance]):  # type: ignore[misc]
    API_KEY = 12

    def __init__(self, *values: Any) -> None:
        self._values = values

    def build(self, request_struct_class: type[_HeartbeatOfInstance]) -> _HeartbeatOfInstance:
        return request_struct_class(*self._values)


class StaticName:
    """The name of a member in its group; `instance` is None where it has none, and then nothing is asked."""

    def __init__(self, group: str, instance: str | None) -> None:
        self._group, self._instance = group, instance
        self._held: tuple[int, str] | None = None
        self._refusal: Refused | None = None

    def note_assignment(self, consumer: Any) -> None:
        """To be called when partitions are assigned: the consumer has the name now."""
        if self._instance:
            self._held = (consumer._coordinator.generation, consumer._coordinator.member_id)

    async def is_lost(self, consumer: Any) -> bool:
        """To be called when partitions are revoked: whether another process has joined under this name since. False
        where the broker does not say."""
        if self._instance is None or self._held is None:
            return False
        question = consumer._coordinator._send_req(_Heartbeat(self._group, *self._held, self._instance))
        try:
            answer = await within(ASK_SECONDS, question)
        except (KafkaError, NotImplementedError, TimeoutError) as error:
            log.warning("Kafka does not say who %s is in %s: %r", self._instance, self._group, error)
            return False
        if answer.error_code == FENCED:
            self._refuse()
        return self._refusal is not None

    def check(self, consumer: Any) -> None:
        """Raises Refused once another process has the name, also where it came while this one was joining: aiokafka
        waits with such an error until it can tell somebody, which it does only where records are fetched."""
        if self._instance and FencedInstanceIdError.__name__ in str(consumer._coordinator._pending_exception):
            self._refuse()
        if self._refusal is not None:
            raise self._refusal

    def _refuse(self) -> None:
        self._refusal = Refused(
            f"another worker has joined {self._group} with ENGAGEMENT_INSTANCE={self._instance}, and has the "
            "partitions of this one now: give each worker a name of its own (its pod's, its host's), or stop one of "
            "the two"
        )


def know_fencing() -> None:
    """Has aiokafka call that error by its name, where a join is answered with it."""
    errors.kafka_errors[FENCED] = FencedInstanceIdError

"""Detects that another process has taken the name of a static member (ENGAGEMENT_INSTANCE), which aiokafka does not.

A broker gives the name to the member that joined last, and answers FENCED_INSTANCE_ID to the earlier one. aiokafka 0.14
sends heartbeats and commits without the name, is told "unknown member", joins again and takes the name back: two
processes of one name would do so for ever. A member therefore asks the broker before it joins again, by the heartbeat
of KIP-345, which has the name.
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
    """The broker's error FENCED_INSTANCE_ID, declared as aiokafka declares its own."""

    errno = FENCED
    message = "FENCED_INSTANCE_ID"
    description = "Another member has joined with the same group.instance.id"


class _HeartbeatOfInstance(RequestStruct):  # type: ignore[misc]
    """Version 3 of the heartbeat request, the first version that carries the name."""

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
    """The name of a member in a group. A member without a name (`instance` None) asks nothing."""

    def __init__(self, group: str, instance: str | None) -> None:
        self._group, self._instance = group, instance
        self._held: tuple[int, str] | None = None
        self._refusal: Refused | None = None

    def note_assignment(self, consumer: Any) -> None:
        """Notes that the consumer holds the name; to be called when partitions are assigned."""
        if self._instance:
            self._held = (consumer._coordinator.generation, consumer._coordinator.member_id)

    async def is_lost(self, consumer: Any) -> bool:
        """Tells whether another process has joined under the name; to be called when partitions are revoked.

        Returns False where the broker does not answer.
        """
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
        """Raises Refused once another process has the name.

        The name may also be lost while this process joins: aiokafka keeps that error until records are fetched.
        """
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
    """Registers FENCED_INSTANCE_ID with aiokafka, so that a refused join raises FencedInstanceIdError."""
    errors.kafka_errors[FENCED] = FencedInstanceIdError

"""The members of a consumer group, as counted by the broker, asked through the admin client of aiokafka.

A consumer learns that it was dropped only from the answer to its next heartbeat, commit or join, and never while it
waits for something else. The roster therefore asks the group's coordinator over a connection of its own.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Any, Final, Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code

from pipeline.errors import Unavailable
from pipeline.kafka.bounded import within
from pipeline.settings import Settings

Standing = Literal["member", "rebalancing", "outside"]
"""Where a member stands; `rebalancing`: it is a member, and the group is assigning its partitions."""

BROKER_ANSWER_SECONDS: Final = 5.0
"""How long an answer of the broker may take before the broker counts as away."""

STABLE: Final = "Stable"


class Roster:
    """The members of a group, as counted by the coordinator."""

    def __init__(self, settings: Settings, group: str) -> None:
        self._settings, self._group = settings, group
        self._client: Any = None

    async def standing(self, member_id: str) -> Standing:
        """Returns where a member stands. Raises Unavailable when the group's coordinator does not answer in time."""
        try:
            state, members = await within(BROKER_ANSWER_SECONDS, self._describe())
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise Unavailable(
                f"Kafka at {self._settings.kafka} does not say who is in the group {self._group} ({error!r})"
            ) from None
        if not member_id or member_id not in members:
            return "outside"
        return "member" if state == STABLE else "rebalancing"

    async def close(self) -> None:
        """Closes the connection, in bounded time; the next question opens another one."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                await within(BROKER_ANSWER_SECONDS, client.close())

    async def _describe(self) -> tuple[str, set[str]]:
        """Returns the state of the group and the ids of all members."""
        if self._client is None:
            client = AIOKafkaAdminClient(
                **aiokafka_options(self._settings), request_timeout_ms=int(BROKER_ANSWER_SECONDS * 1000)
            )
            try:
                await client.start()
            except BaseException:
                await asyncio.shield(client.close())
                raise
            self._client = client
        [answer] = await self._client.describe_consumer_groups([self._group])
        [(error, _, state, _, _, members, *_)] = answer.groups
        if error:
            raise for_code(error)(self._group)
        return state, {member_id for member_id, *_ in members}


def aiokafka_options(settings: Settings) -> dict[str, Any]:
    """Returns the options of aiokafka for the broker's address, TLS and access."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap,
        "client_id": "engagement",
        "security_protocol": settings.kafka_security,
    }
    if settings.kafka_security in ("SSL", "SASL_SSL"):
        options["ssl_context"] = ssl.create_default_context(
            cafile=str(settings.kafka_ca) if settings.kafka_ca else None
        )
    if settings.kafka_security.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl
        options["sasl_plain_username"] = settings.kafka_user
        options["sasl_plain_password"] = settings.kafka_password.get_secret_value() if settings.kafka_password else None
    return options

"""A consumer group's member that takes whole runs: a thin skin around aiokafka, the client that Faust itself uses. It,
parsed.py and static_member.py alone import it.

The group assigns by range, so partition p of all topics goes to one member as long as all members subscribe to the same
topics and these have the same number of partitions; `torn` says where that does not hold.
"""

import asyncio
import logging
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from pipeline.errors import Refused, Unavailable
from pipeline.parsed import as_parsed, hand_out_parsed
from pipeline.settings import Settings
from pipeline.static_member import StaticName, know_fencing

Partition = tuple[str, int]
"""Topic and partition number."""

FETCH_BYTES: Final = 1 << 20
"""Read ahead per partition: 48 partitions of a worker hold at most 48 MiB besides the open batch."""

FETCH_WAIT_MS: Final = 100
"""How long the broker holds a fetch that finds nothing. aiokafka asks a broker for nothing else meanwhile: while idle
partitions are waited for, records of the busy ones lie there. The less, the more often it asks in vain: 1.5 ms each
time."""

CALM_WAIT_MS: Final = 250
"""The same for what is read by the minute: each empty answer costs a millisecond or two."""

REQUEST_SECONDS: Final = 5.0
"""How long a question to the broker may take before it counts as away."""

UNASSIGNED_SECONDS: Final = 0.05
POSITION_SECONDS: Final = 0.05

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GroupPolicy:
    """Who we are in the group. `instance` is a static member's name: back within a second or two after a crash, without
    a rebalance."""

    group: str
    topics: tuple[str, ...]
    instance: str | None = None
    session_seconds: float = 10.0
    fetch_wait_ms: int = FETCH_WAIT_MS


class Member(ConsumerRebalanceListener):  # type: ignore[misc]
    """One member of the group. `on_revoked()` and `on_assigned(partitions)` are awaited inside a rebalance;
    nothing is fetched between the two, nor after the second has said False."""

    def __init__(
        self,
        settings: Settings,
        policy: GroupPolicy,
        on_revoked: Callable[[], Awaitable[None]],
        on_assigned: Callable[[frozenset[Partition]], Awaitable[bool]],
    ) -> None:
        self._settings, self._policy = settings, policy
        self._revoked, self._assigned = on_revoked, on_assigned
        self._consumer: Any = None
        self._name = StaticName(policy.group, policy.instance)
        self._settled = False
        self._stands: dict[TopicPartition, int | None] = {}  # what is committed of ours, as far as we know

    async def join(self) -> None:
        """Connects and subscribes. Raises Unavailable when no broker answers, Refused when the topics are not what they
        have to be."""
        hand_out_parsed()
        know_fencing()
        consumer = AIOKafkaConsumer(
            **connection(self._settings),
            key_deserializer=as_parsed,
            group_id=self._policy.group,
            group_instance_id=self._policy.instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=[RangePartitionAssignor],
            session_timeout_ms=int(self._policy.session_seconds * 1000),
            heartbeat_interval_ms=int(self._policy.session_seconds * 1000 / 3),
            # A store that is away must not cost the membership: the pump waits with its batch for as long as it takes.
            max_poll_interval_ms=24 * 3600 * 1000,
            fetch_max_wait_ms=self._policy.fetch_wait_ms,
            max_partition_fetch_bytes=max(FETCH_BYTES, self._settings.record_limit),
        )
        try:
            await consumer.start()
            await self._check_topics(consumer)
        except KafkaError as error:
            await _close(consumer)
            raise Unavailable(
                f"Kafka at {self._settings.kafka} does not answer ({error!r}): is it up, is ENGAGEMENT_KAFKA right?"
            ) from None
        except BaseException:
            await _close(consumer)
            raise
        consumer.subscribe(list(self._policy.topics), listener=self)
        self._consumer = consumer

    async def leave(self) -> None:
        """Leaves the group, in bounded time also while the broker is away."""
        if self._consumer is not None:
            await _close(self._consumer)

    async def fetch(self, seconds: float, records: int) -> Mapping[Partition, Sequence[Any]]:
        """What has come, at most `records`; empty after `seconds` without any. Raises Refused once another worker has
        our static member's name."""
        self._name.check(self._consumer)
        if not (self._settled and self._consumer.assignment()):
            # aiokafka would wait for an assignment however long it takes, and the listener that makes it for us to let
            # go of the lock.
            await asyncio.sleep(min(seconds, UNASSIGNED_SECONDS))
            return {}
        runs = await self._consumer.getmany(timeout_ms=int(seconds * 1000), max_records=records)
        return {(partition.topic, partition.partition): run for partition, run in runs.items()}

    async def commit(self, offsets: Mapping[Partition, int]) -> bool:
        """Commits the next offsets to read. False when we are not the owner any more: then the new owner reads them
        again. Raises Unavailable."""
        stands = {TopicPartition(*partition): offset for partition, offset in offsets.items()}
        try:
            await asyncio.wait_for(self._consumer.commit(stands), REQUEST_SECONDS)
        except (
            CommitFailedError,
            IllegalGenerationError,
            UnknownMemberIdError,
            RebalanceInProgressError,
            IllegalStateError,
        ) as error:
            log.warning("not committed, somebody else owns these partitions now: %r", error)
            return False
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka at {self._settings.kafka} did not take a commit ({error!r})") from None
        if self._settled:
            self._stands |= stands
        return True

    async def rewind(self, partitions: Iterable[Partition]) -> None:
        """Goes back to the committed offsets. Raises Refused as `fetch` does."""
        self._name.check(self._consumer)
        await self._consumer.seek_to_committed(*(TopicPartition(*partition) for partition in partitions))

    async def rewind_to(self, partitions: Iterable[Partition], milliseconds: int) -> dict[Partition, int]:
        """Goes to the first record that Kafka received at or after that time, never past what is committed; returns
        where that is."""
        wanted = [TopicPartition(*partition) for partition in partitions]
        found = await self._consumer.offsets_for_times(dict.fromkeys(wanted, milliseconds))
        starts = await self._consumer.beginning_offsets(wanted)
        offsets = {}
        for partition in wanted:
            committed = max(await self._consumer.committed(partition) or 0, starts[partition])
            offsets[partition] = min(found[partition].offset, committed) if found.get(partition) else committed
            self._consumer.seek(partition, offsets[partition])
        return {(partition.topic, partition.partition): offset for partition, offset in offsets.items()}

    async def lags(self, of_group: bool = False) -> dict[Partition, int]:
        """Records that are not committed, per partition: ours, or those of the whole group. Raises Unavailable."""
        try:
            return await asyncio.wait_for(self._lags(of_group), REQUEST_SECONDS)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka at {self._settings.kafka} does not say how far it is ({error!r})") from None

    async def behind(self) -> dict[Partition, int | None]:
        """Records of each partition of ours that were not fetched, as far as the broker has said with what was; asks
        nobody. None where it has not said anything yet."""
        if not self._settled:
            return {}
        partitions = self._consumer.assignment()
        found: dict[Partition, int | None] = {(partition.topic, partition.partition): None for partition in partitions}
        # A position is known where records were fetched; after a rewind it may not be, and asking would wait.
        with suppress(TimeoutError, KafkaError, AssertionError):
            async with asyncio.timeout(POSITION_SECONDS):
                for partition in partitions:
                    if (end := self._consumer.highwater(partition)) is not None:
                        left = end - await self._consumer.position(partition)
                        found[partition.topic, partition.partition] = max(0, left)
        return found

    def partition_count(self) -> int:
        """Partitions of each of our topics."""
        return len(self._consumer.partitions_for_topic(self._policy.topics[0]) or ())

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        # aiokafka goes on handing out what it has read ahead of partitions that are not ours any more.
        self._settled, self._stands = False, {}
        is_lost = await self._name.is_lost(self._consumer)
        await self._revoked()
        if is_lost:
            raise asyncio.CancelledError  # ends aiokafka's coordination, which would take the name back

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._name.note_assignment(self._consumer)
        self._settled = await self._assigned(
            frozenset((partition.topic, partition.partition) for partition in assigned)
        )

    async def _lags(self, of_group: bool) -> dict[Partition, int]:
        consumer = self._consumer
        if of_group:
            partitions = [
                TopicPartition(topic, number)
                for topic in self._policy.topics
                for number in consumer.partitions_for_topic(topic) or ()
            ]
        else:
            partitions = list(consumer.assignment())
        if not partitions:
            return {}
        ends = await consumer.end_offsets(partitions)
        starts = await consumer.beginning_offsets(partitions)
        # Nobody else commits what is ours, so that is asked for once: aiokafka takes a request a partition for it.
        stands = {} if of_group else dict(self._stands)
        unknown = [partition for partition in partitions if partition not in stands]
        asked = await asyncio.gather(*(consumer.committed(partition) for partition in unknown))
        stands |= dict(zip(unknown, asked, strict=True))
        if not of_group and self._settled:
            self._stands = stands | self._stands
        return {
            (partition.topic, partition.partition): ends[partition] - max(stands[partition] or 0, starts[partition])
            for partition in partitions
        }

    async def _check_topics(self, consumer: Any) -> None:
        known = await consumer.topics()
        missing = [topic for topic in self._policy.topics if topic not in known]
        if missing:
            raise Refused(f"there is no topic {', '.join(missing)}: run `engagement init`")
        counts = {topic: len(consumer.partitions_for_topic(topic) or ()) for topic in self._policy.topics}
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{topic} {count}" for topic, count in counts.items())
            raise Refused(
                f"partition counts differ ({said}): make the topics anew under another ENGAGEMENT_TOPIC_PREFIX"
            )


def torn(partitions: Iterable[Partition], topics: Sequence[str]) -> dict[int, list[str]]:
    """Partition numbers of which only some topics are ours, with the topics that are: a post's events would have two
    owners.

    >>> torn([("a", 0), ("b", 0), ("a", 1)], ["a", "b"])
    {1: ['a']}
    """
    ours: dict[int, list[str]] = defaultdict(list)
    for topic, number in sorted(partitions):
        ours[number].append(topic)
    return {number: found for number, found in ours.items() if len(found) != len(topics)}


def connection(settings: Settings) -> dict[str, Any]:
    """aiokafka's options for where Kafka is and how to be let in."""
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


async def _close(consumer: Any) -> None:
    try:
        await asyncio.wait_for(consumer.stop(), REQUEST_SECONDS)
    except (KafkaError, TimeoutError) as error:
        log.warning("left Kafka without a farewell: %r", error)

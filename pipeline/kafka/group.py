"""A consumer group's member that takes whole runs: a thin skin around aiokafka, the client that Faust itself uses. It,
parsed.py, static_member.py and roster.py alone import it.

The group assigns by range, so partition p of all topics goes to one member as long as all members subscribe to the same
topics and these have the same number of partitions; `group_topics.torn` says where that does not hold.

Whoever calls a member holds a lock that a rebalance wants, so every wait here ends in time, whatever aiokafka waits
for. Much of what it does waits without a limit: a fetch, for the end of a rebalance that waits for us; a question for a
committed offset, for a broker that is away.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

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
from pipeline.kafka.aiokafka_raw_records import as_parsed, hand_out_parsed
from pipeline.kafka.bounded import abandon, within
from pipeline.kafka.group_offsets import lags_of, look_behind, offsets_at
from pipeline.kafka.group_topics import check_group_topics
from pipeline.kafka.roster import BROKER_ANSWER_SECONDS, Roster, Standing, aiokafka_options
from pipeline.kafka.static_member import StaticName, know_fencing
from pipeline.settings import Settings

_Answer = TypeVar("_Answer")

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

UNASSIGNED_SECONDS: Final = 0.05
POSITION_SECONDS: Final = 0.05
LATE_SECONDS: Final = 0.1
"""A fetch that has not ended so long after its time waits for something else than records."""

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
        self._fetching: asyncio.Task[Any] | None = None
        self._failure: Exception | None = None
        self._roster = Roster(settings, policy.group)
        self._stands: dict[TopicPartition, int | None] = {}  # what is committed of ours, as far as we know

    async def join(self) -> None:
        """Connects and subscribes. Raises Unavailable when no broker answers, Refused when the topics are not what they
        have to be."""
        hand_out_parsed()
        know_fencing()
        consumer = AIOKafkaConsumer(
            **aiokafka_options(self._settings),
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
            await check_group_topics(consumer, self._policy.topics)
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
            await asyncio.gather(_close(self._consumer), self._roster.close())

    async def fetch(self, seconds: float, records: int) -> Mapping[Partition, Sequence[Any]]:
        """What has come, at most `records`; empty after `seconds` without any, and at once when a rebalance begins to
        take our partitions away. Raises Refused when the group does not let us in, a listener has failed, or
        another worker has our static member's name.

        A fetch that waits holds no records: aiokafka takes them out of its buffer, and moves the position, in the very
        step in which it returns them. So a fetch may be cancelled. What it returns once a rebalance has begun is
        dropped, and its positions with it: the next assignment begins at the committed offsets.
        """
        self._name.check(self._consumer)
        if not (self._settled and self._consumer.assignment()):
            self._raise_failure()
            await asyncio.sleep(min(seconds, UNASSIGNED_SECONDS))
            return {}
        fetching = self._fetching = asyncio.ensure_future(
            self._consumer.getmany(timeout_ms=int(seconds * 1000), max_records=records)
        )
        try:
            await asyncio.wait({fetching}, timeout=seconds + LATE_SECONDS)
            is_ours = self._fetching is fetching
        finally:
            self._forget_fetch()
        if not is_ours or not fetching.done():
            return {}
        return {_place(partition): run for partition, run in fetching.result().items()}

    async def commit(self, offsets: Mapping[Partition, int]) -> bool:
        """Commits the next offsets to read. False when we are not the owner any more: then the new owner reads them
        again. Raises Unavailable."""
        stands = {TopicPartition(*partition): offset for partition, offset in offsets.items()}
        try:
            await within(BROKER_ANSWER_SECONDS, self._consumer.commit(stands))
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

    def rewind(self, offsets: Mapping[Partition, int]) -> None:
        """Goes back to these offsets, where the partitions are still ours. Asks nobody."""
        ours = self._consumer.assignment()
        for partition, offset in offsets.items():
            if (place := TopicPartition(*partition)) in ours:
                self._consumer.seek(place, offset)

    async def rewind_to(self, partitions: Iterable[Partition], milliseconds: int) -> dict[Partition, int]:
        """Goes to the first record that Kafka received at or after that time, never past what is committed; returns
        where that is. Raises Unavailable, and then has gone nowhere."""
        wanted = [TopicPartition(*partition) for partition in partitions]
        offsets = await self._ask(offsets_at(self._consumer, wanted, milliseconds))
        for partition, offset in offsets.items():
            self._consumer.seek(partition, offset)
        return {_place(partition): offset for partition, offset in offsets.items()}

    async def lags(self, of_group: bool = False) -> dict[Partition, int]:
        """Records that are not committed, per partition: ours, or those of the whole group. Raises Unavailable."""
        return await self._ask(self._lags(of_group))

    async def standing(self) -> Standing:
        """Whether the broker counts us in the group, and we have what it gave us. Raises Unavailable."""
        # aiokafka tells nobody its id, which changes with each time that it has to join anew.
        standing = await self._roster.standing(self._consumer._coordinator.member_id)
        return "rebalancing" if standing == "member" and not self._settled else standing

    @property
    def is_settled(self) -> bool:
        """Our partitions are ours to read, as far as we know."""
        return self._settled

    async def behind(self) -> dict[Partition, int | None]:
        """Records of each partition of ours that were not fetched, as far as the broker has said with what was; asks
        nobody. None where it has not said anything yet."""
        if not self._settled:
            return {}
        found: dict[TopicPartition, int | None] = dict.fromkeys(self._consumer.assignment())
        with suppress(TimeoutError, KafkaError, AssertionError):
            await within(POSITION_SECONDS, look_behind(self._consumer, list(found), found))
        return {_place(partition): left for partition, left in found.items()}

    def partition_count(self) -> int:
        """Partitions of each of our topics."""
        return len(self._consumer.partitions_for_topic(self._policy.topics[0]) or ())

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        # aiokafka goes on handing out what it has read ahead of partitions that are not ours any more.
        self._settled, self._stands = False, {}
        self._forget_fetch()
        is_lost = await self._name.is_lost(self._consumer)
        with self._noting_failure():
            await self._revoked()
        if is_lost:
            raise asyncio.CancelledError  # ends aiokafka's coordination, which would take the name back

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._name.note_assignment(self._consumer)
        with self._noting_failure():
            self._settled = await self._assigned(frozenset(map(_place, assigned)))

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        """aiokafka logs what a listener raises and goes on as if nothing were: then nobody would read the partitions,
        and nobody else would get them. So the next fetch raises it."""
        try:
            yield
        except Exception as error:
            self._failure = error
            raise

    def _forget_fetch(self) -> None:
        """Ends the fetch that is under way; what it returns is nobody's."""
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            abandon(fetching)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            # Where joining fails for good, aiokafka waits until its user has heard of it, which a fetch would do.
            self._consumer._coordinator.check_errors()
        except KafkaError as error:
            raise Refused(
                f"the consumer group {self._policy.group} does not let this worker in ({error!r}): "
                "look at the access that the broker gives it and at ENGAGEMENT_INSTANCE, which no two workers may share"
            ) from error

    async def _ask(self, question: Coroutine[Any, Any, _Answer]) -> _Answer:
        try:
            return await within(BROKER_ANSWER_SECONDS, question)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka at {self._settings.kafka} does not say how far it is ({error!r})") from None

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
        known = self._stands
        lags, stands = await lags_of(consumer, partitions, {} if of_group else dict(known))
        # Nobody else commits what is ours, so that is asked for once; a rebalance meanwhile has put another dict there.
        if not of_group and self._settled and self._stands is known:
            known |= stands | known
        return {_place(partition): lag for partition, lag in lags.items()}


def _place(partition: TopicPartition) -> Partition:
    return partition.topic, partition.partition


async def _close(consumer: Any) -> None:
    try:
        await within(BROKER_ANSWER_SECONDS, consumer.stop())
    except (KafkaError, TimeoutError) as error:
        log.warning("left Kafka without a farewell: %r", error)

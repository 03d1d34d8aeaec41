"""A member of a consumer group that fetches runs of records: a thin layer over aiokafka, the client that Faust uses.

The group assigns by range: partition p of all topics goes to one member as long as all members subscribe to the same
topics and the topics have equally many partitions. `group_topics.torn` tells where that does not hold.

Callers hold a lock that a rebalance wants, so every wait ends in time here. aiokafka waits without a limit: a fetch for
the end of a rebalance, which waits for the caller; a question for a committed offset for a broker that is away.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
from pipeline.kafka.group_policy import FETCH_BYTES, GroupPolicy, Partition
from pipeline.kafka.group_topics import check_group_topics
from pipeline.kafka.roster import BROKER_ANSWER_SECONDS, Roster, Standing, aiokafka_options
from pipeline.kafka.static_member import StaticName, know_fencing
from pipeline.settings import Settings

_Answer = TypeVar("_Answer")

UNASSIGNED_SECONDS: Final = 0.05
POSITION_SECONDS: Final = 0.05
LATE_SECONDS: Final = 0.1
"""A fetch that lasts this much longer than asked waits for something else than records."""

log = logging.getLogger(__name__)


class Member(ConsumerRebalanceListener):  # type: ignore[misc]
    """A member of a group.

    `on_revoked()` and `on_assigned(partitions)` are awaited inside a rebalance. Nothing is fetched between the two, nor
    after `on_assigned` has returned False.
    """

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
        self._stands: dict[TopicPartition, int | None] = {}  # committed offsets of our partitions, as far as known

    async def join(self) -> None:
        """Connects and subscribes. Raises Unavailable when no broker answers, Refused when the topics do not fit."""
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
            # A store that is away must not cost the membership: the batch waits for as long as the outage lasts.
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
        """Leaves the group, in bounded time, also while the broker is away."""
        if self._consumer is not None:
            await asyncio.gather(_close(self._consumer), self._roster.close())

    async def fetch(self, seconds: float, records: int) -> Mapping[Partition, Sequence[Any]]:
        """Returns at most `records` records that have come, by partition.

        Returns nothing after `seconds` without records, and at once when a rebalance begins to revoke partitions.
        Raises Refused when the group does not admit this member or another worker has the static member's name, and
        the error of a listener that failed.

        A fetch may be cancelled: aiokafka removes records from its buffer, and moves the position, in the very step
        that returns them. Records returned after a rebalance has begun are dropped, with their positions: the next
        assignment begins at the committed offsets.
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
        """Commits the next offsets to read. Raises Unavailable.

        Returns False when this member does not own the partitions any more: the new owner reads the records again.
        """
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
            log.warning("not committed, another member owns these partitions now: %r", error)
            return False
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka at {self._settings.kafka} did not take a commit ({error!r})") from None
        if self._settled:
            self._stands |= stands
        return True

    def rewind(self, offsets: Mapping[Partition, int]) -> None:
        """Goes back to offsets, where the partitions are still assigned to this member; asks no broker."""
        ours = self._consumer.assignment()
        for partition, offset in offsets.items():
            if (place := TopicPartition(*partition)) in ours:
                self._consumer.seek(place, offset)

    async def rewind_to(self, partitions: Iterable[Partition], milliseconds: int) -> dict[Partition, int]:
        """Goes to the first records that Kafka received at or after a time, never beyond the committed offsets.

        Returns the new offsets. Raises Unavailable, and then moves nothing.
        """
        wanted = [TopicPartition(*partition) for partition in partitions]
        offsets = await self._ask(offsets_at(self._consumer, wanted, milliseconds))
        for partition, offset in offsets.items():
            self._consumer.seek(partition, offset)
        return {_place(partition): offset for partition, offset in offsets.items()}

    async def lags(self, of_group: bool = False) -> dict[Partition, int]:
        """Returns the number of uncommitted records per partition: of this member, or `of_group`.

        Raises Unavailable.
        """
        return await self._ask(self._lags(of_group))

    async def standing(self) -> Standing:
        """Tells where this member stands in the group, as counted by the broker. Raises Unavailable."""
        # aiokafka has no public name for the member's id, which changes whenever the member joins again.
        standing = await self._roster.standing(self._consumer._coordinator.member_id)
        return "rebalancing" if standing == "member" and not self._settled else standing

    @property
    def is_settled(self) -> bool:
        """Tells whether the assigned partitions may be read, as far as this member knows."""
        return self._settled

    async def behind(self) -> dict[Partition, int | None]:
        """Returns the number of records of each assigned partition that were not fetched; asks no broker.

        The numbers come with fetched records; None where none has come yet.
        """
        if not self._settled:
            return {}
        found: dict[TopicPartition, int | None] = dict.fromkeys(self._consumer.assignment())
        with suppress(TimeoutError, KafkaError, AssertionError):
            await within(POSITION_SECONDS, look_behind(self._consumer, list(found), found))
        return {_place(partition): left for partition, left in found.items()}

    def partition_count(self) -> int:
        """Returns the number of partitions of each topic."""
        return len(self._consumer.partitions_for_topic(self._policy.topics[0]) or ())

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        # aiokafka goes on returning records that it read ahead of partitions that were revoked.
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
        """Keeps the error of a listener for the next fetch to raise.

        aiokafka only logs such an error and goes on; the partitions would then be assigned, and never be read.
        """
        try:
            yield
        except Exception as error:
            self._failure = error
            raise

    def _forget_fetch(self) -> None:
        """Abandons the current fetch with all records."""
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            abandon(fetching)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            # Where joining fails for good, aiokafka waits until a fetch has raised the error.
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
            raise Unavailable(f"Kafka at {self._settings.kafka} does not tell its offsets ({error!r})") from None

    async def _lags(self, of_group: bool) -> dict[Partition, int]:
        consumer = self._consumer
        partitions = self._all_partitions() if of_group else list(consumer.assignment())
        if not partitions:
            return {}
        known = self._stands
        lags, stands = await lags_of(consumer, partitions, {} if of_group else dict(known))
        # Only this member commits its partitions, so their offsets are asked for once; a rebalance replaces the dict.
        if not of_group and self._settled and self._stands is known:
            known |= stands | known
        return {_place(partition): lag for partition, lag in lags.items()}

    def _all_partitions(self) -> list[TopicPartition]:
        known = ((topic, self._consumer.partitions_for_topic(topic) or ()) for topic in self._policy.topics)
        return [TopicPartition(topic, number) for topic, numbers in known for number in numbers]


def _place(partition: TopicPartition) -> Partition:
    return partition.topic, partition.partition


async def _close(consumer: Any) -> None:
    try:
        await within(BROKER_ANSWER_SECONDS, consumer.stop())
    except (KafkaError, TimeoutError) as error:
        log.warning("left Kafka without saying so: %r", error)

"""The source of one agent: a Faust service that reads Kafka, passes batches to the agent, waits until they are stored,
and commits.

One lock is held around fetch, hand-over, storing and commit, and a rebalance takes the same lock. So a rebalance comes
only between two batches, no record is delivered before its partition is owned, and the offset of what is stored is the
only offset. A batch that waits for a store that is away is given up when a rebalance or a stop wants the lock: the
batch is never committed, and the agent forgets the posts that it touched. Each call of Kafka under the lock ends in
time (`pipeline/group.py`). Otherwise a rebalance would wait for the lock forever, and the broker would drop the member.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import faust

from pipeline.errors import EngagementError, Refused, Unavailable
from pipeline.kafka.group_policy import Partition
from pipeline.kafka.group_topics import torn
from pipeline.observability.health import StoreName
from processors.runtime.batch import Batch, CatchUp, SourcePolicy
from processors.runtime.records import Run
from processors.runtime.source_ports import SourcePorts
from processors.runtime.source_reports import SourceReports

_FETCH_SECONDS: Final = 0.2
_FETCH_RECORDS: Final = 50_000
_COMMIT_SECONDS: Final = 1.0
"""The least time between two commits. A later commit only means more records to read again after a crash."""

_RETRY_SECONDS: Final = 1.0
_WATCH_SECONDS: Final = 1.0
_CATCH_UP_SECONDS: Final = 0.2
"""The time between two checks whether all sources have caught up, in a run that ends then."""

_TICK_SECONDS: Final = 1.0
"""The time after which an agent without records gets an empty batch, because time moves minutes on too."""

_STOP_SECONDS: Final = 6.0
"""The longest wait of a stop for the open batch and a last commit. Records that are not committed are read again, and
count once."""

log = logging.getLogger(__name__)


class RunSource(faust.Service):  # type: ignore[misc]
    """Reads the partitions of a consumer group into a channel, batch by batch."""

    def __init__(
        self, policy: SourcePolicy, ports: SourcePorts, catch_up: CatchUp | None = None, **service: Any
    ) -> None:
        """Joins the group of sources `ports.group`. `service`: what Faust passes to its services."""
        super().__init__(**service)
        self._policy, self._agent, self._channel, self._metrics = policy, ports.agent, ports.channel, ports.metrics
        self._reports = SourceReports(policy, ports.metrics, ports.health, ports.watchdog)
        self._catch_up = catch_up
        self._group = ports.group
        self._group.add(policy.name, self)
        self._member = ports.open_member(self._revoke, self._assign)
        self._between_batches = asyncio.Lock()
        self._open: Batch | None = None
        self._wanted = 0  # the number of tasks that want the lock besides the pump
        self._joined = False
        self._rewound = policy.rewind_to is None
        self._to_rewind: frozenset[Partition] = frozenset()
        self._uncommitted: dict[Partition, int] = {}
        self._committed_at = self._cut_at = self._handed_at = 0.0
        self._idle = self._is_resting = self._has_rested = self._is_stopping = False

    @property
    def is_caught_up(self) -> bool:
        """Whether the whole group has committed all records, the agent has processed an `all_read` batch, and no record
        has come since."""
        return self._has_rested

    @faust.Service.task
    async def _pump(self) -> None:
        self._channel.app.flow_control.resume()  # Faust suspends channels until then
        await self._try_until_done(self._agent.prepare, "clickhouse")
        self._joined = await self._try_until_done(self._member.join, "kafka")
        while not self.should_stop:
            async with self._between_batches:
                if has_rewound := await self._rewind_first():
                    await self._go_on()
            await (asyncio.sleep(0) if has_rewound else self.sleep(_RETRY_SECONDS))  # a rebalance can take the lock

    async def _go_on(self) -> None:
        """Reads a batch, hands it over, and commits stored offsets."""
        batch = await self._next_batch()
        has_come = batch is not None
        if batch is None and self._is_tick_due():
            batch = Batch([], {}, await self._member.behind(), self._is_resting)
        if batch is not None:
            await self._hand_over(batch)
        if self._uncommitted and (not has_come or time.monotonic() - self._committed_at >= _COMMIT_SECONDS):
            await self._commit()
        self._idle = not has_come and not self._uncommitted

    async def _try_until_done(self, action: Callable[[], Awaitable[None]], store: StoreName) -> bool:
        """Repeats an action of the start until the store answers. Returns False when stopped meanwhile."""
        while not self.should_stop:
            try:
                await action()
            except Unavailable as error:
                self._reports.note_away(error, store)
                await self.sleep(_RETRY_SECONDS)
            else:
                self._reports.note_back(store)
                return True
        return False

    async def _rewind_first(self) -> bool:
        """Rewinds a first assignment, where the policy asks for a rewind. Returns False when Kafka did not answer."""
        if self._to_rewind and not self._wanted and self._policy.rewind_to is not None:
            try:
                self._uncommitted = await self._member.rewind_to(self._to_rewind, self._policy.rewind_to)
            except Unavailable as error:
                self._reports.note_away(error)
                return False
            self._to_rewind, self._rewound = frozenset(), True
        return True

    async def _next_batch(self) -> Batch | None:
        """Reads until the batch is due. Returns None where no record came."""
        started = time.monotonic()
        runs: list[Run] = []
        next_offsets: dict[Partition, int] = {}
        count = 0
        due = started + _FETCH_SECONDS
        while not (self._wanted or self.should_stop):
            left = due - time.monotonic()
            if left <= 0 or count >= self._policy.flush_events:
                break
            fetched = await self._member.fetch(
                min(left, _FETCH_SECONDS), min(_FETCH_RECORDS, self._policy.flush_events - count)
            )
            if fetched:
                reached = [records[-1].timestamp / 1000 for records in fetched.values()]
                due = self._policy.due(started, self._cut_at, reached, time.time())
            elif count:
                break
            for (topic, number), records in fetched.items():
                runs.append(Run(topic, self._policy.kinds[topic], number, records))
                next_offsets[topic, number] = records[-1].offset + 1
                count += len(records)
        if not count:
            return None
        self._cut_at = time.monotonic()
        self._metrics.observe_step(self._policy.fetch_step, time.monotonic() - started)
        if self._policy.tells_batches:
            self._metrics.observe_batch(count)
        return Batch(runs, next_offsets, await self._member.behind())

    def _is_tick_due(self) -> bool:
        return (
            self._joined
            and not self._wanted
            and not self.should_stop
            and (self._is_resting or time.monotonic() - self._handed_at >= _TICK_SECONDS)
        )

    async def _hand_over(self, batch: Batch) -> None:
        self._open = batch
        self._handed_at = time.monotonic()
        if batch.next_offsets:
            self._is_resting = self._has_rested = False
        if self._wanted:
            batch.given_up.set()
        await self._channel.send(value=batch)
        try:
            if await batch.stored:
                self._uncommitted |= batch.next_offsets
                if batch.all_read:
                    self._is_resting, self._has_rested = False, True
            elif batch.next_offsets:
                log.info("gave a batch up, it will be read again")
                if not self._wanted and not self.should_stop:
                    self._member.rewind(batch.first_offsets())
        finally:
            self._open = None

    async def _commit(self) -> None:
        """Commits the stored offsets. A failure is left to the next commit, because every step is idempotent."""
        offsets, self._uncommitted = self._uncommitted, {}
        for attempt in (1, 2):
            try:
                with self._metrics.time_step(self._policy.commit_step):
                    is_committed = await self._member.commit(offsets)
            except Unavailable as error:
                self._reports.note_away(error)
                if attempt == 2 or self.should_stop:
                    self._uncommitted = offsets | self._uncommitted
                    break
            else:
                self._reports.note_back()
                if is_committed:
                    self._reports.note_commit()
                break
        self._committed_at = time.monotonic()

    async def _revoke(self) -> None:
        async with self._taking_over():
            if self._uncommitted:
                await self._commit()
            self._uncommitted, self._to_rewind = {}, frozenset()
            self._is_resting = self._has_rested = False
            await self._agent.assign([], 1)

    async def _assign(self, assigned: frozenset[Partition]) -> bool:
        async with self._taking_over():
            topics = self._policy.group.topics
            if reason := torn(assigned, topics):
                await self.crash(
                    Refused(
                        f"a torn assignment, {reason}: all members of the group must subscribe to {', '.join(topics)}"
                    )
                )
                return False
            numbers = sorted({number for _, number in assigned})
            await self._agent.assign(numbers, self._member.partition_count())
            if not self._rewound:
                self._to_rewind, self._idle = assigned, False
            self._reports.note_assignment(len(numbers))
            log.info("partitions of %s: %s", self._policy.label or "ours", ", ".join(map(str, numbers)) or "none")
            return True

    @asynccontextmanager
    async def _taking_over(self) -> AsyncIterator[None]:
        """Takes the lock for a rebalance: the open batch does not wait for a store any longer, and no batch is begun
        meanwhile."""
        self._wanted += 1
        if self._open:
            self._open.given_up.set()
        try:
            async with self._between_batches:
                yield
        finally:
            self._wanted -= 1

    @faust.Service.task
    async def _watch(self) -> None:
        """Reports lag, membership, health and watchdog once a second, and ends a run that has caught up."""
        while not self.should_stop:
            await self.sleep(_CATCH_UP_SECONDS if self._catch_up is not None and self._idle else _WATCH_SECONDS)
            self._reports.beat()
            if not self._joined:
                continue
            idle = self._idle and (self._catch_up is None or self._catch_up.is_due())
            try:
                lags = await self._member.lags()
                await self._reports.look_at_membership(self._member)
                if idle and not sum(lags.values()) and self._catch_up is not None:
                    await self._end_at_the_end(self._catch_up)
            except Unavailable as error:
                self._reports.note_away(error)
                continue
            self._reports.note_back()
            self._reports.note_lags(lags)
            if reason := self._reports.stuck():
                await self.crash(EngagementError(reason))

    async def _end_at_the_end(self, catch_up: CatchUp) -> None:
        """Ends a run once the whole group has committed all records: first the agent gets an `all_read` batch, then the
        run ends."""
        left = sum((await self._member.lags(of_group=True)).values())
        if not left and self._idle and self._reports.is_ready:
            if self._has_rested:
                catch_up.then()
            else:
                self._is_resting = True

    async def stop(self) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        self._wanted += 1
        if self._open:
            self._open.given_up.set()
        # Concurrently, because each may wait for its open batch.
        await asyncio.gather(super().stop(), *(source.stop() for source in self._group.beside(self)))

    async def on_stop(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS), self._between_batches:
                if self._uncommitted and self._joined:
                    await self._commit()
        await self._member.leave()
        await self._agent.close()

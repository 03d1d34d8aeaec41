"""How far a group is, asked of the broker through a consumer of aiokafka. None of it is bounded in time: the caller is
(`bounded.within`)."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any


async def lags_of(
    consumer: Any, partitions: list[Any], known: Mapping[Any, int | None]
) -> tuple[dict[Any, int], dict[Any, int | None]]:
    """Records of each partition that are not committed, and the offsets that are; what is `known` of these is not asked
    for: aiokafka takes a request a partition for it."""
    ends = await consumer.end_offsets(partitions)
    starts = await consumer.beginning_offsets(partitions)
    unknown = [partition for partition in partitions if partition not in known]
    asked = await asyncio.gather(*(consumer.committed(partition) for partition in unknown))
    stands = {**known, **dict(zip(unknown, asked, strict=True))}
    lags = {partition: ends[partition] - max(stands[partition] or 0, starts[partition]) for partition in partitions}
    return lags, stands


async def offsets_at(consumer: Any, partitions: list[Any], milliseconds: int) -> dict[Any, int]:
    """The first record of each partition that Kafka received at or after that time, never past what is committed."""
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, milliseconds))
    starts = await consumer.beginning_offsets(partitions)
    offsets = {}
    for partition in partitions:
        committed = max(await consumer.committed(partition) or 0, starts[partition])
        offsets[partition] = min(found[partition].offset, committed) if found.get(partition) else committed
    return offsets


async def look_behind(consumer: Any, partitions: Iterable[Any], found: dict[Any, int | None]) -> None:
    """Puts into `found` how many records of each partition were not fetched, where the broker has said so with those
    that were. A position is known where records were fetched; after a rewind it may not be, and then this waits."""
    for partition in partitions:
        if (end := consumer.highwater(partition)) is not None:
            found[partition] = max(0, end - await consumer.position(partition))

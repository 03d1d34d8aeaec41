"""Offsets and lags of a consumer group, asked of the broker through a consumer of aiokafka.

The functions wait without a limit: callers bound them (`bounded.within`).
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any


async def lags_of(
    consumer: Any, partitions: list[Any], known: Mapping[Any, int | None]
) -> tuple[dict[Any, int], dict[Any, int | None]]:
    """Returns the number of uncommitted records of each partition, and the committed offsets.

    Offsets in `known` are not asked for: aiokafka sends one request per partition for them.
    """
    ends = await consumer.end_offsets(partitions)
    starts = await consumer.beginning_offsets(partitions)
    unknown = [partition for partition in partitions if partition not in known]
    asked = await asyncio.gather(*(consumer.committed(partition) for partition in unknown))
    stands = {**known, **dict(zip(unknown, asked, strict=True))}
    lags = {partition: ends[partition] - max(stands[partition] or 0, starts[partition]) for partition in partitions}
    return lags, stands


async def offsets_at(consumer: Any, partitions: list[Any], milliseconds: int) -> dict[Any, int]:
    """Returns the offset of the first record of each partition that Kafka received at or after a time.

    `milliseconds` counts from 1970. An offset is never beyond the committed one.
    """
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, milliseconds))
    starts = await consumer.beginning_offsets(partitions)
    offsets = {}
    for partition in partitions:
        committed = max(await consumer.committed(partition) or 0, starts[partition])
        offsets[partition] = min(found[partition].offset, committed) if found.get(partition) else committed
    return offsets


async def look_behind(consumer: Any, partitions: Iterable[Any], found: dict[Any, int | None]) -> None:
    """Writes the number of records of each partition that were not fetched into `found`.

    The number comes with fetched records; partitions of which none came keep their entry. The function waits where a
    position is unknown, as it may be after a rewind.
    """
    for partition in partitions:
        if (end := consumer.highwater(partition)) is not None:
            found[partition] = max(0, end - await consumer.position(partition))

"""Watermarks of the source partitions, as each partition of `engagement.conversations` has brought them (law 8)."""

from collections.abc import Mapping, Sequence
from typing import Final

from schemas.conversations import Mark

_MINUTE_US: Final = 60_000_000


class ReadWatermarks:
    """The newest watermark of each source partition, for each partition of conversations in which it was read. Pure."""

    def __init__(self, partitions: Sequence[int], of: int) -> None:
        """`partitions` of conversations, out of `of`; there are as many source partitions."""
        self._partitions, self._of = tuple(partitions), of
        self._by_partition: dict[int, dict[int, int]] = {partition: {} for partition in partitions}

    def note_stored(self, stored: Mapping[int, int]) -> None:
        """Raises watermarks of sources, in microseconds since 1970, in all partitions."""
        for watermarks in self._by_partition.values():
            watermarks |= {source: max(watermarks.get(source, 0), watermark) for source, watermark in stored.items()}

    def note(self, partition: int, mark: Mark) -> None:
        """Raises the watermark of a source in the partition in which the mark was read, and only there: in each
        partition the mark lies behind the cells that it covers, and the cells in other partitions may be unread."""
        watermarks, source = self._by_partition.setdefault(partition, {}), mark["partition"]
        watermarks[source] = max(watermarks.get(source, 0), mark["watermark"])

    @property
    def least(self) -> int | None:
        """The least watermark of all sources in all partitions, in microseconds since 1970; None while one is
        unknown."""
        owned = [self._by_partition[partition] for partition in self._partitions]
        if any(len(watermarks) < self._of for watermarks in owned):
            return None
        return min(min(watermarks.values()) for watermarks in owned)

    @property
    def open_from(self) -> int | None:
        """The first minute since 1970 that the least watermark has not passed; None while the watermark is unknown."""
        least = self.least
        return None if least is None else least // _MINUTE_US

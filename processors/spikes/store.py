"""Closed minutes and spikes in ClickHouse: the tables conversation_closed and conversation_spikes."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from pipeline.clickhouse.client import ClickHouse
from processors.spikes.ports import StoredSpike
from schemas.alerts import GROUP_FIELDS, SpikeAlert
from schemas.tables import CONVERSATION_CLOSED, CONVERSATION_SPIKES

_TIME_COLUMNS: Final = ("started_at", "ended_at", "as_of", "counted_until")


class ClickHouseSpikeStore:
    """SpikeHistory and SpikeStore on one connection. One thread calls all methods."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    def oldest(self, floors: Mapping[int, int], of: int) -> int | None:
        columns = self._clickhouse.select(
            f"SELECT count(), intDiv(toUInt32(min(minute)), 60) FROM {CONVERSATION_CLOSED.name} "
            f"WHERE {_in_partitions(floors, of)}"
        )
        return columns[1][0] if columns and columns[0] and columns[0][0] else None

    def closings(
        self, floors: Mapping[int, int], of: int, minutes: int, kinds: Sequence[str]
    ) -> Iterator[tuple[int, list[str], list[int]]]:
        """Streams the rows of one query, which the server sorts."""
        spans = " OR ".join(
            f"({_in_partitions(partitions, of)} AND minute >= {max(floor - minutes, 0) * 60} AND minute < {floor * 60})"
            for floor, partitions in _by_floor(floors).items()
            if floor > 0
        )
        if not spans:
            return
        listed = ", ".join(f"'{kind}'" for kind in kinds)
        stream = self._clickhouse.stream(
            "SELECT intDiv(toUInt32(minute), 60) AS number, conversation, toInt64(count) "
            f"FROM {CONVERSATION_CLOSED.name} FINAL WHERE ({spans}) "
            f"AND substring(conversation, 1, position(conversation, ':') - 1) IN ({listed}) "
            "ORDER BY number, conversation"
        )
        rows = (row for block in stream for row in zip(*block, strict=True))
        for minute, group in groupby(rows, lambda row: row[0]):
            _, names, counts = zip(*group, strict=True)
            yield minute, list(names), list(counts)

    def spikes(self, floors: Mapping[int, int], of: int, since: int) -> list[StoredSpike]:
        columns = self._clickhouse.select(
            "SELECT spike_id, conversation, state, intDiv(toUInt32(started_at), 60), intDiv(toUInt32(as_of), 60), "
            f"version, expected, scale_minutes FROM {CONVERSATION_SPIKES.name} FINAL "
            f"WHERE {_in_partitions(floors, of)} AND (state != 'resolved' OR as_of >= {max(since, 0) * 60})"
        )
        return [StoredSpike(*row) for row in zip(*columns, strict=True)]

    def save(self, alerts: Sequence[SpikeAlert], versions: Sequence[int]) -> None:
        self._clickhouse.insert(CONVERSATION_SPIKES.name, spike_columns(alerts, versions))


def spike_columns(alerts: Sequence[SpikeAlert], versions: Sequence[int]) -> dict[str, list[Any]]:
    """Returns the columns of table conversation_spikes, by name."""
    columns: dict[str, list[Any]] = {
        name: [alert[name] for alert in alerts]  # type: ignore[literal-required]
        for name in SpikeAlert.__annotations__
        if name not in GROUP_FIELDS
    }
    for name in _TIME_COLUMNS:
        columns[name] = [None if time is None else int(time.timestamp()) for time in columns[name]]
    return columns | {"version": list(versions)}


def _by_floor(floors: Mapping[int, int]) -> dict[int, list[int]]:
    partitions_by_floor: dict[int, list[int]] = {}
    for partition, floor in floors.items():
        partitions_by_floor.setdefault(floor, []).append(partition)
    return partitions_by_floor


def _in_partitions(partitions: Mapping[int, int] | Sequence[int], of: int) -> str:
    listed = ", ".join(str(int(partition)) for partition in partitions)
    return f"kafkaMurmurHash(conversation) % {int(of)} IN ({listed})"

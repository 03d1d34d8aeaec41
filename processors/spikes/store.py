"""Closed minutes and spikes in ClickHouse: tables conversation_closed and conversation_spikes."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from pipeline.clickhouse.client import ClickHouse
from processors.spikes.ports import StoredSpike
from schemas.alerts import SpikeAlert
from schemas.tables import CONVERSATION_CLOSED, CONVERSATION_SPIKES

TIMES: Final = ("started_at", "ended_at", "as_of")


class ClickHouseSpikes:
    """Past and Spikes on one connection. One thread calls it."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    def oldest(self, floors: Mapping[int, int], of: int) -> int | None:
        found = self._clickhouse.select(
            f"SELECT count(), intDiv(toUInt32(min(minute)), 60) FROM {CONVERSATION_CLOSED.name} "
            f"WHERE {_ours(floors, of)}"
        )
        return found[1][0] if found and found[0] and found[0][0] else None

    def closings(
        self, floors: Mapping[int, int], of: int, minutes: int, kinds: Sequence[str]
    ) -> Iterator[tuple[int, list[str], list[int]]]:
        """One query, whatever is read; the server sorts it."""
        spans = " OR ".join(
            f"({_ours(partitions, of)} AND minute >= {max(floor - minutes, 0) * 60} AND minute < {floor * 60})"
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
        found = self._clickhouse.select(
            "SELECT spike_id, conversation, state, intDiv(toUInt32(started_at), 60), intDiv(toUInt32(as_of), 60), "
            f"version, expected, scale_minutes FROM {CONVERSATION_SPIKES.name} FINAL "
            f"WHERE {_ours(floors, of)} AND (state != 'resolved' OR as_of >= {max(since, 0) * 60})"
        )
        return [StoredSpike(*row) for row in zip(*found, strict=True)]

    def save(self, alerts: Sequence[SpikeAlert], versions: Sequence[int]) -> None:
        self._clickhouse.insert(CONVERSATION_SPIKES.name, columns_of(alerts, versions))


def columns_of(alerts: Sequence[SpikeAlert], versions: Sequence[int]) -> dict[str, list[Any]]:
    """The columns of table conversation_spikes."""
    columns: dict[str, list[Any]] = {
        name: [alert[name] for alert in alerts]  # type: ignore[literal-required]
        for name in SpikeAlert.__annotations__
    }
    for name in TIMES:
        columns[name] = [None if time is None else int(time.timestamp()) for time in columns[name]]
    return columns | {"version": list(versions)}


def _by_floor(floors: Mapping[int, int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for partition, floor in floors.items():
        found.setdefault(floor, []).append(partition)
    return found


def _ours(partitions: Mapping[int, int] | Sequence[int], of: int) -> str:
    wanted = ", ".join(str(int(partition)) for partition in partitions)
    return f"kafkaMurmurHash(conversation) % {int(of)} IN ({wanted})"

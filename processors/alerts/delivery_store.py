"""The delivery store on ClickHouse: tables conversation_spikes, which the conversation agent writes, and
alert_deliveries."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pipeline.clickhouse.client import ClickHouse
from processors.alerts.ports import Delivery
from schemas.alerts import SpikeAlert
from schemas.tables import ALERT_DELIVERIES, CONVERSATION_SPIKES

PLAIN_COLUMNS: Final = tuple(
    name for name in SpikeAlert.__annotations__ if name not in ("started_at", "ended_at", "as_of")
)
TIME_COLUMNS: Final = ("started_at", "ended_at", "as_of")


class ClickHouseDeliveryStore:
    """A DeliveryStore on a ClickHouse connection, for use by a single thread."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    def spikes(self, partitions: Sequence[int], of: int, since: float) -> list[SpikeAlert]:
        if not partitions:
            return []
        wanted = ", ".join(str(int(partition)) for partition in partitions)
        times = ", ".join(f"toUnixTimestamp({name})" for name in TIME_COLUMNS)
        columns = self._clickhouse.select(
            f"SELECT {times}, {', '.join(PLAIN_COLUMNS)} FROM {CONVERSATION_SPIKES.name} FINAL "
            f"WHERE kafkaMurmurHash(conversation) % {int(of)} IN ({wanted}) "
            f"AND (state != 'resolved' OR toUnixTimestamp(as_of) >= {int(since)})"
        )
        return [
            _alert(dict(zip((*TIME_COLUMNS, *PLAIN_COLUMNS), row, strict=True))) for row in zip(*columns, strict=True)
        ]

    def load(self, spike_ids: Sequence[str]) -> list[Delivery]:
        if not spike_ids:
            return []
        columns = self._clickhouse.select(
            "SELECT spike_id, receiver, state, toUInt32(bitShiftRight(version, 32)), attempts, outcome, "
            f"toUnixTimestamp64Milli(delivered_at) FROM {ALERT_DELIVERIES.name} FINAL "
            "WHERE spike_id IN (SELECT spike_id FROM wanted)",
            tables={"wanted": ("spike_id String", [(spike_id,) for spike_id in spike_ids])},
        )
        return [Delivery(*row) for row in zip(*columns, strict=True)]

    def save(self, deliveries: Sequence[Delivery]) -> None:
        self._clickhouse.insert(ALERT_DELIVERIES.name, delivery_columns(deliveries))


def delivery_columns(deliveries: Sequence[Delivery]) -> dict[str, list[Any]]:
    """Returns the columns of table alert_deliveries."""
    return {
        "spike_id": [delivery.spike_id for delivery in deliveries],
        "receiver": [delivery.receiver for delivery in deliveries],
        "state": [delivery.state for delivery in deliveries],
        "delivered_at": [delivery.delivered_ms for delivery in deliveries],
        "attempts": [delivery.attempts for delivery in deliveries],
        "outcome": [delivery.outcome for delivery in deliveries],
        "version": [delivery.version for delivery in deliveries],
    }


def _alert(row: Mapping[str, Any]) -> SpikeAlert:
    times = {name: None if row[name] is None else datetime.fromtimestamp(row[name], UTC) for name in TIME_COLUMNS}
    return {**row, **times}  # type: ignore[typeddict-item]  # the table's columns are the alert's fields

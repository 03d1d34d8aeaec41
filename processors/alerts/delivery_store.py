"""The delivery store on ClickHouse: tables conversation_spikes and conversation_minutes, which the conversation agent
writes, spike_groups and alert_deliveries."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pipeline.clickhouse.client import ClickHouse
from processors.alerts.ports import Delivery, GroupRow
from schemas.alerts import GROUP_FIELDS, SpikeAlert
from schemas.tables import ALERT_DELIVERIES, CONVERSATION_MINUTES, CONVERSATION_SPIKES, SPIKE_GROUPS

TIME_COLUMNS: Final = ("started_at", "ended_at", "as_of", "counted_until")
PLAIN_COLUMNS: Final = tuple(
    name for name in SpikeAlert.__annotations__ if name not in TIME_COLUMNS and name not in GROUP_FIELDS
)


READ_SECONDS: Final = 3
"""The minutes of a picture are read for so long at most."""


class ClickHouseDeliveryStore:
    """A DeliveryStore and MinuteSource on a ClickHouse connection, for use by a single thread."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    def spikes(self, since: float) -> list[SpikeAlert]:
        times = ", ".join(f"toUnixTimestamp({name})" for name in TIME_COLUMNS)
        columns = self._clickhouse.select(
            f"SELECT {times}, {', '.join(PLAIN_COLUMNS)} FROM {CONVERSATION_SPIKES.name} FINAL "
            f"WHERE state != 'resolved' OR toUnixTimestamp(as_of) >= {int(since)}"
        )
        return [
            _alert(dict(zip((*TIME_COLUMNS, *PLAIN_COLUMNS), row, strict=True))) for row in zip(*columns, strict=True)
        ]

    def groups(self, spike_ids: Sequence[str]) -> dict[str, str]:
        columns = self._select_of(spike_ids, f"SELECT spike_id, group_id FROM {SPIKE_GROUPS.name} FINAL")
        return dict(zip(*columns, strict=True)) if columns else {}

    def save_groups(self, rows: Sequence[GroupRow]) -> None:
        spike_ids, group_ids, members = map(list, zip(*rows, strict=True))
        columns = {"spike_id": spike_ids, "group_id": group_ids, "version": members}
        self._clickhouse.insert(SPIKE_GROUPS.name, columns)

    def load(self, spike_ids: Sequence[str]) -> list[Delivery]:
        columns = self._select_of(
            spike_ids,
            "SELECT spike_id, receiver, state, toUInt32(bitShiftRight(version, 32)), attempts, outcome, "
            f"toUnixTimestamp64Milli(delivered_at), reference FROM {ALERT_DELIVERIES.name} FINAL",
        )
        return [Delivery(*row) for row in zip(*columns, strict=True)]

    def save(self, deliveries: Sequence[Delivery]) -> None:
        self._clickhouse.insert(ALERT_DELIVERIES.name, delivery_columns(deliveries))

    def minutes(self, conversation: str, first: int, last: int) -> dict[int, int]:
        columns = self._clickhouse.select(
            "SELECT intDiv(toUInt32(minute), 60), greatest(toInt64(posts) + comments, 0) "
            f"FROM {CONVERSATION_MINUTES.name} FINAL WHERE conversation = %(conversation)s "
            f"AND minute BETWEEN {int(first) * 60} AND {int(last) * 60} SETTINGS max_execution_time = {READ_SECONDS}",
            {"conversation": conversation},
        )
        return dict(zip(*columns, strict=True)) if columns else {}

    def _select_of(self, spike_ids: Sequence[str], select: str) -> list[Any]:
        """Returns the columns of the rows of these spikes."""
        if not spike_ids:
            return []
        return self._clickhouse.select(
            f"{select} WHERE spike_id IN (SELECT spike_id FROM wanted)",
            tables={"wanted": ("spike_id String", [(spike_id,) for spike_id in spike_ids])},
        )


def delivery_columns(deliveries: Sequence[Delivery]) -> dict[str, list[Any]]:
    """Returns the columns of table alert_deliveries."""
    return {
        "spike_id": [delivery.spike_id for delivery in deliveries],
        "receiver": [delivery.receiver for delivery in deliveries],
        "state": [delivery.state for delivery in deliveries],
        "delivered_at": [delivery.delivered_ms for delivery in deliveries],
        "attempts": [delivery.attempts for delivery in deliveries],
        "outcome": [delivery.outcome for delivery in deliveries],
        "reference": [delivery.reference for delivery in deliveries],
        "version": [delivery.version for delivery in deliveries],
    }


def _alert(row: Mapping[str, Any]) -> SpikeAlert:
    times = {name: None if row[name] is None else datetime.fromtimestamp(row[name], UTC) for name in TIME_COLUMNS}
    alone = {"group_id": row["spike_id"], "conversations": [row["conversation"]]}
    return {**row, **times, **alone}  # type: ignore[typeddict-item]  # the table's columns are the alert's fields

"""Rolls days of conversations up, as the conversation agent does."""

from pipeline.clickhouse.client import ClickHouse
from processors.conversation.days.store import ClickHouseDays
from processors.conversation.ports import DayPart


def roll_days(client: ClickHouse, end: int) -> None:
    """Rolls all days before the day `end`, counted from 1970, up."""
    days = ClickHouseDays(client)
    days.roll([0], 1, DayPart(0, end))
    days.mark([0], 1, end)

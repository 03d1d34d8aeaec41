"""The history of a conversation: its counts at closing, which the live detector judged."""

from datetime import UTC, datetime
from typing import Final

import numpy as np

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import Refused
from processors.spikes.detection.series import Series
from processors.spikes.policy import MINUTE_SECONDS

CLOSED: Final = (
    "SELECT toInt64(toUnixTimestamp(minute)) AS at, toInt64(count) FROM conversation_closed FINAL "
    "WHERE conversation = %(conversation)s AND at >= %(since)s AND at < %(until)s ORDER BY minute"
)


def read_closed_minutes(clickhouse: ClickHouse, conversation: str, since: int | None, until: int | None) -> Series:
    """Reads the closed minutes of a conversation from `since` until before `until` (seconds since 1970).

    Blocks on ClickHouse and raises its errors; raises Refused where fewer than two minutes are closed in that time.
    """
    columns = clickhouse.select(
        CLOSED, {"conversation": conversation, "since": since or 0, "until": 2**32 if until is None else until}
    )
    times = np.array(columns[0] if columns else [], np.int64)
    if len(times) < 2:
        raise Refused(
            f"{conversation}: {len(times)} closed minutes in that time; name a conversation as `hashtag:launch` or "
            "`brand:acme`, and a longer time with --since and --until"
        )
    stamps = [datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S") for time in times.tolist()]
    return Series(conversation, stamps, times, np.array(columns[1], np.int64), MINUTE_SECONDS)

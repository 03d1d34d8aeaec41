"""A conversation's own past: its counts at closing, which are what the live detector saw."""

from datetime import UTC, datetime
from typing import Final

import numpy as np

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import Refused
from processors.spikes.series import Series

MINUTE: Final = 60

CLOSED: Final = (
    "SELECT toInt64(toUnixTimestamp(minute)) AS at, toInt64(count) FROM conversation_closed FINAL "
    "WHERE conversation = %(conversation)s AND at >= %(since)s AND at < %(until)s ORDER BY minute"
)


def read_past(clickhouse: ClickHouse, conversation: str, since: int | None, until: int | None) -> Series:
    """The closed minutes of a conversation from `since` until before `until` (seconds since 1970).

    Blocks on ClickHouse and raises its errors; Refused where there are no such minutes.
    """
    answer = clickhouse.select(
        CLOSED, {"conversation": conversation, "since": since or 0, "until": 2**32 if until is None else until}
    )
    times = np.array(answer[0] if answer else [], np.int64)
    if len(times) < 2:
        raise Refused(
            f"{conversation}: {len(times)} closed minutes in that time; name a conversation as `hashtag:launch` or "
            "`brand:acme`, and a longer time with --since and --until"
        )
    stamps = [datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S") for time in times.tolist()]
    return Series(conversation, stamps, times, np.array(answer[1], np.int64), MINUTE)

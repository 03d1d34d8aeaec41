"""Makes rows of the tables of conversations, as columns."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import numpy as np

from processors.columnar.arrays import Array
from processors.conversation.cells import Minutes
from schemas.metrics import MEASURES

SEEN_BITS: Final = 55


def minute_columns(minutes: Minutes, mask: Array, final: bool) -> dict[str, Any]:
    """Makes rows of conversation_minutes. Their version: fold version (8 bits) | events that all cells have seen (55) |
    is final (1). Cells of a minute are only added and only grow, so more events seen means newer, and a final row wins
    over an equal one."""
    seen = np.minimum(minutes.seen[mask], np.uint64((1 << SEEN_BITS) - 1))
    version = (minutes.fold[mask] << np.uint64(SEEN_BITS + 1)) | (seen << np.uint64(1)) | np.uint64(final)
    return {
        "conversation": minutes.conversation[mask],
        "minute": minutes.minute[mask] * 60,
        "posts": minutes.posts[mask],
        **dict(zip(MEASURES, minutes.net[mask].T, strict=True)),
        "voices": minutes.voices[mask],
        "voices_exact": minutes.voices_exact[mask].astype(np.uint8),
        "channels": minutes.channels[mask],
        "is_final": np.full(len(version), final, np.uint8),
        "version": version,
    }


def closing_columns(minutes: Minutes, mask: Array, now_ms: int) -> dict[str, Any]:
    """Makes rows of conversation_closed, closed at `now_ms` (milliseconds since 1970)."""
    return {
        "conversation": minutes.conversation[mask],
        "minute": minutes.minute[mask] * 60,
        "count": minutes.counts[mask],
        "closed_at": np.full(int(mask.sum()), now_ms),
    }


def open_columns(minutes: Minutes) -> tuple[list[str], list[int], list[int]]:
    """Returns conversations, minutes and counts as lists."""
    return minutes.conversation.tolist(), minutes.minute.tolist(), minutes.counts.tolist()


def by_minute(minutes: Minutes, counts: list[int]) -> Iterable[tuple[int, list[str], list[int]]]:
    """Yields each minute with its conversations and counts. `minutes` is sorted by minute."""
    starts = np.flatnonzero(np.diff(minutes.minute, prepend=-1)).tolist()
    for start, end in pairwise([*starts, len(minutes)]):
        yield int(minutes.minute[start]), minutes.conversation[start:end].tolist(), counts[start:end]

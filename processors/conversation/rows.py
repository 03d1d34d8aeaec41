"""Rows of the conversations' tables, as columns."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from processors.conversation.cells import Minutes
from processors.conversation.voices import Array

SEEN_BITS: Final = 55


def minute_columns(minutes: Minutes, mask: Array, final: bool) -> dict[str, Any]:
    """Rows of conversation_minutes. Their version: fold version (8 bits) | events that all cells have seen (55) | is
    final (1): the cells of a minute only come and grow, so more seen is newer, and a final row beats an equal one."""
    seen = np.minimum(minutes.seen[mask], np.uint64((1 << SEEN_BITS) - 1))
    version = (minutes.fold[mask] << np.uint64(SEEN_BITS + 1)) | (seen << np.uint64(1)) | np.uint64(final)
    return {
        "conversation": [name for name, chosen in zip(minutes.conversation, mask.tolist(), strict=True) if chosen],
        "minute": (minutes.minute[mask] * 60).tolist(),
        "posts": minutes.posts[mask].tolist(),
        "likes": minutes.likes[mask].tolist(),
        "shares": minutes.shares[mask].tolist(),
        "comments": minutes.comments[mask].tolist(),
        "voices": minutes.voices[mask].tolist(),
        "voices_exact": minutes.voices_exact[mask].astype(np.int64).tolist(),
        "channels": minutes.channels[mask].tolist(),
        "is_final": [int(final)] * len(version),
        "version": version.tolist(),
    }


def closing_columns(closings: Sequence[tuple[str, int, int]], now_ms: int) -> dict[str, Any]:
    """Rows of conversation_closed: conversation, minute and count of each; closed at `now_ms`, since 1970."""
    conversations, minutes, counts = zip(*closings, strict=True)
    return {
        "conversation": list(conversations),
        "minute": [minute * 60 for minute in minutes],
        "count": list(counts),
        "closed_at": [now_ms] * len(closings),
    }


def by_minute(minutes: Minutes, counts: list[int]) -> Iterable[tuple[int, list[str], list[int]]]:
    """Minutes in order: they are sorted already."""
    starts = np.flatnonzero(np.diff(minutes.minute, prepend=-1)).tolist()
    for start, end in pairwise([*starts, len(minutes)]):
        yield int(minutes.minute[start]), minutes.conversation[start:end], counts[start:end]

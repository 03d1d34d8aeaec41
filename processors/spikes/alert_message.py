"""What is told of a spike: a change of its life and the facts of it become a SpikeAlert. Pure."""

from datetime import UTC, datetime
from typing import Final

from processors.spikes.life import Change, words
from processors.spikes.policy import VERSION
from processors.spikes.ports import Facts
from schemas.alerts import SpikeAlert

LOUD_POST: Final = 0.5
"""Share of one post from which it is the post's doing."""

LOUD_ACCOUNTS: Final = 5.0
"""Comments and posts a voice from which few accounts make the noise."""

LEAST_USUAL: Final = 1 / 1440
"""A ratio to less than one a day would say nothing."""


def alert_of(change: Change, facts: Facts) -> SpikeAlert:
    """The record of `engagement.alerts`, and but for the version the row of `conversation_spikes`."""
    return SpikeAlert(
        spike_id=change.spike_id,
        conversation=change.conversation,
        state=change.state,
        started_at=_time(change.started),
        ended_at=None if change.ended is None else _time(change.ended),
        as_of=_time(change.as_of),
        score=change.score,
        observed=facts.observed,
        expected=change.expected,
        ratio=facts.observed / max(change.expected, LEAST_USUAL),
        scale_minutes=change.scale,
        voices=facts.voices or 0,
        voices_usual=facts.voices_usual or 0.0,
        channels=facts.channels,
        channels_usual=facts.channels_usual,
        concentration=_share(facts),
        top_posts=list(facts.top_posts),
        top_authors=list(facts.top_authors),
        reasons=[*change.reasons, *_reasons(change, facts), *facts.missing],
        evidence=facts.sql,
        detector=str(VERSION),
    )


def _reasons(change: Change, facts: Facts) -> list[str]:
    if not (count := round(facts.observed * change.scale)):
        return []
    said = []
    if not any(reason.startswith(f"{count} in {words(change.scale)}:") for reason in change.reasons):
        # On the long scales the detector caps short bursts, and an open minute goes on.
        height = "at its height " if change.state == "resolved" else ""
        times = facts.observed / max(change.expected, LEAST_USUAL)
        said.append(f"{height}{count} in {words(change.scale)}, {times:.1f} x the usual")
    if facts.voices is not None:
        usual = "" if facts.voices_usual is None else f", usually {facts.voices_usual:.1f}"
        said.append(_voices(facts.voices, count) + usual)
    if (share := _share(facts)) >= LOUD_POST:
        said.append(f"one post has {share:.0%} of it")
    return said


def _voices(voices: int, count: int) -> str:
    if voices <= 1:
        return f"one loud account: 1 voice for {count} comments and posts"
    if count / voices >= LOUD_ACCOUNTS:
        return f"few loud accounts: {voices} voices for {count} comments and posts"
    return f"many voices: {voices}"


def _share(facts: Facts) -> float:
    return min(facts.most / facts.total, 1.0) if facts.total else 0.0


def _time(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)

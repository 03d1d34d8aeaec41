"""Alert messages: makes a SpikeAlert of a change of a spike and its evidence. Pure."""

from datetime import UTC, datetime
from typing import Final

from processors.spikes.detection.life import Change, format_minutes
from processors.spikes.policy import DETECTOR_VERSION
from processors.spikes.ports import Evidence
from schemas.alerts import SpikeAlert

LOUD_POST: Final = 0.5
"""A post with at least this share of the counts is named as the cause."""

LOUD_ACCOUNTS: Final = 5.0
"""From this many comments and posts a voice on, few accounts make the noise."""

LEAST_USUAL: Final = 1 / 1440
"""The least usual count a minute of a ratio: one a day. A ratio to less would mean nothing."""


def alert_of(change: Change, evidence: Evidence) -> SpikeAlert:
    """Returns the record of `engagement.alerts`, which is, without the version, also the row of
    `conversation_spikes`."""
    return SpikeAlert(
        spike_id=change.spike_id,
        conversation=change.conversation,
        state=change.state,
        started_at=_time(change.started),
        ended_at=None if change.ended is None else _time(change.ended),
        as_of=_time(change.as_of),
        score=change.score,
        observed=evidence.observed,
        expected=change.expected,
        ratio=evidence.observed / max(change.expected, LEAST_USUAL),
        scale_minutes=change.scale,
        voices=evidence.voices or 0,
        voices_usual=evidence.voices_usual or 0.0,
        channels=evidence.channels,
        channels_usual=evidence.channels_usual,
        concentration=_share(evidence),
        top_posts=list(evidence.top_posts),
        top_authors=list(evidence.top_authors),
        reasons=[*change.reasons, *_reasons(change, evidence), *evidence.missing],
        evidence=evidence.sql,
        detector=str(DETECTOR_VERSION),
    )


def _reasons(change: Change, evidence: Evidence) -> list[str]:
    if not (count := round(evidence.observed * change.scale)):
        return []
    reasons = []
    if not any(reason.startswith(f"{count} in {format_minutes(change.scale)}:") for reason in change.reasons):
        # On the long scales the detector caps short bursts, and an open minute goes on.
        height = "at its height " if change.state == "resolved" else ""
        times = evidence.observed / max(change.expected, LEAST_USUAL)
        reasons.append(f"{height}{count} in {format_minutes(change.scale)}, {times:.1f} x the usual")
    if evidence.voices is not None:
        usual = "" if evidence.voices_usual is None else f", usually {evidence.voices_usual:.1f}"
        reasons.append(_voices(evidence.voices, count) + usual)
    if (share := _share(evidence)) >= LOUD_POST:
        reasons.append(f"one post has {share:.0%} of it")
    return reasons


def _voices(voices: int, count: int) -> str:
    if voices <= 1:
        return f"one loud account: 1 voice for {count} comments and posts"
    if count / voices >= LOUD_ACCOUNTS:
        return f"few loud accounts: {voices} voices for {count} comments and posts"
    return f"many voices: {voices}"


def _share(evidence: Evidence) -> float:
    return min(evidence.most / evidence.total, 1.0) if evidence.total else 0.0


def _time(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)

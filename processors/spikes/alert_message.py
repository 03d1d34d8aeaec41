"""Alert messages: makes a SpikeAlert of a change of a spike and its evidence. Pure."""

from datetime import UTC, datetime
from typing import Final

from processors.spikes.detection.life import Change
from processors.spikes.policy import DETECTOR_VERSION, LEAST_USUAL
from processors.spikes.ports import Evidence
from processors.spikes.severity import severity_of
from schemas.alert_words import count_in_words, counted_in, people_in_words, usual_in_words
from schemas.alerts import SpikeAlert

LOUD_POST: Final = 0.5
"""A post with at least this share of the counts is named as the cause."""

LOUD_ACCOUNTS: Final = 5.0
"""From this many comments and posts a voice on, few accounts make the noise."""


def alert_of(change: Change, evidence: Evidence) -> SpikeAlert:
    """Returns the record of `engagement.alerts`, which is, without the version, also the row of
    `conversation_spikes`."""
    observed, expected = evidence.observed, change.expected
    alert = SpikeAlert(
        spike_id=change.spike_id,
        conversation=change.conversation,
        state=change.state,
        started_at=_time(change.started),
        ended_at=None if change.ended is None else _time(change.ended),
        as_of=_time(change.as_of),
        severity=severity_of(
            observed * change.scale,
            expected * change.scale,
            max(change.score, change.highest_score),
            evidence.voices,
            evidence.voices_usual,
        ),
        score=change.score,
        observed=observed,
        expected=expected,
        ratio=observed / expected if expected >= LEAST_USUAL else None,
        scale_minutes=change.scale,
        counted_until=_time(change.seen_until),
        seen_before=evidence.seen_before,
        seen_days=evidence.seen_days,
        voices=evidence.voices,
        voices_usual=evidence.voices_usual,
        channels=evidence.channels,
        channels_usual=evidence.channels_usual,
        concentration=_share(evidence),
        top_posts=list(evidence.top_posts),
        top_counts=list(evidence.top_counts),
        top_urls=list(evidence.top_urls),
        top_authors=list(evidence.top_authors),
        reasons=[],
        evidence=evidence.sql,
        detector=str(DETECTOR_VERSION),
        group_id=change.spike_id,
        conversations=[change.conversation],
    )
    alert["reasons"] = [*_reasons(alert), *change.reasons, *evidence.missing]
    return alert


def _reasons(alert: SpikeAlert) -> list[str]:
    count = round(alert["observed"] * alert["scale_minutes"])
    if not count:
        return []
    height = "at its height " if alert["state"] == "resolved" else ""
    reasons = [f"{height}{count_in_words(alert)}, {usual_in_words(alert)}"]
    if alert["voices"] is not None:
        usual = "" if alert["voices_usual"] is None else f", usually {people_in_words(alert['voices_usual'])}"
        reasons.append(_voices(alert["voices"], count, counted_in(alert["conversation"], count)) + usual)
    if alert["concentration"] >= LOUD_POST:
        reasons.append(f"one post has {alert['concentration']:.0%} of them")
    return reasons


def _voices(voices: int, count: int, counted: str) -> str:
    if voices <= 1:
        return f"one loud account: 1 person for {count:,} {counted}"
    if count / voices >= LOUD_ACCOUNTS:
        return f"few loud accounts: {voices:,} people for {count:,} {counted}"
    return f"many voices: {voices:,} people wrote or shared"


def _share(evidence: Evidence) -> float:
    return min(evidence.most / evidence.total, 1.0) if evidence.total else 0.0


def _time(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)

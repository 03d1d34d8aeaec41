"""Records that the conversation agent sends to the alert agent: one of `engagement.alerts` per state of a spike.

The key is ALERTS_KEY: one worker reads all alerts, so that spikes of one cause meet. A record is absolute: it holds all
that is known of the spike in that state, so replays and duplicates change nothing. Receivers deduplicate by `spike_id`
and `state`, and for `grown` by `as_of` too.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, TypeAdapter
from typing_extensions import TypedDict

ALERTS_KEY: Final = "spikes"
"""The key of every record of the topic: all lie on one partition, whatever the conversation."""

AlertState = Literal["opened", "grown", "resolved"]
Severity = Literal["info", "notice", "warning", "critical"]

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "notice", "warning", "critical")
"""Severities of a spike, the least first. processors/spikes/severity.py has the formula."""


class SpikeAlert(TypedDict):
    """A sudden spike of a conversation, in one state of its life."""

    spike_id: Annotated[str, Field(description="Hash of conversation, opening minute and detector version.")]
    conversation: str
    state: AlertState
    started_at: Annotated[AwareDatetime, Field(description="Opening minute.")]
    ended_at: AwareDatetime | None
    as_of: Annotated[AwareDatetime, Field(description="End of the minute that this state was judged by.")]
    severity: Annotated[Severity, Field(description="How much the spike matters, from its size, novelty and voices.")]
    score: float
    observed: Annotated[float, Field(description="Comments and posts per minute that were seen.")]
    expected: Annotated[float, Field(description="Comments and posts per minute that were usual.")]
    ratio: Annotated[
        float | None, Field(description="observed / expected; null where none was usual: below one a day.")
    ]
    scale_minutes: Annotated[int, Field(description="Minutes over which it stands out most.")]
    counted_until: Annotated[AwareDatetime, Field(description="End of these minutes, in which `observed` was counted.")]
    seen_before: Annotated[
        int | None, Field(description="Where none was usual: comments and posts of the `seen_days` before; else null.")
    ]
    seen_days: Annotated[
        float | None, Field(description="Days since the first of these, or days that were looked through for any.")
    ]
    voices: Annotated[int | None, Field(description="Distinct voices in these minutes; null: not known.")]
    voices_usual: Annotated[float | None, Field(description="Of as many minutes of the day before; null: not known.")]
    channels: Annotated[int | None, Field(description="Distinct channels in these minutes; null: not known.")]
    channels_usual: Annotated[float | None, Field(description="Of as many minutes of the day before; null: not known.")]
    concentration: Annotated[float, Field(description="Share of the one post that has most of it.")]
    top_posts: Annotated[list[str], Field(description="At most 20 posts that made it, most comments first.")]
    top_counts: Annotated[list[int], Field(description="Comments and posts of each of `top_posts`.")]
    top_urls: Annotated[list[str], Field(description="Address of each of `top_posts`; empty: not known.")]
    top_authors: Annotated[list[str], Field(description="Authors of the first five of `top_posts`.")]
    reasons: Annotated[list[str], Field(description="Why, in words.")]
    evidence: Annotated[str, Field(description="SQL that proves it, ready to paste.")]
    detector: Annotated[str, Field(description="Version of the detector that found it.")]
    group_id: Annotated[str, Field(description="Spikes of one cause share this id: the spike_id of the first of them.")]
    conversations: Annotated[list[str], Field(description="Conversations of the cause, `conversation` among them.")]


GROUP_FIELDS: Final = ("group_id", "conversations")
"""Fields that follow from several spikes: rows of a spike do not have them."""


def _complete(record: Any) -> Any:
    """Completes a record of versions that did not have all fields yet."""
    if not isinstance(record, dict):
        return record
    posts = record.get("top_posts")
    unknown = [0] * len(posts) if isinstance(posts, list) else []
    missing: dict[str, Any] = {
        "severity": "warning",
        "counted_until": record.get("as_of"),
        "seen_before": None,
        "seen_days": None,
        "top_counts": unknown,
        "top_urls": [""] * len(unknown),
        "group_id": record.get("spike_id"),
        "conversations": [record.get("conversation")],
    }
    return missing | record


SPIKE_ALERT: Final[TypeAdapter[SpikeAlert]] = TypeAdapter(Annotated[SpikeAlert, BeforeValidator(_complete)])


def idempotency_key(spike_id: str, state: AlertState, as_of: datetime) -> str:
    """Returns the key by which a receiver deduplicates. A spike opens and resolves once, but may grow several times.

    >>> from datetime import UTC
    >>> idempotency_key("5f", "grown", datetime(2026, 1, 1, 10, 5, tzinfo=UTC))
    '5f/grown/2026-01-01T10:05Z'
    >>> idempotency_key("5f", "opened", datetime(2026, 1, 1, 10, 5, tzinfo=UTC))
    '5f/opened'
    """
    return f"{spike_id}/{state}" + (f"/{as_of:%Y-%m-%dT%H:%MZ}" if state == "grown" else "")


def alert_json_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of a record of `engagement.alerts`."""
    schema = SPIKE_ALERT.json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema

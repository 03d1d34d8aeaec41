"""Records that the conversation agent sends to the alert agent: one of `engagement.alerts` per state of a spike.

The key is the conversation. A record is absolute: it holds all that is known of the spike in that state, so replays and
duplicates change nothing. Receivers deduplicate by `spike_id` and `state`, and for `grown` by `as_of` too.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, Field, TypeAdapter
from typing_extensions import TypedDict

AlertState = Literal["opened", "grown", "resolved"]


class SpikeAlert(TypedDict):
    """A sudden spike of a conversation, in one state of its life."""

    spike_id: Annotated[str, Field(description="Hash of conversation, opening minute and detector version.")]
    conversation: str
    state: AlertState
    started_at: Annotated[AwareDatetime, Field(description="Opening minute.")]
    ended_at: AwareDatetime | None
    as_of: Annotated[AwareDatetime, Field(description="End of the minute that this state was judged by.")]
    score: float
    observed: Annotated[float, Field(description="Comments and posts per minute that were seen.")]
    expected: Annotated[float, Field(description="Comments and posts per minute that were usual.")]
    ratio: float
    scale_minutes: Annotated[int, Field(description="Minutes over which it stands out most.")]
    voices: int
    voices_usual: float
    channels: int
    channels_usual: float
    concentration: Annotated[float, Field(description="Share of the one post that has most of it.")]
    top_posts: list[str]
    top_authors: list[str]
    reasons: Annotated[list[str], Field(description="Why, in words.")]
    evidence: Annotated[str, Field(description="SQL that proves it, ready to paste.")]
    detector: Annotated[str, Field(description="Version of the detector that found it.")]


SPIKE_ALERT: Final[TypeAdapter[SpikeAlert]] = TypeAdapter(SpikeAlert)


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

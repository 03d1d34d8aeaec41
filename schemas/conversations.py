"""What passes from the engagement agent to the conversation agent: absolute cells, and how far event time has come.

A record of `engagement.conversations` holds cells of many conversations, all of which belong on its partition (murmur2
of the conversation): one record a conversation would cost more than all the rest of the job. It is repeated whole after
a crash; of two cells of one (conversation, minute, post) the higher `version` counts.
"""

from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

Counts = list[Annotated[int, Field(ge=0)]]

HASH_BYTES: Final = 8
"""Of one voice: a 64-bit number, little-endian."""


class Cells(TypedDict):
    """One cell per place of these lists: what one post adds to one minute of one conversation."""

    conversation: list[str]
    minute: Annotated[Counts, Field(description="Minutes since 1970.")]
    post_id: list[str]
    posts: Annotated[Counts, Field(description="1 in the minute of the post itself.")]
    likes: Annotated[Counts, Field(description="Of this minute, taken back later or not.")]
    shares: Counts
    comments: Counts
    likes_retracted: Annotated[Counts, Field(description="Taken back in this minute.")]
    shares_retracted: Counts
    comments_retracted: Counts
    channels: Annotated[list[list[str]], Field(description="On which somebody posted, shared or commented.")]
    voices: Annotated[
        list[str], Field(description="Base64 of the sorted 64-bit hashes of who did, little-endian; the 256 smallest.")
    ]
    voices_exact: Annotated[Counts, Field(description="0 where there are more than 256.")]
    version: Annotated[Counts, Field(description="Fold version (8 bits) | events seen (30) | minute of as_of (26).")]


class Mark(TypedDict):
    """How far the event time of one source partition has come: no event older than `watermark` is expected any more."""

    partition: Annotated[int, Field(ge=0)]
    watermark: Annotated[int, Field(description="Microseconds since 1970.")]
    idle: bool


class ConversationRun(TypedDict):
    """One record of the topic `engagement.conversations`."""

    cells: Cells | None
    marks: list[Mark]


CONVERSATION_RUN: Final[TypeAdapter[ConversationRun]] = TypeAdapter(ConversationRun)


def conversation_json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a record of `engagement.conversations`."""
    schema = CONVERSATION_RUN.json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema

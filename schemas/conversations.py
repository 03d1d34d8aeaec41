"""Records that the engagement agent sends to the conversation agent: absolute cells, and watermarks.

A record of `engagement.conversations` holds cells of many conversations that belong on its partition (murmur2 of the
conversation); one record per conversation would cost more than the rest of the job. Records are repeated whole after a
crash; of two cells of one (conversation, minute, post) the higher `version` counts.
"""

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from schemas.metrics import MEASURES

NUMBER_DTYPE: Final = "<u4"
"""Type of the numbers in columns of bytes."""

VERSION_DTYPE: Final = "<u8"
"""Type of the versions in the column `version`."""

HASH_DTYPE: Final = "<u8"
"""Type of the hashes in the column `heard`."""

Numbers = Annotated[bytes, Field(description="One unsigned number of 32 bits a cell, little-endian, in base64.")]


CELL_COUNTS: Final = ("posts", *MEASURES, *(f"{measure}_retracted" for measure in MEASURES))
"""The counts of a cell, in the order of every array that has an axis of them."""

_COUNT_DESCRIPTIONS: Final = {
    "posts": "1 in the minute of the post itself.",
    MEASURES[0]: "Of this minute, taken back later or not.",
    f"{MEASURES[0]}_retracted": "Taken back in this minute.",
}


def _cell_columns() -> dict[str, Any]:
    counts: dict[str, Any] = dict.fromkeys(CELL_COUNTS, Numbers)
    for name, description in _COUNT_DESCRIPTIONS.items():
        counts[name] = Annotated[Numbers, Field(description=description)]
    return {
        "names": Annotated[list[str], Field(description="Conversations.")],
        "post_ids": list[str],
        "channel_sets": Annotated[
            list[list[str]], Field(description="Channels on which somebody posted, shared, commented.")
        ],
        "conversation": Annotated[Numbers, Field(description="Place in `names`.")],
        "post": Annotated[Numbers, Field(description="Place in `post_ids`.")],
        "minute": Annotated[Numbers, Field(description="Minutes since 1970.")],
        **counts,
        "channels": Annotated[Numbers, Field(description="Place in `channel_sets`.")],
        "voices": Annotated[
            Numbers, Field(description="How many of `heard` are this cell's; they lie in the cells' order.")
        ],
        "voices_exact": Annotated[
            Numbers, Field(description="0 where there are more voices, of which these are the least.")
        ],
        "version": Annotated[
            bytes, Field(description="64 bits a cell: fold version (8) | events that can change it (30) | 0 (26).")
        ],
        "heard": Annotated[
            bytes,
            Field(description="Hashes of who posted, shared or commented, 64 bits each, sorted; at most 256 a cell."),
        ],
    }


_CELLS: Final = """\
Contributions of posts to minutes of conversations: each column has one value per cell, and a cell is a
(conversation, minute, post). Texts are listed once, and cells refer to their places.

Columns are bytes rather than lists: writing and reading JSON numbers would cost more than all other work on a cell."""

if TYPE_CHECKING:
    CellColumns = dict[str, Any]
else:
    # The counts follow from MEASURES, which a class statement cannot say.
    CellColumns = with_config(ConfigDict(val_json_bytes="base64", ser_json_bytes="base64"))(
        TypedDict("Cells", _cell_columns())
    )
    CellColumns.__doc__ = _CELLS


class Mark(TypedDict):
    """The watermark of one source partition: no event older than `watermark` is expected any more."""

    partition: Annotated[int, Field(ge=0)]
    watermark: Annotated[int, Field(description="Microseconds since 1970.")]
    idle: bool


class ConversationRun(TypedDict):
    """One record of the topic `engagement.conversations`."""

    cells: CellColumns | None
    marks: list[Mark]


CONVERSATION_RUN: Final[TypeAdapter[ConversationRun]] = TypeAdapter(ConversationRun)


def conversation_json_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of a record of `engagement.conversations`."""
    schema = CONVERSATION_RUN.json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema

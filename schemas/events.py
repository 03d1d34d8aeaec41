"""Events, as producers send them: a post, a like, a share, a comment, or the retraction of one of these.

A record is one JSON object, keyed by `post_id`, in the topic of its kind. `Event` is strict for protection (ids of 1 to
512 characters, a time with its zone, known kinds, a retraction that names its target) and open for growth: unknown
fields pass and are not stored (`schemas.unknown_fields` names them).

    >>> who = b'"event_id": "l", "kind": "like", "post_id": "p", "actor_id": "a"'
    >>> like = b'{' + who + b', "occurred_at": "2026-01-01T00:00:00Z"}'
    >>> event = parse_event(like)
    >>> event["actor_id"]
    'a'
    >>> parse_event(b'{"kind": "like"}')
    Traceback (most recent call last):
    ...
    schemas.events.InvalidEvent: post_id: Field required (and 2 more)

The vocabulary follows W3C ActivityStreams 2.0: Like, Announce (share), Create (post, comment), Undo and Delete
(retract).
"""

from codecs import BOM_UTF8
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import (
    AwareDatetime,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    with_config,
)
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from schemas.event_spellings import TIME_FIELDS, in_our_spelling, is_other_spelling
from schemas.event_time import IsoText, explain_time
from schemas.folding import fold_tag
from schemas.labels import Labels
from schemas.topics import Kind

ID_LENGTH: Final = 512
UNDO: Final = "#undo"
"""Suffix of a retraction's default event_id, after the target's."""

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
EARLY_SAID: Final = "before 1970: is it seconds where milliseconds are meant?"
NUL_SAID: Final = "holds a NUL character; send text without NUL"
TEXTS: Final = (
    "event_id",
    "post_id",
    "actor_id",
    "parent_id",
    "target_id",
    "author_id",
    "channel",
    "url",
    "quotes",
    "text",
)
"""Fields that hold one text, which may contain any character but NUL."""

AUTHORED: Final = ("post", "comment")
"""Kinds whose actor is never null: threads and authors are made of them."""

Action = Literal["add", "retract"]
Id = Annotated[str, StringConstraints(min_length=1, max_length=ID_LENGTH)]
OptionalId = Annotated[str, StringConstraints(max_length=ID_LENGTH)]
"""An id that may be absent. Platforms write absence as null, as empty text, or leave the field out: all mean the same,
also for other optional texts, and for an empty tag or link in a list."""

Channel = Annotated[str, StringConstraints(max_length=128)]
Url = Annotated[str, StringConstraints(max_length=4096)]
Links = Annotated[list[Annotated[str, StringConstraints(max_length=4096)]], Field(max_length=64)]
Tags = Annotated[list[Annotated[str, StringConstraints(max_length=256)]], Field(max_length=256)]


Text = Annotated[str, StringConstraints(max_length=65_536)]


# Values differ too much for a cache to pay: caching them would be a third of the time that an event takes.
@with_config(ConfigDict(cache_strings="keys"))
class Event(TypedDict):
    """An action on a social network, or its retraction."""

    event_id: NotRequired[
        Annotated[
            OptionalId | None,
            Field(
                description="Unique within post, kind and action. A retraction may leave it out: target_id + '#undo'."
            ),
        ]
    ]
    kind: Annotated[Kind, Field(description="What was done. Decides the topic.")]
    action: NotRequired[
        Annotated[Action, Field(description="'add' unless said otherwise; 'retract' takes target_id back.")]
    ]
    post_id: Annotated[
        Id,
        Field(description="The root post that all this is about; the record's key. A post's own id for kind 'post'."),
    ]
    actor_id: Annotated[
        Id | None,
        Field(description="Who did it; for a post its author. Null on likes and shares of networks that do not tell."),
    ]
    parent_id: NotRequired[
        Annotated[
            OptionalId | None,
            Field(
                description="The event_id of the share or comment that this one answers or carries on; null: the post."
            ),
        ]
    ]
    target_id: NotRequired[
        Annotated[
            OptionalId | None,
            Field(description="The event_id that a retraction takes back, of the same post and kind."),
        ]
    ]
    occurred_at: Annotated[AwareDatetime, IsoText(), Field(description="Event time, ISO 8601 with its zone.")]
    channel: NotRequired[
        Annotated[
            Channel | None, Field(description="The network it happened on: 'bluesky', 'mastodon', ...; case is folded.")
        ]
    ]
    url: NotRequired[Annotated[Url | None, Field(description="Where the post, share or comment can be seen.")]]
    hashtags: NotRequired[Annotated[Tags | None, Field(description="Without the leading '#'.")]]
    mentions: NotRequired[
        Annotated[Tags | None, Field(description="Accounts that are spoken to, without a leading '@'.")]
    ]
    links: NotRequired[
        Annotated[Links | None, Field(description="On a post: the addresses that it carries; they tie it to others.")]
    ]
    quotes: NotRequired[
        Annotated[OptionalId | None, Field(description="On a post: the post_id of the post that it quotes.")]
    ]
    labels: NotRequired[
        Annotated[
            Labels | None,
            Field(description="On a post: campaign, format, language, product, ...; keys are folded to lower case."),
        ]
    ]
    text: NotRequired[
        Annotated[Text | None, Field(description="What it says. Stored only with ENGAGEMENT_STORE_TEXT.")]
    ]
    author_id: NotRequired[
        Annotated[OptionalId | None, Field(description="On a post: its author, where that is not actor_id.")]
    ]
    followers: NotRequired[
        Annotated[
            int | None,
            Field(strict=True, ge=0, lt=2**40, description="On a post: followers of its author at that time."),
        ]
    ]


class InvalidEvent(ValueError):
    """A record is no valid event.

    `field` is the dotted path of the flaw, empty for the whole record; `reason` tells the flaw and its cure.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field, self.reason = field, reason


EVENT: Final[TypeAdapter[Event]] = TypeAdapter(Event)

validate_json: Final = EVENT.validator.validate_json
"""Parses bytes into an Event by the compiled schema alone. Raises pydantic's ValidationError; `check_event` has the
rules that span fields."""


def parse_event(value: bytes) -> Event:
    """Parses and checks the event in a record's value. Raises InvalidEvent."""
    event: Event = validate_or_explain(validate_json, value)
    check_event(event)
    return event


def validate_or_explain(validate: Callable[[bytes], Any], value: bytes) -> Any:
    """Returns what `validate` makes of JSON. Takes also a time in a leap second, and each way of writing that an
    optional field or a part of a list is absent. Raises InvalidEvent."""
    try:
        return validate(value)
    except ValidationError as error:
        flaws = error.errors(include_url=False, include_context=False)
        if any(flaw["type"] == "json_invalid" or not is_other_spelling(flaw) for flaw in flaws):
            raise explain(error) from None
        fields = from_json(value)
        names = {str(flaw["loc"][0]) for flaw in flaws}
    try:
        return validate(to_json(in_our_spelling(fields, names), inf_nan_mode="constants"))
    except ValidationError as error:
        raise explain(error) from None


def check_event(event: Event) -> None:
    """Checks the rules that span fields and fills in a retraction's default event_id. Raises InvalidEvent."""
    target = event.get("target_id")
    if event.get("action") == "retract":
        if not target:
            raise InvalidEvent("target_id", "a retraction must name the event_id that it takes back")
        if not event.get("event_id"):
            event["event_id"] = target + UNDO
    elif target:
        raise InvalidEvent(
            "target_id", "only a retraction has a target; send action 'retract', or parent_id for an answer"
        )
    elif not event.get("event_id"):
        raise InvalidEvent(
            "event_id", "Field required: without it a repeated delivery could not be told from a new event"
        )
    if event["actor_id"] is None and event["kind"] in AUTHORED:
        raise InvalidEvent("actor_id", f"null: a {event['kind']} has an author; only likes and shares may lack one")
    for field in TEXTS:
        if "\0" in str(event.get(field) or ""):
            raise InvalidEvent(field, NUL_SAID)
    for field in ("hashtags", "mentions", "links"):
        if "\0" in "".join(event.get(field) or ()):  # type: ignore[arg-type]  # a list of text
            raise InvalidEvent(field, NUL_SAID)
    if "\0" in "".join((event.get("labels") or {}).values()):
        raise InvalidEvent("labels", NUL_SAID)
    if event["occurred_at"] < EARLIEST:
        raise InvalidEvent("occurred_at", EARLY_SAID)


def explain(error: ValidationError) -> InvalidEvent:
    """Returns the first flaw of a validation, with at most 200 characters of its message."""
    flaws = error.errors(include_url=False, include_context=False)
    first = flaws[0]
    if first["type"] == "json_invalid" and (said := _not_utf8(first["input"])):
        return InvalidEvent("", said)
    field = ".".join(map(str, first["loc"]))
    reason = str(first["msg"])
    if first["loc"] in TIME_FIELDS:
        reason = explain_time(first["input"], reason)
    reason = reason[:200]
    if len(flaws) > 1:
        reason += f" (and {len(flaws) - 1} more)"
    return InvalidEvent(field, reason)


def conversation_keys(hashtags: Iterable[str] | None, mentions: Iterable[str] | None) -> list[str]:
    """Returns the conversations that an event names, each once, in order.

    A key is `hashtag:` or `mention:` with the folded name (`schemas.folding`). A name that folds to nothing is left
    out.
    """
    keys = [f"hashtag:{name}" for tag in hashtags or () if (name := fold_tag(tag, "#"))]
    keys += [f"mention:{name}" for account in mentions or () if (name := fold_tag(account, "@"))]
    return list(dict.fromkeys(keys))


def event_json_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of `Event`, with the rules that span fields."""
    schema = EVENT.json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["if"] = {"properties": {"action": {"const": "retract"}}, "required": ["action"]}
    text = {"type": "string", "minLength": 1}
    authored = {"properties": {"kind": {"enum": list(AUTHORED)}}, "required": ["kind"]}
    schema["allOf"] = [{"if": authored, "then": {"properties": {"actor_id": text}}}]
    schema["then"] = {"required": ["target_id"], "properties": {"target_id": text}}
    schema["else"] = {"required": ["event_id"], "properties": {"event_id": text, "target_id": {"enum": [None, ""]}}}
    return schema


def _not_utf8(value: Any) -> str:
    """Returns the flaw of a value's encoding; empty where the value is UTF-8."""
    if not isinstance(value, bytes):
        return ""
    if value.startswith(BOM_UTF8):
        return "Invalid JSON: begins with a byte order mark; send UTF-8 without one"
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return f"Invalid JSON: not UTF-8, byte 0x{value[error.start]:02x} at {error.start}; send JSON in UTF-8"
    return ""


def isoformat(moment: datetime) -> str:
    """Returns a time as producers write it: UTC, microseconds, `Z`."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

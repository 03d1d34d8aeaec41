"""The YAML file of a map, checked as a whole before the first row is read.

    version: 1
    constants: {channel: github}
    events:
      - when: type == 'WatchEvent'
        kind: like
        event_id: id
        post_id: {template: "repo-{repo.id}"}
        actor_id: actor.login
        occurred_at: created_at

Each entry of `events` makes one event of each row for which its condition `when` holds. A field is a JMESPath
expression (https://jmespath.org), or an object with one of `path`, `column` (the exact name of a field, blanks
included), `template` (text with expressions in braces) and `value` (a constant). `actor_id: {value: null}` says that
the network does not tell who; any other field without a value is left out.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from pipeline.files.field_flaws import flaw_reason
from pipeline.files.yaml_documents import Document, read_yaml

SOURCES_OF_VALUES: Final = ("path", "column", "template", "value")
LIST_FIELDS: Final = frozenset({"hashtags", "mentions", "links"})
TIME_FIELD: Final = "occurred_at"
CONSTANT_FIELDS: Final = ("kind", "action")
"""Fields whose plain text is a constant where it is one of their values; anywhere else plain text is a path."""

EXAMPLE: Final = "docs/sources.md"
"""The page with the fields of a map."""

Scalar = str | None
Format = Literal["csv", "ndjson", "parquet"]


class FieldRule(BaseModel):
    """The rule of a field: exactly one of `path`, `column`, `template` and `value`, then what is done to the value.

    `values`: translates the value, as text; the key `*` stands for all others. `default`: the value where the row has
    none, or empty text. `split`: the separator of a list in one text. `time`: how a time is written: `iso`, `seconds`,
    `milliseconds` or `microseconds` since 1970, or a pattern of strptime; of several the first that fits is taken.
    `zone`: the IANA name of the zone of times that name none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str | None = None
    column: str | None = None
    template: str | None = None
    value: Scalar | list[str] = None
    values: dict[str, Scalar] | None = None
    default: Scalar | list[str] = None
    split: Annotated[str, Field(min_length=1)] | None = None
    time: str | list[str] | None = None
    zone: str | None = None

    @model_validator(mode="after")
    def _names_one_source(self) -> "FieldRule":
        named = [name for name in SOURCES_OF_VALUES if name in self.model_fields_set]
        if len(named) != 1:
            raise ValueError(
                f"names {' and '.join(named) or 'no source of the value'}; name one of {', '.join(SOURCES_OF_VALUES)}"
            )
        return self


def _rule_of(value: Any) -> Any:
    if isinstance(value, str):
        return {"path": value}
    return value


Rule = Annotated[FieldRule, BeforeValidator(_rule_of)]


def _constant_or_rule(*constants: str) -> Any:
    def rule_of(value: Any) -> Any:
        return {"value": value} if isinstance(value, str) and value in constants else _rule_of(value)

    return BeforeValidator(rule_of)


class EventRule(BaseModel):
    """The rule of one event of a row. Fields are those of `schemas.events.Event`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: str | None = None
    kind: Annotated[FieldRule, _constant_or_rule("post", "like", "share", "comment")]
    action: Annotated[FieldRule, _constant_or_rule("add", "retract")] | None = None
    event_id: Rule | None = None
    post_id: Rule
    actor_id: Rule | None = None
    occurred_at: Rule
    parent_id: Rule | None = None
    target_id: Rule | None = None
    channel: Rule | None = None
    url: Rule | None = None
    hashtags: Rule | None = None
    mentions: Rule | None = None
    links: Rule | None = None
    quotes: Rule | None = None
    author_id: Rule | None = None
    followers: Rule | None = None
    text: Rule | None = None
    labels: dict[str, Rule] = {}

    def fields(self) -> dict[str, FieldRule]:
        """Returns the rules that the file names, by field of the event, without those of labels."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: rule for name, rule in named.items() if isinstance(rule, FieldRule)}


class InputRule(BaseModel):
    """How the rows are read. `format`: by the file's name where absent; `delimiter`: of CSV, found by its first line
    where absent; `encoding`: detected where absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Format | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    encoding: str | None = None


class MapFile(BaseModel):
    """The content of a map's file. `constants`: values of fields of every event that names no rule for them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal["1"]
    input: InputRule = InputRule()
    constants: dict[str, Scalar | list[str]] = {}
    events: Annotated[list[EventRule], Field(min_length=1)]

    @model_validator(mode="after")
    def _knows_its_constants(self) -> "MapFile":
        for name in self.constants:
            if name not in EventRule.model_fields or name in ("when", "labels"):
                raise ValueError(f"constants: {name} is no field of an event; `engagement schema` prints them")
        return self


FILE: Final[TypeAdapter[MapFile]] = TypeAdapter(MapFile)


def read_map_file(path: Path) -> tuple[Document, MapFile]:
    """Reads and checks the file of a map. Blocks on reading. Raises SettingsError that names file, line, field and
    cure."""
    document = read_yaml(path)
    try:
        return document, FILE.validate_python({} if document.content is None else document.content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise document.error(first["loc"], flaw_reason(first, EXAMPLE)) from None

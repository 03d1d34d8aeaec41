"""Words for pydantic's flaws in a file of the operator: the reason and the cure, without the value."""

from typing import Any, Final

from pydantic_core import ErrorDetails

REASONS: Final = {
    "string_type": "must be text; put it in quotes, and put quotes around # : @ & * too",
    "list_type": "must be a list: [one, two]",
    "dict_type": "must be fields with a value each: {name: value}",
    "model_type": "must be fields with a value each: {name: value}",
    "model_attributes_type": "must be fields with a value each: {name: value}",
    "string_too_short": "must not be empty; write at least one",
    "too_short": "must not be empty; write at least one",
}
"""Reason and cure by pydantic's type of error."""


def flaw_reason(flaw: ErrorDetails, example: str) -> str:
    """Returns reason and cure of a flaw; `example` is the file that shows every field."""
    context: dict[str, Any] = flaw.get("ctx", {})
    match flaw["type"]:
        case "extra_forbidden":
            return f"is not known here; {example} shows all there is"
        case "missing":
            return f"is missing; see {example}"
        case "literal_error":
            return f"must be {context['expected']}"
        case "string_too_long" | "too_long":
            return f"must not be longer than {context['max_length']}; shorten it"
    return REASONS.get(flaw["type"], flaw["msg"].removeprefix("Value error, "))

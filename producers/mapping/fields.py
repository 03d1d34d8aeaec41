"""Compiles the rule of a field into a function from a row to the field's value."""

import re
from collections.abc import Callable
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError

from producers.mapping.rules import LIST_FIELDS, TIME_FIELD, FieldRule
from producers.mapping.times import compile_time
from schemas.events import isoformat

OTHERS: Final = "*"
"""The key of `values` that stands for every value without an entry."""

FOLLOWERS: Final = "followers"

Extract = Callable[[Any], Any]

_BRACES: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_ROUNDED: Final = re.compile(r"[+-]?\d+([.,]\d+)?[eE]\+?\d+")


def compile_field(name: str, rule: FieldRule) -> Extract:
    """Returns the function that takes the value of an event's field out of a row; None where the row has none.

    Raises ValueError for a rule that cannot work. The function raises ValueError for a value that cannot become one.
    """
    if (rule.time is not None or rule.zone is not None) and name != TIME_FIELD:
        raise ValueError(f"time and zone are for {TIME_FIELD} only; leave them out")
    if rule.split is not None and name not in LIST_FIELDS:
        raise ValueError(f"split is for lists ({', '.join(sorted(LIST_FIELDS))}) only; leave it out")
    extract = _source(rule)
    convert = _conversion(name, rule)

    def value_of(row: Any) -> Any:
        value = extract(row)
        if _is_nothing(value):
            value = rule.default
            if _is_nothing(value):
                return None
        elif rule.values is not None:
            value = _translated(value, rule.values)
        return None if _is_nothing(value) else convert(value)

    return value_of


def compile_condition(expression: str | None) -> Callable[[Any], bool]:
    """Returns the function that tells whether a condition holds for a row. Raises ValueError for a bad expression."""
    if expression is None:
        return lambda row: True
    evaluate = compile_path(expression)
    return lambda row: not _is_false(evaluate(row))


def compile_path(expression: str) -> Extract:
    """Compiles a JMESPath expression. Raises ValueError with the cure; the function raises ValueError where it cannot
    be applied to a row."""
    try:
        compiled = jmespath.compile(expression)
    except JMESPathError as error:
        reason = str(error).split("\n")[0].rstrip(":")
        raise ValueError(
            f"{expression!r} is no JMESPath expression ({reason}); for a name with blanks or signs write "
            f"{{column: {expression!r}}}"
        ) from None

    def evaluate(row: Any) -> Any:
        try:
            return compiled.search(row)
        except (JMESPathError, TypeError, ValueError, KeyError, RecursionError) as error:
            raise ValueError(f"{expression!r} cannot be applied to the row: {error}") from None

    return evaluate


def _source(rule: FieldRule) -> Extract:
    if rule.path is not None:
        return compile_path(rule.path)
    if rule.column is not None:
        column = rule.column
        return lambda row: row.get(column) if isinstance(row, dict) else None
    if rule.template is not None:
        return _template(rule.template)
    constant = rule.value
    return lambda row: constant


def _template(template: str) -> Extract:
    """Compiles a text with expressions in braces; the value is None where one of them is nothing."""
    parts: list[str | Extract] = []
    end = 0
    for found in _BRACES.finditer(template):
        parts.append(template[end : found.start()])
        end = found.end()
        if found[0] in ("{{", "}}"):
            parts.append(found[0][0])
        elif found[1]:
            parts.append(compile_path(found[1].strip()))
        else:
            raise ValueError(
                f"template {template!r}: a brace without a partner; write {{{{ or }}}} for a brace as text"
            )
    parts.append(template[end:])

    def text_of(row: Any) -> str | None:
        texts = []
        for part in parts:
            value = part if isinstance(part, str) else part(row)
            if not isinstance(part, str) and _is_nothing(value):
                return None
            texts.append(_text(value))
        return "".join(texts)

    return text_of


def _conversion(name: str, rule: FieldRule) -> Extract:
    if name == TIME_FIELD:
        parse = compile_time(rule.time, rule.zone)
        return lambda value: isoformat(parse(value))
    if name in LIST_FIELDS:
        return lambda value: _list(value, rule.split)
    if name == FOLLOWERS:
        return _count
    return _text


def _text(value: Any) -> str:
    if isinstance(value, bool | dict | list):
        raise ValueError(f"{str(value)[:64]} is no text; name a path that leads to a text or a number")
    if isinstance(value, float):
        if not value.is_integer() or abs(value) >= 2**53:
            raise ValueError(f"{value!r} is a rounded number; export ids as text")
        return str(int(value))
    text = str(value)
    if _ROUNDED.fullmatch(text):
        raise ValueError(f"{text!r} is a number that a spreadsheet has rounded; export the column as text")
    return text


def _list(value: Any, separator: str | None) -> list[str]:
    if isinstance(value, str):
        parts = value.split(separator) if separator is not None else [value]
        return [part.strip() for part in parts if part.strip()]
    if not isinstance(value, list):
        raise ValueError(f"{str(value)[:64]} is no list; name a path that leads to a list, or to a text with `split`")
    return [_text(part) for part in value if not _is_nothing(part)]


def _count(value: Any) -> int:
    text = str(value).strip()
    digits = re.sub(r"(?<=\d)[,.  _'](?=\d{3}(\D|$))", "", text)
    if isinstance(value, bool) or not digits.isdecimal():
        raise ValueError(f"{text[:64]!r} is no whole number")
    return int(digits)


def _translated(value: Any, values: dict[str, Any]) -> Any:
    text = _text(value) if not isinstance(value, bool) else str(value).lower()
    if text in values:
        return values[text]
    if OTHERS in values:
        return values[OTHERS]
    raise ValueError(f"{text[:64]!r} has no entry in `values`; add one, or the entry {OTHERS!r} for all others")


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value == []


def _is_false(value: Any) -> bool:
    """Tells whether a value is false in JMESPath: nothing, false, or empty; 0 is true."""
    return value is None or value is False or value in ("", [], {})

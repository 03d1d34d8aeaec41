"""Reads YAML files of the operator safely: scalars are text as it stands in the file, every value keeps its line, and a
file that cannot be read ends in one SettingsError with file, line and cure.

No scalar becomes a boolean, a number or a date: `No` stays `No`, and is `Unquoted`, so that a field of text can ask for
quotes. Files are bounded in bytes, depth and values (aliases expanded), so nested brackets and alias bombs end in an
error, too. Errors never quote values, which may be secrets.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.error import Mark, MarkedYAMLError
from yaml.reader import ReaderError

from pipeline.errors import SettingsError

MOST_YAML_BYTES: Final = 2**20
MOST_DEPTH: Final = 24
MOST_VALUES: Final = 100_000
"""Values of a file, those of an alias counted at each use."""

MOST_SHOWN: Final = 80
"""Characters of a name that an error shows."""

Place = tuple[int | str, ...]
"""The way to a value: keys of mappings and numbers of list items."""

_TAG: Final = "tag:yaml.org,2002:"
_NULL, _MERGE = _TAG + "null", _TAG + "merge"
_RESOLVED: Final = (_NULL, _MERGE)
_PLAIN_TAGS: Final = {_NULL, _MERGE, *(_TAG + name for name in ("str", "map", "seq"))}
_NUMBER: Final = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|0o[0-7]+")
"""Numbers of YAML 1.2, of which 1.1 takes some for text."""

_CURES: Final = (
    ("'\\t'", "indent by spaces, not by tabs"),
    ("alias", 'a text that begins with * needs quotes: "*"'),
    ("anchor", "a text that begins with & needs quotes; an anchor has a name that no other has"),
    ("tag", "a text that begins with ! needs quotes"),
    ("cannot start any token", "put the text in quotes"),
    ("mapping values are not allowed", "put a text with ': ' in quotes, and indent fields alike"),
    ("another document", "keep one document a file, without ---"),
)
_CURE: Final = "look for an open quote or bracket, or wrong indentation, here or above"


@dataclass(frozen=True)
class Document:
    """A YAML file as read: `content` is made of dict, list, str and None; an empty file is None."""

    path: Path
    content: Any
    lines: Mapping[Place, int] = field(default_factory=dict)
    """Line of each value, from 1; of a mapping's value the line of its key."""

    def error(self, place: Place, reason: str, shown: int | None = None) -> SettingsError:
        """Returns the error of a value: file, line, field and reason. A missing field has the line of its mapping.
        `shown`: how many parts of the place are shown, all where None."""
        line = next((self.lines[place[:end]] for end in range(len(place), -1, -1) if place[:end] in self.lines), 1)
        where = ".".join(str(part)[:MOST_SHOWN] for part in place[:shown])
        return SettingsError(": ".join(filter(None, (f"{self.path}:{line}", where, reason))))


def read_yaml(path: Path) -> Document:
    """Reads a YAML file. Blocks on reading. Raises SettingsError that begins with the path, and the line if known."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_YAML_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no name of a file"
        raise SettingsError(f"{path} cannot be read ({reason}); name a YAML file") from None
    if len(content) > MOST_YAML_BYTES:
        raise SettingsError(
            f"{path} is larger than {MOST_YAML_BYTES >> 20} MiB; name the right file, or shorten this one"
        )
    text = _decode(path, content)
    try:
        node = _compose(text)
        converter = _Converter()
        value = None if node is None else converter.convert(node, (), node.start_mark)
        return Document(path, value, converter.lines)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SettingsError(
            f"{path}:{line}: is not YAML: the character U+{error.character:04X} is not allowed; leave it out"
        ) from None
    except _Flaw as error:
        raise Document(path, None, {(): error.line}).error(error.place or (), str(error)) from None
    except MarkedYAMLError as error:
        raise SettingsError(f"{path}:{_explain(error)}") from None


class Unquoted(str):
    """Text without quotes, taken by YAML for a boolean, a number or a time: No, 12, 1e3, 2026-01-01, 22:30."""

    __slots__ = ()


def is_text(value: Any) -> bool:
    """Tells whether a value is text beyond doubt: quoted, or nothing else by the rules of YAML."""
    return isinstance(value, str) and not isinstance(value, Unquoted)


class _Flaw(Exception):
    """A construct of YAML, not accepted here."""

    def __init__(self, mark: Mark, reason: str) -> None:
        super().__init__(reason)
        self.line = mark.line + 1
        self.place: Place | None = None


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # untyped
    """A loader of nodes up to MOST_DEPTH, which takes plain scalars for text, but for null and the merge key `<<`."""

    yaml_implicit_resolvers: Final = {
        sign: [resolver for resolver in resolvers if resolver[0] in _RESOLVED]
        for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        self.depth = self.nodes = 0
        super().__init__(text)

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth, self.nodes = self.depth + 1, self.nodes + 1
        if self.depth > MOST_DEPTH or self.nodes > MOST_VALUES:
            mark = self.peek_event().start_mark
            raise _too_deep(mark) if self.depth > MOST_DEPTH else _too_many(mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Converter:
    """Makes content of nodes, with the line of each value."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self._values = 0
        self._open: set[int] = set()

    def convert(self, node: Any, place: Place, mark: Mark) -> Any:
        """Returns the content of a node, which stands at `place`, in the line of `mark`. Raises _Flaw."""
        self.lines[place] = mark.line + 1
        try:
            return self._content(node, place)
        except _Flaw as flaw:
            flaw.place = place if flaw.place is None else flaw.place
            raise

    def _content(self, node: Any, place: Place) -> Any:
        with self._inside(node):
            if isinstance(node, yaml.ScalarNode):
                return None if node.tag == _NULL else _text(node)
            if isinstance(node, yaml.SequenceNode):
                return [self.convert(item, (*place, number), item.start_mark) for number, item in enumerate(node.value)]
            return {
                name: self.convert(value, (*place, name), key.start_mark)
                for name, (key, value) in self._fields(node).items()
            }

    def _fields(self, node: Any) -> dict[str, tuple[Any, Any]]:
        """Returns the nodes of a mapping's fields by name, with the fields merged by `<<`."""
        own, merged = dict[str, tuple[Any, Any]](), dict[str, tuple[Any, Any]]()
        for key, value in node.value:
            if key.tag == _MERGE:
                for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if not isinstance(source, yaml.MappingNode):
                        raise _Flaw(key.start_mark, "<< merges mappings only: <<: *name")
                    with self._inside(source):
                        merged = {**self._fields(source), **merged}
                continue
            if not isinstance(key, yaml.ScalarNode) or (key.value == "" and key.style is None):
                raise _Flaw(key.start_mark, "a name must be text, not empty, a list or a mapping; put it in quotes")
            name = _text(key)
            if name in own:
                raise _Flaw(key.start_mark, f"{name[:MOST_SHOWN]!r} is there twice; leave one out")
            own[name] = (key, value)
        return {**merged, **own}

    @contextmanager
    def _inside(self, node: Any) -> Iterator[None]:
        self._values += 1
        if self._values > MOST_VALUES:
            raise _too_many(node.start_mark)
        if len(self._open) > MOST_DEPTH:
            raise _too_deep(node.start_mark)
        if id(node) in self._open:
            raise _Flaw(node.start_mark, "the anchor is part of itself; write the values out")
        if node.tag not in _PLAIN_TAGS:
            raise _Flaw(node.start_mark, "a tag (!...) has no meaning here; leave it out, or put the text in quotes")
        self._open.add(id(node))
        yield
        self._open.remove(id(node))


def _compose(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    except (ValueError, OverflowError):
        # An escape such as "\UFFFFFFFF" that is no character.
        raise _Flaw(loader.get_mark(), "is not YAML: an escape is no character; write the character itself") from None
    finally:
        loader.dispose()


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise SettingsError(f"{path}:1: is not UTF-8 but UTF-16; save it as UTF-8") from None
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}:{line}: is not UTF-8; save it as UTF-8") from None


def _text(node: Any) -> str:
    """Returns a scalar as text. Raises _Flaw for lone surrogates and control characters."""
    text: str = node.value
    if flawed := re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", text):
        raise _Flaw(node.start_mark, f"the character U+{ord(flawed[0]):04X} is no text; leave it out")
    return Unquoted(text) if node.style is None and _is_ambiguous(text) else text


def _is_ambiguous(text: str) -> bool:
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], ())
    return any(tag != _MERGE and pattern.match(text) for tag, pattern in resolvers) or bool(_NUMBER.fullmatch(text))


def _explain(error: MarkedYAMLError) -> str:
    """Returns line, problem and cure of a fault in the grammar. Names of aliases, anchors and tags are left out: a
    secret without quotes may look like one of them."""
    mark = error.problem_mark or error.context_mark
    problem = re.sub(r" ['\"][^'\"<\\][^'\"]+['\"]", "", error.problem or error.context or "cannot be read")
    said = f"{error.context or ''} {problem}"
    cure = next((cure for sign, cure in _CURES if sign in said), _CURE)
    return f"{mark.line + 1 if mark else 1}: is not YAML: {' '.join(problem.split())}; {cure}"


def _too_deep(mark: Mark) -> _Flaw:
    return _Flaw(mark, f"more than {MOST_DEPTH} levels of lists and mappings; close brackets, or take out levels")


def _too_many(mark: Mark) -> _Flaw:
    return _Flaw(mark, f"more than {MOST_VALUES:,} values (aliases counted at each use); shorten the file")

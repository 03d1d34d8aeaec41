"""Valid example files of all kinds that commands read, and their mutations by bytes and by structure, seeded.

A mutation is what happens to files: an editor saves another encoding or other line ends, a transfer cuts or doubles a
piece, a disk flips a bit, a program writes a value that nobody expected.
"""

import gzip
import json
import random
from collections.abc import Callable
from typing import Any, Final, NamedTuple

OWN: Final = [
    json.dumps(event, ensure_ascii=False)
    for event in (
        {"event_id": "p1", "kind": "post", "post_id": "p1", "actor_id": "ann", "occurred_at": "2026-11-01T10:00:00Z"},
        {
            "event_id": "s1",
            "kind": "share",
            "post_id": "p1",
            "actor_id": "José",
            "occurred_at": "2026-11-01T10:01:00.5+02:00",
            "hashtags": ["acme", "山田"],
            "followers": 12,
        },
        {
            "kind": "share",
            "action": "retract",
            "target_id": "s1",
            "post_id": "p1",
            "actor_id": "José",
            "occurred_at": "2026-11-01T10:09:00Z",
        },
        {
            "event_id": "c1",
            "kind": "comment",
            "post_id": "p2",
            "actor_id": "b",
            "parent_id": None,
            "occurred_at": "2026-11-01T10:02:00Z",
            "url": "https://x.example/é",
            "extra": {"nested": [1, 2.5, "\U0001f44d"]},
        },
        {"event_id": "l1", "kind": "like", "post_id": "p2", "actor_id": "c", "occurred_at": "2026-11-01T10:03:00Z"},
    )
]
CASCADES: Final = [
    json.dumps(
        {
            "event_id": f"e{number}",
            "type": kind,
            "post_id": f"p{number % 2}",
            "actor_id": f"Zoë{number}",
            "parent_id": None,
            "ts": f"2026-11-01T10:{number:02}:00.711Z",
            "channel": "x",
        },
        ensure_ascii=False,
    )
    for number, kind in enumerate(("share", "comment", "share", "like", "share", "share"))
]
POSTS: Final = [
    "post_id,author_id,created_at,channel",
    "p0,José,2026-11-01T09:59:00Z,x",
    "p1,ann,2026-11-01T09:58:00+02:00,",
    '"p2","b, c",2026-11-01T09:57:00Z,"two\nlines"',
    "p3,Müller,2026-11-01T09:56:00Z,mastodon",
]
SERIES: Final = ["timestamp,value", *(f"2026-01-05 00:{minute:02}:00,{minute % 7}" for minute in range(12))]
SECONDS: Final = ["value,timestamp", *(f"{number},{1_767_571_200 + 300 * number}" for number in range(12))]
LABELS: Final = ['{"file": {"windows": [["2026-01-05 00:01:00", "2026-01-05 00:03:00"]],', '"labels": ["2026-01-05"]}}']
BOOKMARK: Final = ['{"file": 0, "line": 3,', '"names": ["/a/b"]}']

EXAMPLES: Final = {
    "own": OWN,
    "cascades": CASCADES,
    "posts": POSTS,
    "series": SERIES,
    "seconds": SECONDS,
    "labels": LABELS,
    "bookmark": BOOKMARK,
}

ENCODINGS: Final = (
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "cp1252",
    "utf-32-le",
    "cp1251",
    "gb18030",
)
LINE_ENDS: Final = ("\n", "\n", "\n", "\r\n", "\r", "\r\r\n", "\n\n", " \n", "\x85", "\u2028")

STRAY_BYTES: Final = (
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\x1f\x8b",
    b"\x1f\x8b\x08",
    b"\0",
    b"\0" * 300,
    b"\r",
    b"\n",
    b"\r\n",
    b'"',
    b'""',
    b"'",
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b",",
    b";",
    b"\xff",
    b"\xe9",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x91",
    b"[" * 20_000,
    b'{"a":' * 5_000,
    b"9" * 5_000,
    b"1e999",
    b"NaN",
    b"-",
    b"\x1a",
    b"# comment\n",
    b"sep=,\n",
)

VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    2**63,
    10**400,
    1e300,
    float("nan"),
    float("inf"),
    "",
    " ",
    "\0",
    "\ud800",
    "x" * 600,
    "y" * 200_000,
    "\u202e\u200d\ufeff",
    [],
    [None],
    ["a"] * 400,
    {},
    {"ts": 1, "type": 2},
    "share",
    "post",
    "like",
    "retract",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00",
    "2026-02-30T00:00:00Z",
    "2026-11-01T10:00:00",
    "20261101",
    1_767_571_200,
    1_767_571_200_000,
)

CELLS: Final = (
    "",
    " ",
    "x",
    '"',
    '"open',
    'in"side',
    '"a""b"',
    "\0",
    "y" * 200_000,
    "1,234",
    "-5",
    "1e99",
    "inf",
    "nan",
    "9999-12-31T23:59:00-14:00",
    "0001-01-01T00:00:00+14:00",
    "1767571320000",
    "1767571320000000000",
    "2105-12-31 00:00:00",
    "1970-01-01",
    "-1",
    "=cmd()",
    "\u0661\u0662",
    "2026-01-05 00:05:00",
)


class Mutant(NamedTuple):
    """A file: the example that it was made of, and its content."""

    kind: str
    content: bytes


def mutant(seed: int) -> Mutant:
    """Returns the file of a seed."""
    chance = random.Random(seed)
    kind = chance.choice(list(EXAMPLES))
    lines = EXAMPLES[kind] * chance.choice((1, 1, 1, 2, 20))
    for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
        lines = chance.choice((_move_lines, _change_line))(chance, kind, lines)
    end = chance.choice(LINE_ENDS) if chance.random() < 0.4 else "\n"
    text = end.join(lines) + (end if chance.random() < 0.8 else "")
    encoding = chance.choice(ENCODINGS) if chance.random() < 0.3 else "utf-8"
    content = text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")
    for _ in range(chance.choice((0, 1, 1, 2, 5))):
        content = chance.choice(BYTE_MUTATIONS)(chance, content)
    if chance.random() < 0.25:
        content = gzip.compress(content, chance.choice((0, 1, 9)), mtime=0)
        if chance.random() < 0.3:
            content += chance.choice((b"\r\n", bytes(50), content, b"text", content[:15], b"\x1f\x8b"))
        for _ in range(chance.choice((0, 1, 1, 3))):
            content = chance.choice(BYTE_MUTATIONS)(chance, content)
    return Mutant(kind, content)


def _move_lines(chance: random.Random, _: str, lines: list[str]) -> list[str]:
    at, to = sorted(chance.choices(range(len(lines) + 1), k=2))
    piece = lines[at:to]
    return chance.choice(
        (
            [*lines[:at], *lines[to:]],
            [*lines[:to], *piece, *lines[to:]],
            [*lines[:at], *reversed(piece), *lines[to:]],
            [*lines[to:], *lines[:to]],
            [*lines[:at], "", *lines[at:]],
            [*lines[:at], *chance.choice(list(EXAMPLES.values())), *lines[at:]],
        )
    )


def _change_line(chance: random.Random, kind: str, lines: list[str]) -> list[str]:
    if not lines:
        return lines
    at = chance.randrange(len(lines))
    changed = list(lines)
    if kind in ("own", "cascades"):
        changed[at] = _changed_object(chance, lines[at])
    else:
        cells = lines[at].split(",")
        cells[chance.randrange(len(cells))] = chance.choice(CELLS)
        changed[at] = ",".join(chance.choice((cells, cells[:-1], [*cells, "more"], cells)))
    return changed


def _changed_object(chance: random.Random, line: str) -> str:
    try:
        fields = json.loads(line)
        name = chance.choice(list(fields))
    except (ValueError, IndexError, TypeError):
        return line[::-1]
    value = fields.pop(name)
    how = chance.randrange(4)
    if how == 0:
        fields[name] = chance.choice(VALUES)
    elif how == 1:
        fields[chance.choice(("type", "ts", "kind", "occurred_at", "Event_ID", "", "\ud800"))] = value
    elif how == 2:
        fields = {name: [fields]}
    return json.dumps(fields, ensure_ascii=chance.random() < 0.5)


def _flip(chance: random.Random, content: bytes) -> bytes:
    if not content:
        return content
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]


def _insert(chance: random.Random, content: bytes) -> bytes:
    at = chance.choice((0, len(content), chance.randrange(len(content) + 1)))
    return content[:at] + chance.choice(STRAY_BYTES) + content[at:]


def _overwrite(chance: random.Random, content: bytes) -> bytes:
    at, stray = chance.randrange(len(content) + 1), chance.choice(STRAY_BYTES)
    return content[:at] + stray + content[at + len(stray) :]


def _noise(chance: random.Random, content: bytes) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + chance.randbytes(chance.randrange(1, 40)) + content[at:]


def _cut(chance: random.Random, content: bytes) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _drop(chance: random.Random, content: bytes) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + content[at + chance.randrange(1, 200) :]


def _double(chance: random.Random, content: bytes) -> bytes:
    at, to = sorted(chance.choices(range(len(content) + 1), k=2))
    return content[:to] + content[at:]


BYTE_MUTATIONS: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    _flip,
    _flip,
    _insert,
    _insert,
    _overwrite,
    _noise,
    _cut,
    _drop,
    _double,
)

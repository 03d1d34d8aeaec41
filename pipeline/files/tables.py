"""Rows of CSV files: one bad row costs one row, even where a quote is never closed."""

import csv
from collections import deque
from collections.abc import Iterator
from typing import Final

from pipeline.errors import Refused
from pipeline.files.flaws import Flaw
from pipeline.files.text_file import DEFAULT_READING, Line, ReadPolicy, TextFile

DELIMITERS: Final = ",;\t|"
"""Separators of values; the head tells which of them a file has."""

MOST_LINES_BEFORE_HEAD: Final = 20
"""Lines in which the head is sought, such as a title or a comment before it."""

LOOKAHEAD_BYTES: Final = 16 << 20
"""Bytes of a file that are read in vain, in search of the ends of quotes that are never closed. Beyond this number a
row must end in its own line, so that the time for a file stays proportional to its size."""

Row = dict[str, str]
"""Values by column; empty where a row is shorter than the head."""


def read_table(
    name: str,
    columns: tuple[str, ...],
    policy: ReadPolicy = DEFAULT_READING,
    delimiters: str = DELIMITERS,
    *,
    as_written: bool = False,
) -> Iterator[tuple[int, Row | Flaw]]:
    """Yields number of the first line and values of every filled row, or the row's Flaw.

    The head is the first line that names all `columns` in any case, whatever it names besides; it is separated by one
    of `delimiters`, and tells which. Names of columns are yielded in lower case, or `as_written`, where case counts.

    Raises Refused for a file that cannot be read, where no head names the columns, and where one is named twice.
    """
    csv.field_size_limit(policy.line_bytes)
    records = _Records(TextFile(name, policy, guesses=True), policy.line_bytes)
    head: list[str] = []
    passed: list[tuple[int, str]] = []
    while not head:
        number, line = records.take()
        if isinstance(line, str) and not line.strip():
            continue
        if line is None or len(passed) == MOST_LINES_BEFORE_HEAD:
            best = _best_head(passed, columns, as_written)
            missing = next((column for column in columns if column not in best), None)
            if missing is None:  # nothing is asked for, and nothing is there
                return
            at = passed[0][0] if passed else 1
            raise Refused(f"{name}:{at}: no column {missing}; the first line must name {', '.join(columns)}")
        if isinstance(line, Flaw):
            yield number, line
        elif head := _head_of(line, columns, delimiters, records, as_written):
            if twice := next((column for column in columns if head.count(column) > 1), None):
                raise Refused(f"{name}:{number}: column {twice} is there twice; rename or leave out one of them")
            yield from ((at, Flaw(f"not the head with the columns {', '.join(columns)}")) for at, _ in passed)
        else:
            passed.append((number, line))
    while True:
        number, values = records.next_row()
        if values is None:
            return
        if isinstance(values, Flaw):
            yield number, values
        elif any(value.strip() for value in values):
            yield number, _row_of(head, values)


def _head_of(line: str, columns: tuple[str, ...], delimiters: str, records: "_Records", as_written: bool) -> list[str]:
    """Returns the names in a head and keeps the delimiter that gives most names; nothing for a line that lacks a
    column."""
    found = [(delimiter, _names_in(line, delimiter, as_written)) for delimiter in delimiters]
    delimiter, names = max(found, key=lambda pair: (set(columns) <= set(pair[1]), len(pair[1])))
    if not set(columns) <= set(names):
        return []
    records.delimiter = delimiter
    return names


def _names_in(line: str, delimiter: str, as_written: bool) -> list[str]:
    try:
        names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
        return names if as_written else list(map(str.lower, names))
    except csv.Error:
        return []


def _best_head(passed: list[tuple[int, str]], columns: tuple[str, ...], as_written: bool) -> set[str]:
    """Returns the names in the line with most of the columns, which a person meant as the head."""
    heads = [set(_names_in(line, delimiter, as_written)) for _, line in passed for delimiter in DELIMITERS]
    return max(heads, key=lambda head: len(head & set(columns)), default=set())


def _row_of(head: list[str], values: list[str]) -> Row | Flaw:
    if any(value.strip() for value in values[len(head) :]):
        return Flaw(f"{len(values)} values for {len(head)} columns; quote values that hold a separator")
    return dict.fromkeys(head, "") | dict(zip(head, values, strict=False))


class _Records:
    """The lines of a file as records: a record goes on in the next line while a quote is open."""

    def __init__(self, file: TextFile, most: int) -> None:
        self._lines = file.lines()
        self._most, self._left = most, LOOKAHEAD_BYTES
        self._put_back: deque[tuple[int, Line]] = deque()
        self.delimiter = DELIMITERS[0]

    def take(self) -> tuple[int, str | Flaw | None]:
        """Takes the next line and the line's number; None at the end."""
        number, line = self._put_back.popleft() if self._put_back else next(self._lines, (0, None))
        return number, line.decode() if isinstance(line, bytes) else line

    def next_row(self) -> tuple[int, list[str] | Flaw | None]:
        """Takes the next record: its values, or the Flaw of its first line, behind which reading goes on."""
        number, line = self.take()
        if not isinstance(line, str):
            return number, line
        if '"' not in line:
            return number, line.split(self.delimiter)
        followers: list[tuple[int, str]] = []
        try:
            return number, next(csv.reader(self._from(line, followers), delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            self._left -= sum(len(text) for _, text in followers)
            self._put_back.extendleft((at, text.encode()) for at, text in reversed(followers))
            reason = "a quote is not closed" if "unexpected end" in str(error) else str(error)
            return number, Flaw(
                f"not a row of CSV: {reason}; put a value with quotes into quotes, and double each inside"
            )

    def _from(self, line: str, followers: list[tuple[int, str]]) -> Iterator[str]:
        """Yields a line and the following lines, which are kept in `followers`."""
        room = min(self._most, self._left) - len(line)
        yield line + "\n"
        while room > 0:
            number, text = self.take()
            if not isinstance(text, str):
                if text is not None:
                    self._put_back.appendleft((number, text))
                return
            followers.append((number, text))
            room -= len(text) + 1
            yield text + "\n"

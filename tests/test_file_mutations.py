"""Mutated files through the reader of every command: no traceback, no hang, each line either read or named, and damage
never costs a line that is whole.

    MUTATIONS=100000 pytest tests/test_file_mutations.py      # more than a test run has time for
"""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import EngagementError
from processors.spikes.backtest import judge_series
from processors.spikes.detection.series import Series, read_labels, read_series
from processors.spikes.policy import DEFAULT_POLICY
from processors.virality.fit.history import read_cascades, read_post_info
from producers.bookmark import Bookmark
from producers.event_lines import read_post_csv
from producers.source import BadInput, SourceRecord
from producers.sources.replay import ReplaySource
from tests.cut_off import run_schedules
from tests.file_mutations import CASCADES, OWN, POSTS, SERIES, mutant

MUTATIONS = int(os.environ.get("MUTATIONS", "2000"))
BATCH = 500

MOST_SECONDS = 5.0
"""CPU time for a file and reader; the largest file has a megabyte."""

LINE_END = re.compile(rb"\r\n|\r|\n")
SHORT = Series("file", ["2026-01-05", "2026-01-05 00:01"], np.array([1_767_571_200, 1_767_571_260]), np.ones(2), 60)

Reader = Callable[[Path, list[str]], Any]


def replay(path: Path, told: list[str]) -> list[bytes]:
    """Returns what a replay of the file sends."""
    sent = []
    for item in ReplaySource((str(path),)).items():
        if isinstance(item, BadInput):
            told.append(f"{item.place}: {item.reason}")
        elif isinstance(item, SourceRecord):
            sent.append(item.value or b"")
    return sent


def read_posts(path: Path, told: list[str]) -> set[str]:
    table = read_post_csv(path)
    told += [f"{bad.place}: {bad.reason}" for bad in table.bad]
    return set(table.posts)


def judge(path: Path, told: list[str]) -> Series:
    series = read_series(path, on_bad_line=told.append)
    judge_series(series, DEFAULT_POLICY)
    return series


READERS: dict[str, Reader] = {
    "replay": replay,
    "forecast backtest": lambda path, told: read_cascades((str(path),), None, told.append),
    "replay --posts": read_posts,
    "forecast backtest --posts": lambda path, told: set(read_post_info(path, told.append)),
    "spikes backtest": judge,
    "spikes backtest --labels": lambda path, _: read_labels(path, [SHORT]),
    "replay --resume": lambda path, _: Bookmark(path, ("/a/b",)).read(),
}


def is_plain(content: bytes) -> bool:
    """Tells whether a file is UTF-8 beyond doubt: not packed, and with nothing that may tell another encoding."""
    return b"\0" not in content and not content.startswith((b"\x1f\x8b", b"\xff", b"\xfe"))


def lines_in(content: bytes) -> list[bytes]:
    """Returns the lines that are not blank; a mark before the file or a line is no part of either."""
    lines = LINE_END.split(content.removeprefix(b"\xef\xbb\xbf"))
    return [bare for line in lines if (bare := line.removeprefix(b"\xef\xbb\xbf").strip(b" \t\n\r\x0b\f"))]


def check_events(content: bytes, sent: list[bytes], told: list[str]) -> None:
    """Each line is sent or told, and each that is whole is sent."""
    lines = Counter(lines_in(content))
    assert len(sent) + len(told) == lines.total(), told[:3]
    events = Counter(sent)
    for line in map(str.encode, OWN):
        assert events[line] >= lines[line], line
    by_id = Counter(json.loads(value).get("event_id") for value in sent)
    for line in CASCADES:
        assert by_id[json.loads(line)["event_id"]] >= lines[line.encode()], line


def check_posts(content: bytes, posts: set[str]) -> None:
    """Each post whose row is whole is read, where quotes and the head are as they were."""
    lines = LINE_END.split(content.removeprefix(b"\xef\xbb\xbf"))
    if b'"' not in content and lines[0] == POSTS[0].encode():
        assert {row.split(",")[0] for row in POSTS[1:] if row.encode() in lines and '"' not in row} <= posts


def check_series(content: bytes, series: Series, told: list[str]) -> None:
    """Times rise, and each row is read or told."""
    assert (np.diff(series.times) > 0).all()
    lines = LINE_END.split(content.removeprefix(b"\xef\xbb\xbf"))
    if b'"' not in content and lines[0] == SERIES[0].encode():
        rows = [line for line in lines[1:] if line.strip(b" ,\t\x0b\f\x1c\x1d\x1e\x1f\xc2\x85\xa0")]
        assert len(series.times) + len(told) <= len(rows)
        assert len(series.times) + len(told) >= sum(line.isascii() for line in rows)


def run(path: Path, reader: str) -> tuple[Any, list[str]]:
    """Returns what a reader makes of a file, None where the file is refused, and the bad lines that it names."""
    told: list[str] = []
    began = time.process_time()
    try:
        found = READERS[reader](path, told)
    except EngagementError as error:
        found, refusal = None, str(error)
    assert found is not None or str(path) in refusal
    took = time.process_time() - began
    assert took < MOST_SECONDS, f"{reader} takes {took:.1f} s"
    for line in told:
        assert re.match(rf"{re.escape(str(path))}:[1-9]\d*: \S", line), f"{reader}: {line!r}"
    return found, told


def check_mutant(seed: int, path: Path) -> None:
    kind, content = mutant(seed)
    path.write_bytes(content)
    for reader in READERS:
        try:
            found, told = run(path, reader)
            if found is None or not is_plain(content):
                continue
            if reader == "replay":
                check_events(content, found, told)
            elif reader == "forecast backtest":
                assert len(told) <= len(lines_in(content))
            elif reader.endswith("--posts"):
                check_posts(content, found)
            elif kind == "series" and reader == "spikes backtest":
                check_series(content, found, told)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"{reader}: {error!r}") from error


@pytest.mark.parametrize("first", range(0, MUTATIONS, BATCH))
def test_mutated_files_are_read_or_named(first: int, tmp_path: Path) -> None:
    run_schedules(lambda seed: check_mutant(seed, tmp_path / "file"), first, min(BATCH, MUTATIONS - first))


def test_the_mutations_are_what_they_should_be() -> None:
    files = [mutant(seed) for seed in range(1000)]
    assert files == [mutant(seed) for seed in range(1000)]
    packed = sum(file.content.startswith(b"\x1f\x8b") for file in files)
    whole = sum(line.encode() in file.content for file in files for line in OWN + CASCADES)
    assert packed > 150
    assert whole > 500
    assert sum(is_plain(file.content) for file in files) > 400

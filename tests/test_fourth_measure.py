"""Measures are data: a kind of event that counts like a like takes edits of three files and a migration.

The edits are made to a copy of the sources, and the checks of fourth_measure.py run there.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from processors.runtime.kernel_cache import VARIABLE
from schemas.tables import TABLES

ROOT: Final = Path(__file__).parent.parent
SOURCES: Final = ("schemas", "pipeline", "processors", "producers", "deploy", "tests")

EDITS: Final[dict[str, dict[str, str]]] = {
    "schemas/topics.py": {
        '"share", "comment"]': '"share", "comment", "click"]',
        '    "comment": "Comments and replies, and their deletion.",\n': (
            '    "comment": "Comments and replies, and their deletion.",\n'
            '    "click": "Clicks, and clicks taken back.",\n'
        ),
    },
    "schemas/metrics.py": {
        '"shares": 1, "comments": 1}': '"shares": 1, "comments": 1, "clicks": 1}',
        '"shares": 2, "comments": 3}': '"shares": 2, "comments": 3, "clicks": 0.5}',
    },
    "producers/simulation/cascades.py": {
        '"like": 0.62, "share": 0.18, "comment": 0.20}': '"like": 0.42, "share": 0.18, "comment": 0.20, "click": 0.20}'
    },
}
"""All that the code needs, beside the migration that adds the columns."""

TRUTH: Final[dict[str, dict[str, str]]] = {
    "tests/truth.py": {
        'KINDS = ("like", "share", "comment")': 'KINDS = ("like", "share", "comment", "click")',
        'NAMES = ("likes", "shares", "comments")': 'NAMES = ("likes", "shares", "comments", "clicks")',
        '"plain": (1, 1, 1), "default": (1, 2, 3)': '"plain": (1, 1, 1, 1), "default": (1, 2, 3, 0.5)',
    },
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources in which `click` is a kind of event."""
    root = tmp_path_factory.mktemp("clicks")
    for name in SOURCES:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "end_to_end"))
    for name, edits in (EDITS | TRUTH).items():
        text = (root / name).read_text()
        for old, new in edits.items():
            assert text.count(old) == 1, f"{name} has changed: {old}"
            text = text.replace(old, new)
        (root / name).write_text(text)
    return root


def test_a_fourth_measure_takes_at_most_six_files() -> None:
    assert len(EDITS) + len(["the migration"]) <= 6


@pytest.mark.slow
def test_fold_rows_cells_and_messages_count_it(copy: Path) -> None:
    _check(copy, {})


@pytest.mark.slow
def test_tables_and_views_show_it(copy: Path, environment: dict[str, str]) -> None:
    columns = {table.name: {column.name: column.type for column in table.columns} for table in TABLES}
    (copy / "columns.json").write_text(json.dumps(columns))
    _check(copy, environment, "columns.json")


def _check(copy: Path, environment: dict[str, str], *arguments: str) -> None:
    # Kernels of the copy are compiled once, in the copy: those of the sources are others.
    its = {name: value for name, value in (os.environ | environment).items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fourth_measure", *arguments],
        cwd=copy,
        env=its | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5_000:]

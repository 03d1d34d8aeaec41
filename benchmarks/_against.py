"""`whole_job.py --against REV`: the same loads on the code of an earlier revision, in alternation with the code here.

On a machine that others use too, CPU an event differs from run to run by more than the bounds. Each run therefore has
a neighbour in time, which goes first in every second pair, and the median of the ratios of all pairs counts.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent.parent

BOUNDS: Final = {"the whole job": 1.03, "ClickHouse": 1.15}
"""The highest ratio to the earlier revision: CPU an event of the worker, and of ClickHouse."""

_LOAD: Final = re.compile(r"^[\d,]+ events(.*)$")
_FIGURE: Final = re.compile(r"^  (the whole job|ClickHouse), CPU us an event +([\d.]+)")

Figures = dict[tuple[str, str], float]
"""Load and program -> CPU microseconds an event."""


def compare(revision: str, pairs: int, options: list[str]) -> bool:
    """Runs `whole_job.py` with the options in as many pairs and prints the ratios. True: all are within BOUNDS.

    Raises CalledProcessError for an unknown revision, or where a run fails.
    """
    ratios: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with _checked_out(revision) as earlier:
        for tree in (earlier, HERE):
            _run(tree, "-m", "processors.compile_kernels")
        for pair in range(pairs):
            order = (earlier, HERE) if pair % 2 == 0 else (HERE, earlier)
            figures = {tree: figures_of(_run(tree, "benchmarks/whole_job.py", *options)) for tree in order}
            for key, before in figures[earlier].items():
                ratios.setdefault(key, []).append((before, figures[HERE][key]))
    kept = [tell(key, revision, found) for key, found in ratios.items()]
    return all(kept)


def figures_of(text: str) -> Figures:
    """Reads what `whole_job.py` has printed."""
    load, figures = "", Figures()
    for line in text.splitlines():
        if found := _LOAD.match(line):
            load = found.group(1).strip()
        elif found := _FIGURE.match(line):
            figures[load, found.group(1)] = float(found.group(2))
    return figures


@contextmanager
def _checked_out(revision: str) -> Iterator[Path]:
    """A work tree of the revision, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="engagement-against-") as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, revision], cwd=HERE, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=HERE, check=True)


def _run(tree: Path, *command: str) -> str:
    """Runs Python in the tree, with its modules; returns what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "ENGAGEMENT_PAGE_CLICKHOUSE"}
    return subprocess.run(  # an earlier revision does not know the page's setting
        [sys.executable, *command],
        cwd=tree,
        env=environment | {"PYTHONPATH": str(tree)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def tell(key: tuple[str, str], revision: str, found: list[tuple[float, float]]) -> bool:
    """Prints the figures of one program under one load. True: the median ratio is within its bound."""
    load, program = key
    ratios = sorted(now / before for before, now in found)
    usual, bound = statistics.median(ratios), BOUNDS[program]
    before, now = (statistics.median(values) for values in zip(*found, strict=True))
    spread = ", ".join(f"{ratio - 1:+.1%}" for ratio in ratios)
    print(f"{load}: {program}, CPU us an event   {revision} {before:.1f}   here {now:.1f}")
    print(f"  {usual - 1:+.1%}   (of {spread}; at most {bound - 1:+.0%}: {'kept' if usual <= bound else 'NOT kept'})")
    return usual <= bound

"""The sizing table of docs/operations.md is what benchmarks/sizing.py prints for the figures that stand beside it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
SECTION: Final = (ROOT / "docs/operations.md").read_text().split("\n## How large\n")[1].split("\n## ")[0]


def printed(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks/sizing.py", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("options", re.findall(r"python benchmarks/sizing\.py (--worker-us .+)", SECTION))
def test_the_table_is_what_the_benchmark_prints(options: str) -> None:
    done = printed(*options.split())
    assert done.returncode == 0, done.stderr
    assert done.stdout in SECTION


def test_a_load_twice_as_large_needs_twice_as_much() -> None:
    """By hand: 50 us at 10,000 events/s are half a core, which is one worker, and one to spare; 20 us are 0.4 of a core
    at half its use, and two for queries; 100 bytes are 86.4 GB a day, half as much again for merges."""
    figures = ["--worker-us", "50", "--clickhouse-us", "20", "--disk-bytes", "100", "--kafka-bytes", "200"]
    done = printed(*figures, "--rates", "10000,20000", "--days", "10")
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in done.stdout.splitlines()[2:]]
    assert rows == [
        ["10,000", "864 M", "2", "3", "1.3 TB", "1.2 TB"],
        ["20,000", "1,728 M", "3", "3", "2.6 TB", "2.4 TB"],
    ]
    half = printed("--worker-us", "50")
    assert half.returncode == 2
    assert "give all four figures, or none of them" in half.stderr

"""Whoever waits for kernels to be compiled is told how far they are, and no kernel is left for later."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from numba import njit

from pipeline.settings import Settings
from processors.runtime.kernel_cache import VARIABLE
from processors.runtime.kernel_progress import KernelProgress
from tests.end_to_end.checks import engagement, environment_of
from tests.end_to_end.workers import START_SECONDS, wait_until
from tests.patience import SCALE

ROOT = Path(__file__).parent.parent


def test_what_is_compiled_is_told_and_silence_where_nothing_is() -> None:
    shown: list[str | None] = []
    said: list[str] = []
    progress = KernelProgress(shown.append, said.append)
    with progress.watch():
        pass
    assert (shown, said) == ([], [])

    @njit
    def twice(x: Any) -> Any:
        return 2 * x

    with progress.watch(), progress.watch():
        twice(1)
    assert shown[0] is not None
    assert shown[0].startswith("compiling kernels, ")
    assert shown[-1] is None
    assert said[0] == shown[0]
    assert said[-1].startswith("compiled ")
    shown.clear()
    twice(1.5)
    assert shown == [], "nobody watches any more"


@pytest.mark.slow
def test_no_kernel_is_left_for_the_first_batches() -> None:
    """Work after the kernels are loaded loads and compiles no other: a process of its own, which has loaded no more."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels_ahead"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600 * SCALE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line[:200] for line in done.stdout.splitlines()] == []


def test_a_worker_that_compiles_says_so(settings: Settings, tmp_path: Path) -> None:
    """The command itself, with a cache from which some kernels are gone."""
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    compiled = Path(os.environ[VARIABLE])
    cache = tmp_path / "cache"
    shutil.copytree(compiled, cache / compiled.name)
    gone = [file for name in ("update", "firing_counts", "judge") for file in cache.rglob(f"kernels.{name}-*")]
    assert gone
    for file in gone:
        file.unlink()
    log = tmp_path / "log"
    answers: list[tuple[int, dict[str, Any]]] = []
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [sys.executable, "-c", "from pipeline.cli import main; main()", "work"],
            env=environment | {VARIABLE: str(cache)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:

        def is_ready() -> bool:
            assert worker.poll() is None, log.read_text()
            found = log.read_text().partition("status at ")[2].partition("/metrics")[0]
            if found:
                answers.append(_get(f"{found}/readyz"))
            return bool(answers) and answers[-1][0] == 200

        wait_until(is_ready, 2 * START_SECONDS, "it is not ready", log.read_text)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30 * SCALE) == 0, log.read_text()
    finally:
        worker.kill()
        worker.wait()
    told = [answer["reasons"][0] for status, answer in answers if status == 503]
    compiling = [reason for reason in told if reason.startswith("compiling kernels, ")]
    assert compiling, told
    assert all(answer["live"] for _, answer in answers)
    assert "compiling kernels, " in log.read_text()
    assert f"kept in {cache / compiled.name}" in log.read_text()
    assert [file for file in gone if file.exists()], "they are kept for the next start"


def _get(url: str) -> tuple[int, dict[str, Any]]:
    time.sleep(0.1)
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)

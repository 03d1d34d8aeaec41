"""Old posts are deleted and people erased by one program at a time, also after kill -9 of one of them."""

import signal
import subprocess
import sys
import time

import pytest

from pipeline.clickhouse.exclusive import exclusive
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from tests.end_to_end.checks import environment_of

HOLDS = """
import sys, time
from pipeline.clickhouse.exclusive import exclusive
from pipeline.settings import load_settings
with exclusive(load_settings(), 30, lambda seconds: time.sleep(seconds) is None):  # after the test before
    print("held", flush=True)
    time.sleep(600)
"""


def sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return True


def test_the_second_waits_and_is_refused(tables: Settings) -> None:
    with exclusive(tables, 0, sleep):
        began = time.monotonic()
        with pytest.raises(Unavailable, match="another program erases people"), exclusive(tables, 1, sleep):
            pass
        assert time.monotonic() - began >= 1
        with pytest.raises(Unavailable), exclusive(tables, 600, lambda seconds: False):
            pass
    with exclusive(tables, 30, sleep):
        pass


def test_a_program_that_was_killed_holds_nothing(tables: Settings) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS], env=environment_of(tables, {}), stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Unavailable), exclusive(tables, 0, sleep):
        pass
    holder.kill()
    assert holder.wait() == -signal.SIGKILL
    with exclusive(tables, 60, sleep):
        pass

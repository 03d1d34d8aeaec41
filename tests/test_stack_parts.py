"""What the stack is made of: processes known by pid and start time, jars with their sums, the private name."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.embedded import jars
from pipeline.embedded.ports import find_free_port
from pipeline.embedded.processes import ProcessIdentity, is_alive, kill, send, spawn, stop
from pipeline.errors import StackError
from tests.patience import SOON


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[ProcessIdentity]:
    """A process of ours that ends on SIGTERM."""
    process = spawn(["sleep", "60"], log=tmp_path / "log", cwd=tmp_path, environment=dict(os.environ))
    yield process
    kill(process)


def test_a_process_ends_on_sigterm_and_only_once(sleeper: ProcessIdentity) -> None:
    assert is_alive(sleeper)
    assert stop(sleeper, grace=5)
    assert not is_alive(sleeper)
    assert not stop(sleeper, grace=5)


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    log = tmp_path / "log"
    process = spawn([sys.executable, "-c", script], log=log, cwd=tmp_path, environment=dict(os.environ))
    while "ready" not in log.read_text():
        time.sleep(0.02)
    began = time.monotonic()
    assert stop(process, grace=0.5)
    assert 0.5 <= time.monotonic() - began < SOON
    assert not is_alive(process)


def test_a_stranger_with_a_recycled_pid_is_never_signalled(sleeper: ProcessIdentity) -> None:
    recycled = ProcessIdentity(pid=sleeper.pid, started=sleeper.started + "0")
    assert not send(recycled, signal.SIGKILL)
    assert not stop(recycled, grace=1)
    assert not kill(recycled)
    assert is_alive(sleeper)


def test_a_corrupted_jar_is_refused(tmp_path: Path) -> None:
    """No network: a cache with all jars, one of them wrong."""
    cache = tmp_path / "jars"
    cache.mkdir()
    for jar in jars.ensure_jars(print):
        (cache / jar.name).symlink_to(jar)
    assert len(jars.ensure_jars(print, cache=cache)) == len(jars.locked_jars())
    victim = cache / "kafka_2.13-4.4.0.jar"
    content = victim.read_bytes()
    victim.unlink()
    victim.write_bytes(content[:-1] + b"x")
    with pytest.raises(StackError, match=r"kafka_2\.13-4\.4\.0\.jar is not the jar that jars\.lock names.*delete it"):
        jars.ensure_jars(print, cache=cache)


def test_an_unreachable_registry_is_one_clear_line(tmp_path: Path) -> None:
    closed = f"http://127.0.0.1:{find_free_port(())}"
    proxies = {"HTTPS_PROXY": closed, "https_proxy": closed, "NO_PROXY": "", "no_proxy": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.embedded.jars"],
        env={**os.environ, **proxies, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "check the network and HTTPS_PROXY" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "engagement" / "jars").glob("*.jar"))


def test_the_lock_names_kafka_and_one_version_of_each_jar() -> None:
    locked = jars.locked_jars()
    names = [jar.coordinate.rpartition(":")[0] for jar in locked]
    assert len(set(names)) == len(names) == 45
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) for jar in locked)
    versions = {jar.coordinate.rpartition(":")[2] for jar in locked if jar.coordinate.startswith("org.apache.kafka:")}
    assert versions == {"4.4.0"}


def test_a_wheel_without_the_private_name_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "chdb").mkdir()
    (tmp_path / "chdb" / "__init__.py").touch()
    server = Path(jars.__file__).with_name("clickhouse_server.py")
    done = subprocess.run(
        [sys.executable, "-P", server, "data"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "the installed chdb-core is not one that this project knows" in done.stderr
    assert "Traceback" not in done.stderr

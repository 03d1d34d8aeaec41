"""Processes that outlive the one that starts them, known by pid *and* start time.

A pid alone is not a name: after a crash or a reboot it may belong to a stranger. So every process is written down with
the time at which the kernel started it, and is signalled through a pidfd whose start time was looked at after it was
opened.
"""

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from pipeline.errors import StackError

LOG_LIMIT: Final = 16 * 2**20
"""A log above this many bytes is moved to `<name>.1` before its process starts again."""


class ProcessIdentity(BaseModel):
    """Which process it is; `started` is boot id / clock ticks from boot to start (field 22 of /proc/<pid>/stat)."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: str


def identify_process(pid: int) -> ProcessIdentity | None:
    """The process that has this pid now, None where there is none or only its remains (a zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the name in parentheses and may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    state, threads, started = fields[0], int(fields[17]), fields[19]
    # A killed process of many threads may be a zombie at its head while the others still end, and hold its ports.
    if state in "ZX" and threads <= 1:
        _reap(pid)
        return None
    return ProcessIdentity(pid=pid, started=f"{boot}/{started}")


def is_alive(process: ProcessIdentity | None) -> bool:
    """Whether that very process still runs."""
    return process is not None and identify_process(process.pid) == process


def spawn(command: Sequence[str | Path], *, log: Path, cwd: Path, environment: Mapping[str, str]) -> ProcessIdentity:
    """Start a process in a session of its own: no terminal, no standard input, both outputs appended to `log`.

    It holds none of the caller's pipes, so `$(...)` around the caller returns. Raises StackError when it cannot be
    started.
    """
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_name(log.name + ".1"))
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            raise StackError(f"{command[0]} cannot be started: {error}; install the extra `embedded` anew") from None
    identity = identify_process(child.pid)
    if identity is None:
        raise StackError(f"{Path(command[0]).name} ended at once: see {log}")
    return identity


def send(process: ProcessIdentity, signal_number: int) -> bool:
    """Signal that very process; False, and nothing signalled, when it is gone or its pid belongs to another."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # The handle holds on to whoever has the pid now; only after that is it certain who it is.
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(handle, signal_number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def stop(process: ProcessIdentity, *, grace: float) -> bool:
    """End it: SIGTERM, after `grace` seconds SIGKILL. Blocks until it is gone; False when it was gone before.

    Raises StackError when not even SIGKILL ends it within 10 s (a process stuck in the kernel).
    """
    if not send(process, signal.SIGTERM):
        return False
    # A stopped process takes no SIGTERM until it goes on.
    send(process, signal.SIGCONT)
    if wait_until_gone(process, grace):
        return True
    kill(process)
    return True


def kill(process: ProcessIdentity) -> bool:
    """SIGKILL, then blocks until it is gone; False when it was gone before. Raises as `stop` does."""
    if not send(process, signal.SIGKILL):
        return False
    if not wait_until_gone(process, 10):
        raise StackError(f"process {process.pid} does not end even on SIGKILL: see `ps -o stat,wchan -p {process.pid}`")
    return True


def wait_until_gone(process: ProcessIdentity, seconds: float) -> bool:
    """Block until that process has ended, at most so long; whether it has."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not is_alive(process):
            return True
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        # The kernel says so when the last thread has ended.
        if poll.poll(seconds * 1000):
            _reap(process.pid)
            return True
        return False
    finally:
        os.close(handle)


def _reap(pid: int) -> None:
    """Take the remains away where it is our child; elsewhere init does."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)

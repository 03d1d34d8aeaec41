"""Processes that outlive their starter, identified by pid *and* start time.

A pid alone is no identity: after a crash or a reboot the pid may belong to another process. Every process is therefore
recorded with the time at which the kernel started it, and signalled through a pidfd whose start time is compared after
the pidfd was opened.
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
"""A log larger than this, in bytes, is moved to `<name>.1` before its process starts again."""


class ProcessIdentity(BaseModel):
    """The identity of a process; `started`: boot id / clock ticks from boot to start (field 22 of /proc/<pid>/stat)."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: str


def identify_process(pid: int) -> ProcessIdentity | None:
    """Returns the process that has a pid now; None without one, or for a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the name in parentheses, which may contain spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    state, threads, started = fields[0], int(fields[17]), fields[19]
    # The main thread of a killed process may be a zombie while other threads are ending and still hold ports.
    if state in "ZX" and threads <= 1:
        _reap(pid)
        return None
    return ProcessIdentity(pid=pid, started=f"{boot}/{started}")


def is_alive(process: ProcessIdentity | None) -> bool:
    """Tells whether exactly this process still runs."""
    return process is not None and identify_process(process.pid) == process


def spawn(command: Sequence[str | Path], *, log: Path, cwd: Path, environment: Mapping[str, str]) -> ProcessIdentity:
    """Starts a process in a session of its own, without terminal and standard input; outputs are appended to `log`.

    Only this user may read files that the process makes. The process holds no pipe of the caller, so `$(...)` around
    the caller returns. Raises StackError when the process cannot be started.
    """
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_name(log.name + ".1"))
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        try:
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(environment),
                start_new_session=True,
                umask=0o077,
            )
        except OSError as error:
            raise StackError(f"{command[0]} cannot be started: {error}; install the extra `embedded` again") from None
    identity = identify_process(child.pid)
    if identity is None:
        raise StackError(f"{Path(command[0]).name} ended at once: see {log}")
    return identity


def send(process: ProcessIdentity, signal_number: int) -> bool:
    """Signals exactly this process; returns False, without a signal, when the process is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # The handle pins the process that has the pid now; only then can its identity be compared.
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(handle, signal_number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def stop(process: ProcessIdentity, *, grace: float) -> bool:
    """Ends a process by SIGTERM, and after `grace` seconds by SIGKILL; blocks until the process is gone.

    Returns False when the process was gone before. Raises StackError when SIGKILL does not end it within 10 s, which a
    process stuck in the kernel survives.
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
    """Ends a process by SIGKILL; blocks, returns and raises as `stop` does."""
    if not send(process, signal.SIGKILL):
        return False
    if not wait_until_gone(process, 10):
        raise StackError(f"process {process.pid} does not end even on SIGKILL: see `ps -o stat,wchan -p {process.pid}`")
    return True


def wait_until_gone(process: ProcessIdentity, seconds: float) -> bool:
    """Blocks until a process has ended, for `seconds` at most; tells whether the process has."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not is_alive(process):
            return True
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        # The pidfd becomes readable when the last thread has ended.
        if poll.poll(seconds * 1000):
            _reap(process.pid)
            return True
        return False
    finally:
        os.close(handle)


def _reap(pid: int) -> None:
    """Reaps a child of this process; init reaps others."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)

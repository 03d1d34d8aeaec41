"""The embedded stack: one ClickHouse and one or more nodes of Kafka in one folder, on loopback.

    stack = Stack("/tmp/try", brokers=3)
    print(stack.up().kafka)         # returns when all parts serve
    stack.kill("kafka-2")           # as a crash would
    stack.start("kafka-2")
    stack.down()

The folder holds data, logs and state. Any part may be killed at any time; the next `up` restarts dead parts on the same
ports and with the same data.
"""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from pipeline.embedded import clickhouse, kafka, processes
from pipeline.embedded.endpoints import PartStatus, StackEndpoints, StackStatus, endpoints_of
from pipeline.embedded.jars import ensure_jars
from pipeline.embedded.plan import (
    ANY_PORTS,
    CLICKHOUSE,
    PortsPolicy,
    full_name,
    node_number,
    part_names,
    plan_state,
    ports_of,
)
from pipeline.embedded.ports import HOST, is_free
from pipeline.embedded.processes import ProcessIdentity
from pipeline.embedded.state import StackState, load_state, locked, make_private_folder, save_state, write_private
from pipeline.errors import StackError

DEFAULT_DIRECTORY: Final = Path(".engagement/stack")
STACK_FREE_BYTES: Final = 2 * 2**30
"""Free disk space that a start needs."""

SERVE_SECONDS: Final = 180.0
"""How long a part may take to serve."""

LOCK_SECONDS: Final = 300.0
"""How long a command waits for another command on the same stack."""


class Stack:
    """The stack in a folder. Stacks in several folders run side by side."""

    def __init__(
        self,
        directory: Path | str = DEFAULT_DIRECTORY,
        *,
        brokers: int | None = None,
        ports: PortsPolicy = ANY_PORTS,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """With `brokers` None an old folder keeps the number, and a new folder has a single broker.

        `say` gets a line about long waits.
        """
        self.directory = Path(directory).absolute()
        self._brokers = brokers
        self._ports = ports
        self._say = say
        self._saving = threading.Lock()

    def up(self) -> StackEndpoints:
        """Starts all parts that are dead and blocks until all serve (some 6 s; 10 s more to fetch jars the first time).

        Running parts are left alone. Raises StackError, after ending the parts that this call started.
        """
        if not sys.platform.startswith("linux"):
            raise StackError(
                "the embedded stack runs on Linux only: set ENGAGEMENT_KAFKA and ENGAGEMENT_CLICKHOUSE to a real one"
            )
        self._make_directory()
        with self._locked():
            state = plan_state(load_state(self.directory), self._brokers, self._ports)
            self._start(state, _dead(state))
        return endpoints_of(state)

    def down(self) -> list[str]:
        """Ends all parts, blocks until all are gone, and returns the names of ended parts. The data stay."""
        if not self.directory.is_dir():
            return []
        with self._locked():
            state = load_state(self.directory)
            return self._end(state, list(state.processes)) if state else []

    def status(self) -> StackStatus:
        """Asks each part for the status; waits for no other command. Blocks for up to 2 s per part."""
        state = load_state(self.directory)
        if state is None:
            return StackStatus(str(self.directory), False, None, [])
        parts = [self._part_status(state, name) for name in part_names(state)]
        running = all(part.state == "serving" for part in parts)
        return StackStatus(str(self.directory), running, endpoints_of(state), parts)

    def kill(self, name: str) -> None:
        """Kills a part (`clickhouse`, `kafka-2`; `kafka` is `kafka-1`) and blocks until the part is gone.

        Raises StackError if the part did not run.
        """
        with self._locked():
            if not processes.kill(self._process(name)):
                raise _not_running(name)

    def start(self, name: str) -> None:
        """Starts a dead part and blocks until the part serves; leaves a running part alone."""
        with self._locked():
            state = self._state()
            name = full_name(state, name)
            if not processes.is_alive(state.processes.get(name)):
                self._start(state, [name])

    def signal(self, name: str, signal_number: int) -> None:
        """Sends a signal to a part (SIGSTOP makes a hang, SIGCONT ends it). Raises StackError if the part is dead."""
        if not processes.send(self._process(name), signal_number):
            raise _not_running(name)

    def part_names(self) -> list[str]:
        """Returns the names of all parts: clickhouse, kafka-1, kafka-2, ..."""
        return part_names(self._state())

    def dead_parts(self) -> list[str]:
        """Returns the names of parts without a process; cheap, because only the kernel is asked."""
        return _dead(self._state())

    def pid(self, name: str) -> int:
        """Returns the pid of a part's latest start. Raises StackError if the part was never started."""
        return self._process(name).pid

    def log(self, name: str) -> Path:
        """Returns the path of a part's log; takes the full name."""
        return self.directory / "logs" / f"{name}.log"

    def _make_directory(self) -> None:
        try:
            is_own = not self.directory.exists() or (self.directory / "stack.json").exists()
            if is_own or not any(self.directory.iterdir()):
                make_private_folder(self.directory)
            make_private_folder(self.directory / "logs")
            free = shutil.disk_usage(self.directory).free
        except OSError as error:
            raise StackError(f"{self.directory}: {error.strerror}; name another folder with --dir") from None
        if free < STACK_FREE_BYTES:
            raise StackError(
                f"{self.directory}: only {free / 2**30:.1f} GB free, the stack wants 2 GB: "
                "free some, or name another folder with --dir"
            )
        ignore = self.directory / ".gitignore"
        if not ignore.exists():
            write_private(ignore, "*\n")

    def _locked(self) -> AbstractContextManager[None]:
        if not self.directory.is_dir():
            raise _no_stack(self.directory)
        return locked(self.directory / "stack.lock", patience=LOCK_SECONDS, what=f"the stack in {self.directory}")

    def _state(self) -> StackState:
        state = load_state(self.directory)
        if state is None:
            raise _no_stack(self.directory)
        return state

    def _process(self, name: str) -> ProcessIdentity:
        state = self._state()
        process = state.processes.get(full_name(state, name))
        if process is None:
            raise _not_running(name)
        return process

    def _start(self, state: StackState, names: list[str]) -> None:
        """Starts parts and waits until all serve; ends them again after a failure or Ctrl-C."""
        if not names:
            return
        for port in (port for name in names for port in ports_of(state, name)):
            if not is_free(port):
                raise StackError(
                    f"port {port} is taken: end what listens there (`ss -ltnp 'sport = :{port}'`), "
                    "or ask for others with --kafka-port, --clickhouse-port, --http-port"
                )
        jars = ensure_jars(self._say) if names != [CLICKHOUSE] else []
        save_state(self.directory, state)
        try:
            with ThreadPoolExecutor(len(names)) as threads:
                for start in [threads.submit(self._spawn, state, name, jars) for name in names]:
                    start.result()
            self._wait(state, names)
        except BaseException:
            self._end(state, names)
            raise

    def _spawn(self, state: StackState, name: str, jars: list[Path]) -> None:
        """Starts a part and records the process; runs in a thread, which Ctrl-C does not interrupt."""
        log = self.log(name)
        if name == CLICKHOUSE:
            process = clickhouse.start_clickhouse(self.directory, state, log)
        else:
            process = kafka.start_broker(self.directory, state, node_number(name), jars, log)
        with self._saving:
            state.processes[name] = process
            save_state(self.directory, state)

    def _wait(self, state: StackState, names: list[str]) -> None:
        deadline = time.monotonic() + SERVE_SECONDS
        nodes = [node_number(name) for name in names if name != CLICKHOUSE]
        for name in names:
            while not self._serves(state, name, with_nodes=nodes):
                log = self.log(name)
                if not processes.is_alive(state.processes[name]):
                    raise StackError(f"{name} ended while starting: {_last_line(log)} (all of it in {log})")
                if time.monotonic() > deadline:
                    raise StackError(f"{name} does not serve after {SERVE_SECONDS:.0f} s: see {log}")
                time.sleep(0.1)

    def _serves(self, state: StackState, name: str, *, with_nodes: Iterable[int] = ()) -> bool:
        if name == CLICKHOUSE:
            return clickhouse.clickhouse_serves(state)
        return kafka.broker_serves(state, node_number(name), with_nodes=with_nodes)

    def _end(self, state: StackState, names: Iterable[str]) -> list[str]:
        """Ends parts side by side, since Kafka's nodes need each other to stop; returns the names of parts that ran."""
        names = list(names)
        running = [name for name in names if processes.is_alive(state.processes.get(name))]

        def end(name: str) -> None:
            grace = clickhouse.CLICKHOUSE_STOP_SECONDS if name == CLICKHOUSE else kafka.BROKER_STOP_SECONDS
            processes.stop(state.processes[name], grace=grace)

        if running:
            with ThreadPoolExecutor(len(running)) as threads:
                list(threads.map(end, running))
        for name in names:
            state.processes.pop(name, None)
        save_state(self.directory, state)
        return running

    def _part_status(self, state: StackState, name: str) -> PartStatus:
        process = state.processes.get(name)
        alive = processes.is_alive(process)
        serving = alive and self._serves(state, name)
        return PartStatus(
            name=name,
            state="serving" if serving else "starting" if alive else "dead",
            pid=process.pid if process and alive else None,
            address=", ".join(f"{HOST}:{port}" for port in ports_of(state, name)),
            log=str(self.log(name)),
        )


def _dead(state: StackState) -> list[str]:
    return [name for name in part_names(state) if not processes.is_alive(state.processes.get(name))]


def _no_stack(directory: Path) -> StackError:
    return StackError(f"no stack in {directory}: `engagement stack up` makes one")


def _not_running(name: str) -> StackError:
    return StackError(f"{name} does not run: `engagement stack up` starts it")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    telling = [line for line in lines[-40:] if "ERROR" in line or "Exception" in line or "chdb" in line] or lines
    return telling[-1][:300] if telling else "its log is empty"

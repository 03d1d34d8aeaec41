"""The state file of a stack, with ports and processes, and a lock between commands."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.embedded.processes import ProcessIdentity
from pipeline.errors import StackError


class BrokerPorts(BaseModel):
    """The ports of a node of Kafka: for clients and brokers, for controllers, and behind a proxy at port `proxy`."""

    model_config = ConfigDict(frozen=True)

    client: int
    controller: int
    behind_proxy: int | None = None
    proxy: int | None = None

    def all(self) -> list[int]:
        """Returns the ports that the node listens on, the port for clients first."""
        return [self.client, self.controller, *([self.behind_proxy] if self.behind_proxy else [])]


class StackState(BaseModel):
    """The state of a stack. Ports are kept while the stack is down, so that the next start uses the same ones."""

    cluster_id: str
    brokers: list[BrokerPorts]
    clickhouse_tcp: int
    clickhouse_http: int
    processes: dict[str, ProcessIdentity] = {}

    def ports(self) -> list[int]:
        """Returns all ports, the brokers' first."""
        kafka = [port for broker in self.brokers for port in broker.all()]
        return [*kafka, self.clickhouse_tcp, self.clickhouse_http]


def load_state(directory: Path) -> StackState | None:
    """Reads the state of the stack in a folder; None without one. Raises StackError for an unreadable file."""
    file = state_file(directory)
    try:
        return StackState.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a state file of this version"
        raise StackError(f"{file}: {reason}; take another folder with --dir, or delete this one") from None


def save_state(directory: Path, state: StackState) -> None:
    """Replaces the state file atomically: readers see the old or the new state, also after kill -9."""
    file = state_file(directory)
    draft = file.with_suffix(".new")
    with draft.open("w") as output:
        output.write(state.model_dump_json(indent=2) + "\n")
        output.flush()
        os.fsync(output.fileno())
    draft.replace(file)


def state_file(directory: Path) -> Path:
    """Returns the path of the state file."""
    return directory / "stack.json"


@contextmanager
def locked(file: Path, *, patience: float, what: str) -> Iterator[None]:
    """Holds an exclusive lock on a file, created where missing. Raises StackError after `patience` seconds."""
    with file.open("a") as handle:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StackError(
                        f"{what} is busy ({file} is locked): wait for the other command, or end it"
                    ) from None
                time.sleep(0.1)
        # The kernel releases the lock when the file is closed, however the process ends.
        yield

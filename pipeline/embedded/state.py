"""What the stack remembers between two commands: ports, who runs, and a lock so that two commands do not meet."""

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
    """Where one node of Kafka listens: for clients and other brokers, and for controllers; and, where there is a proxy
    at the port `proxy`, for what that passes on."""

    model_config = ConfigDict(frozen=True)

    client: int
    controller: int
    behind_proxy: int | None = None
    proxy: int | None = None

    def all(self) -> list[int]:
        """All that the node listens on, the one for clients first."""
        return [self.client, self.controller, *([self.behind_proxy] if self.behind_proxy else [])]


class StackState(BaseModel):
    """The state file. Ports are kept while the stack is down, so that it comes back where it was."""

    cluster_id: str
    brokers: list[BrokerPorts]
    clickhouse_tcp: int
    clickhouse_http: int
    processes: dict[str, ProcessIdentity] = {}

    def ports(self) -> list[int]:
        """All of them, brokers first."""
        kafka = [port for broker in self.brokers for port in broker.all()]
        return [*kafka, self.clickhouse_tcp, self.clickhouse_http]


def load_state(directory: Path) -> StackState | None:
    """The state of the stack in that folder, None where there never was one. Raises StackError if it is unreadable."""
    file = state_file(directory)
    try:
        return StackState.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a state file of this version"
        raise StackError(f"{file}: {reason}; take another folder with --dir, or delete this one") from None


def save_state(directory: Path, state: StackState) -> None:
    """Replace the state file as a whole: a reader sees the old or the new one, also after kill -9."""
    file = state_file(directory)
    draft = file.with_suffix(".new")
    with draft.open("w") as output:
        output.write(state.model_dump_json(indent=2) + "\n")
        output.flush()
        os.fsync(output.fileno())
    draft.replace(file)


def state_file(directory: Path) -> Path:
    return directory / "stack.json"


@contextmanager
def locked(file: Path, *, patience: float, what: str) -> Iterator[None]:
    """Hold an exclusive lock on the file, made where missing; raises StackError after `patience` seconds of waiting."""
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
        # The kernel gives the lock back when the file is closed, however the process ends.
        yield

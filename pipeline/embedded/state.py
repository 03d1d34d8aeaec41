"""The state file of a stack, with ports and processes, and a lock between commands."""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from pipeline.embedded.processes import ProcessIdentity
from pipeline.errors import StackError
from pipeline.holds_secrets import HoldsSecrets

PRIVATE_FOLDER: Final = 0o700
PRIVATE_FILE: Final = 0o600
PRIVATE_UMASK: Final = 0o077
"""For the processes of a stack, whose files no other user may read."""


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


def kept_password(earlier: SecretStr | None) -> SecretStr:
    """Returns the earlier password, or a random password of 192 bits, made of letters, digits, - and _."""
    return earlier if earlier is not None and earlier.get_secret_value() else SecretStr(secrets.token_urlsafe(24))


class StackState(HoldsSecrets, BaseModel):
    """The state of a stack. Ports and passwords are kept while the stack is down, for the next start.

    `password`: of ClickHouse's user; `reader_password`: of the user who reads only. Both are empty in the state of a
    stack of an earlier version, which had none.
    """

    cluster_id: str
    brokers: list[BrokerPorts]
    clickhouse_tcp: int
    clickhouse_http: int
    processes: dict[str, ProcessIdentity] = {}
    password: SecretStr = SecretStr("")
    reader_password: SecretStr = SecretStr("")

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
    content = state.model_dump(mode="json") | {
        "password": state.password.get_secret_value(),
        "reader_password": state.reader_password.get_secret_value(),
    }
    write_private(draft, json.dumps(content, indent=2) + "\n")
    draft.replace(file)


def make_private_folder(folder: Path) -> None:
    """Makes a folder with its parents; only this user may enter the folder, also an old one."""
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    folder.chmod(PRIVATE_FOLDER)


def write_private(file: Path, text: str) -> None:
    """Writes a file for this user alone, and syncs the file to the disk."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, PRIVATE_FILE), "w") as output:
        os.fchmod(output.fileno(), PRIVATE_FILE)
        output.write(text)
        output.flush()
        os.fsync(output.fileno())


def state_file(directory: Path) -> Path:
    """Returns the path of the state file."""
    return directory / "stack.json"


@contextmanager
def locked(file: Path, *, patience: float, what: str) -> Iterator[None]:
    """Holds an exclusive lock on a file, created where missing. Raises StackError after `patience` seconds."""
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, PRIVATE_FILE), "a") as handle:
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

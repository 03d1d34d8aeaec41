"""The embedded stack: what is promised about kill -9, ports, pids and processes, on real ones."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from pipeline.clickhouse.client import ClickHouse
from pipeline.embedded.plan import PortsPolicy
from pipeline.embedded.ports import find_free_port
from pipeline.embedded.processes import ProcessIdentity, identify_process, kill, spawn
from pipeline.embedded.stack import Stack
from pipeline.embedded.state import load_state, save_state
from pipeline.errors import EngagementError, StackError
from pipeline.settings import Settings

pytestmark = pytest.mark.stack

ENGAGEMENT = [sys.executable, "-c", "from pipeline.cli import main; main()"]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[ProcessIdentity]:
    """A process of ours that ends on SIGTERM."""
    process = spawn(["sleep", "60"], log=tmp_path / "log", cwd=tmp_path, environment=dict(os.environ))
    yield process
    kill(process)


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that is not up yet, for tests of starting and ending."""
    the_stack = Stack(tmp_path / "own")
    yield the_stack
    the_stack.down()


def ask(stack: Stack, sql: str) -> str:
    """The answer of ClickHouse, over HTTP, as text."""
    found = stack.status().addresses
    assert found is not None
    return ask_as(found.clickhouse_http, found.http_headers(), sql)


def ask_as(address: str, headers: dict[str, str], sql: str) -> str:
    """The answer of ClickHouse to somebody who logs in by these headers."""
    request = urllib.request.Request(address, data=sql.encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.read().decode()).strip()


def run(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """The command `engagement`; its pipes must close for this to return."""
    return subprocess.run([*ENGAGEMENT, *arguments], capture_output=True, text=True, timeout=timeout, check=False)


def test_down_leaves_a_stranger_alone(own_stack: Stack, sleeper: ProcessIdentity) -> None:
    own_stack.up()
    own_stack.down()
    state = load_state(own_stack.directory)
    assert state is not None
    assert state.processes == {}
    state.processes["kafka-1"] = ProcessIdentity(pid=sleeper.pid, started="another boot/1")
    save_state(own_stack.directory, state)
    assert own_stack.down() == []
    assert identify_process(sleeper.pid) == sleeper


def test_kill_9_of_each_keeps_its_data_and_ports(fragile_stack: Stack) -> None:
    before = fragile_stack.status().addresses
    ask(fragile_stack, "CREATE TABLE default.kept (a Int32) ENGINE = MergeTree ORDER BY a")
    ask(fragile_stack, "INSERT INTO default.kept VALUES (1), (2)")
    for name in ("clickhouse", "kafka"):
        pid = fragile_stack.pid(name)
        fragile_stack.kill(name)
        assert identify_process(pid) is None
        full = "kafka-1" if name == "kafka" else name
        assert fragile_stack.dead_parts() == [full]
        assert {part.name: part.state for part in fragile_stack.status().parts}[full] == "dead"
        fragile_stack.start(name)
        assert fragile_stack.pid(name) != pid
    assert fragile_stack.status().running
    assert fragile_stack.status().addresses == before
    assert ask(fragile_stack, "SELECT count() FROM default.kept") == "2"
    ask(fragile_stack, "DROP TABLE default.kept")


def test_up_brings_back_only_what_is_dead(fragile_stack: Stack) -> None:
    clickhouse = fragile_stack.pid("clickhouse")
    fragile_stack.kill("kafka")
    fragile_stack.up()
    assert fragile_stack.pid("clickhouse") == clickhouse
    assert fragile_stack.status().running


def test_a_log_is_where_status_says_and_has_errors(stack: Stack) -> None:
    with pytest.raises(urllib.error.HTTPError):
        ask(stack, "SELECT no_such_column_here")
    logs = {part.name: Path(part.log) for part in stack.status().parts}
    assert "Kafka Server started" in logs["kafka-1"].read_text()
    deadline = time.monotonic() + 10
    while "no_such_column_here" not in logs["clickhouse"].read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "no_such_column_here" in logs["clickhouse"].read_text()


def test_every_listener_is_on_loopback(stack: Stack) -> None:
    listeners = set()
    for name in stack.part_names():
        for connection in psutil.Process(stack.pid(name)).net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip in ("127.0.0.1", "::ffff:127.0.0.1")
                listeners.add(connection.laddr.port)
    state = load_state(stack.directory)
    assert state is not None
    assert listeners == set(state.ports())


def test_mutations_run(stack: Stack) -> None:
    ask(stack, "CREATE TABLE default.mutated (a Int32) ENGINE = MergeTree ORDER BY a")
    ask(stack, "INSERT INTO default.mutated VALUES (1), (2)")
    ask(stack, "ALTER TABLE default.mutated DELETE WHERE a = 1 SETTINGS mutations_sync = 1")
    assert ask(stack, "SELECT * FROM default.mutated") == "2"
    ask(stack, "DROP TABLE default.mutated")


def test_the_reader_reads_only(stack: Stack) -> None:
    found, state = stack.status().addresses, load_state(stack.directory)
    assert found is not None
    assert state is not None
    reader = {"X-ClickHouse-User": "reader", "X-ClickHouse-Key": state.reader_password.get_secret_value()}
    assert ask_as(found.clickhouse_http, reader, "SELECT count() >= 0 FROM system.tables") == "1"
    with pytest.raises(urllib.error.HTTPError):
        ask_as(found.clickhouse_http, reader, "CREATE TABLE default.no (a Int8) ENGINE = Memory")


def test_nobody_logs_in_without_a_password(stack: Stack) -> None:
    """By HTTP and by the native protocol; `default` is the library's own, and takes nobody else."""
    found = stack.status().addresses
    assert found is not None
    users = ask(stack, "SELECT name FROM system.users").split()
    assert sorted(users) == ["default", "engagement", "reader"]
    for user in (*users, ""):
        for headers in ({"X-ClickHouse-User": user}, {"X-ClickHouse-User": user, "X-ClickHouse-Key": "wrong"}):
            for query in ("", "?session_id=a", "?max_sessions_for_user=9"):
                with pytest.raises(urllib.error.HTTPError):
                    ask_as(f"{found.clickhouse_http}/{query}", headers if user else {}, "SELECT 1")
        url = f"clickhouse://{user or 'default'}@127.0.0.1:{found.clickhouse.rpartition(':')[2]}"
        with pytest.raises(EngagementError), ClickHouse(Settings(clickhouse=SecretStr(url))) as client:
            client.select("SELECT 1")


def _is_open_to_others(path: Path) -> bool:
    try:
        return not path.is_symlink() and bool(path.lstat().st_mode & 0o077)
    except FileNotFoundError:  # the servers replace files meanwhile
        return False


def test_nobody_else_reads_the_folder(stack: Stack) -> None:
    paths = [stack.directory, *stack.directory.rglob("*")]
    assert len(paths) > 30
    assert {path for path in paths if _is_open_to_others(path)} == set()
    assert (stack.directory / "stack.json").stat().st_mode & 0o777 == 0o600
    assert stack.directory.stat().st_mode & 0o777 == 0o700


def test_a_password_is_shown_by_the_exports_alone(stack: Stack) -> None:
    found, state = stack.status().addresses, load_state(stack.directory)
    assert found is not None
    assert state is not None
    password, reader = state.password.get_secret_value(), state.reader_password.get_secret_value()
    assert len({password, reader}) == 2
    assert min(len(password), len(reader)) == 32
    assert password in found.environment()["ENGAGEMENT_CLICKHOUSE"]
    shown = run("stack", "status", "--dir", str(stack.directory), "--json")
    again = run("stack", "up", "--dir", str(stack.directory))
    logs = "".join(path.read_text(errors="replace") for path in (stack.directory / "logs").iterdir())
    for text in (repr(state), repr(found), str(vars(state)), shown.stdout, shown.stderr, again.stderr, logs):
        assert password not in text
        assert reader not in text
    assert f"ENGAGEMENT_CLICKHOUSE={found.clickhouse}\n" in again.stdout
    command = "".join(" ".join(psutil.Process(stack.pid(name)).cmdline()) for name in stack.part_names())
    assert password not in command


def test_a_stack_of_an_earlier_version_gets_passwords(own_stack: Stack) -> None:
    own_stack.up()
    ask(own_stack, "CREATE TABLE default.kept (a Int32) ENGINE = MergeTree ORDER BY a")
    state = load_state(own_stack.directory)
    assert state is not None
    file = own_stack.directory / "stack.json"
    content = {name: value for name, value in json.loads(file.read_text()).items() if "password" not in name}
    file.write_text(json.dumps(content))
    with pytest.raises(StackError, match="runs without passwords, as earlier versions did"):
        own_stack.up()
    own_stack.down()
    users = own_stack.directory / "clickhouse" / "users.xml"
    users.write_text(users.read_text().replace("</users>", "<!-- ours --></users>"))
    own_stack.directory.chmod(0o755)
    own_stack.up()
    assert ask(own_stack, "EXISTS default.kept") == "1"
    assert "ours" in users.with_name("users.xml.old").read_text()
    assert own_stack.directory.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_somebody_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / "shared" / "file").touch()
    the_stack = Stack(tmp_path / "shared")
    try:
        the_stack.up()
        assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o755
        inside = [path for path in (tmp_path / "shared").iterdir() if path.name != "file"]
        assert {path.name for path in inside if path.stat().st_mode & 0o077} == set()
    finally:
        the_stack.down()


def test_the_command_from_up_to_down(tmp_path: Path) -> None:
    """As a person has it: only exports on stdout, a second up says so, down leaves no process and no file."""
    directory = str(tmp_path / "command")
    temporary = set(Path("/tmp").glob("hsperfdata_*/*")) | set(Path("/tmp").glob("clickhouse-*"))
    try:
        first = run("stack", "up", "--dir", directory)
        assert first.returncode == 0, first.stderr
        lines = first.stdout.splitlines()
        assert [re.match(r"export (ENGAGEMENT_\w+)=\S+$", line)[1] for line in lines] == [  # type: ignore[index]
            "ENGAGEMENT_KAFKA",
            "ENGAGEMENT_CLICKHOUSE",
            "ENGAGEMENT_REPLICATION",
            "ENGAGEMENT_PAGE_CLICKHOUSE",
        ]
        second = run("stack", "up", "--dir", directory)
        assert second.returncode == 0
        assert second.stdout == first.stdout
        assert "runs already" in second.stderr
        status = json.loads(run("stack", "status", "--dir", directory, "--json").stdout)
        assert status["running"]
        pids = [part["pid"] for part in status["parts"]]
        assert all(os.getsid(pid) == pid for pid in pids)
    finally:
        last = run("stack", "down", "--dir", directory)
    assert last.returncode == 0
    assert "clickhouse" in last.stderr
    assert "kafka-1" in last.stderr
    assert not any(map(identify_process, pids))
    assert run("stack", "status", "--dir", directory).returncode == 1
    assert not (set(Path("/tmp").glob("hsperfdata_*/*")) | set(Path("/tmp").glob("clickhouse-*"))) - temporary


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_foreground_leaves_no_process(tmp_path: Path, number: int) -> None:
    directory = tmp_path / "foreground"
    command = subprocess.Popen(
        [*ENGAGEMENT, "stack", "up", "--foreground", "--dir", str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        # Who runs the tests in the background of a shell ignores SIGINT, and so would all that they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    try:
        assert command.stdout is not None
        assert command.stdout.readline().startswith("export ENGAGEMENT_KAFKA=")
        pids = [Stack(directory).pid(name) for name in ("clickhouse", "kafka")]
        assert all(map(identify_process, pids))
        command.send_signal(number)
        assert command.wait(60) == 130
        assert not any(map(identify_process, pids))
    finally:
        command.kill()
        command.wait()
        Stack(directory).down()


@pytest.mark.slow
def test_three_brokers_beside_another_stack(stack: Stack, tmp_path: Path) -> None:
    """Two stacks do not meet, and one of three nodes may die."""
    three = Stack(tmp_path / "three", brokers=3)
    try:
        addresses = three.up()
        assert addresses.replication == 3
        assert len(addresses.kafka.split(",")) == 3
        ask(three, "CREATE TABLE default.only_here (a Int32) ENGINE = Memory")
        assert ask(stack, "EXISTS default.only_here") == "0"
        three.kill("kafka-2")
        states = {part.name: part.state for part in three.status().parts}
        assert states == {"clickhouse": "serving", "kafka-1": "serving", "kafka-2": "dead", "kafka-3": "serving"}
        three.start("kafka-2")
        assert three.status().running
        with pytest.raises(StackError, match=r"3 broker\(s\), not 1"):
            Stack(tmp_path / "three", brokers=1).up()
    finally:
        assert len(three.down()) == 4
    assert stack.status().running


def test_a_taken_port_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        the_stack = Stack(tmp_path / "taken", ports=PortsPolicy(clickhouse=port))
        with pytest.raises(StackError, match=f"port {port} is taken.*--clickhouse-port"):
            the_stack.up()
    assert the_stack.down() == []


def test_fixed_ports_are_taken_and_cannot_change_while_it_runs(own_stack: Stack) -> None:
    wanted = PortsPolicy(kafka=find_free_port(()), http=find_free_port(()))
    addresses = Stack(own_stack.directory, ports=wanted).up()
    assert addresses.kafka == f"127.0.0.1:{wanted.kafka}"
    assert addresses.clickhouse_http == f"http://127.0.0.1:{wanted.http}"
    with pytest.raises(StackError, match="runs on other ports"):
        Stack(own_stack.directory, ports=PortsPolicy(kafka=find_free_port(()))).up()


def test_a_part_that_cannot_start_says_why_and_nothing_is_left(own_stack: Stack) -> None:
    own_stack.up()
    own_stack.down()
    meta = own_stack.directory / "kafka-1" / "data" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))
    with pytest.raises(StackError, match=r"kafka-1 ended while starting: .*node.*kafka-1\.log"):
        own_stack.up()
    assert own_stack.down() == []


def test_a_cache_of_another_java_is_left_aside(
    own_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.aot"
    broken.write_bytes(bytes(range(256)) * 100)
    monkeypatch.setattr("pipeline.embedded.kafka.java_cache", lambda: broken)
    own_stack.up()
    assert own_stack.status().running


def test_too_little_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.embedded.stack.STACK_FREE_BYTES", 2**60)
    with pytest.raises(StackError, match=r"only [\d.]+ GB free.*--dir"):
        Stack(tmp_path / "full").up()


def test_two_commands_at_once_start_one_stack(own_stack: Stack) -> None:
    commands = [
        subprocess.Popen([*ENGAGEMENT, "stack", "up", "--dir", str(own_stack.directory)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [command.communicate(timeout=120)[0] for command in commands]
    assert [command.returncode for command in commands] == [0, 0]
    assert outputs[0] == outputs[1] != b""
    assert len(own_stack.down()) == 2


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    nowhere = Stack(tmp_path / "nowhere")
    assert nowhere.down() == []
    assert not nowhere.status().running
    with pytest.raises(StackError, match="no stack in"):
        nowhere.kill("kafka")
    assert not (tmp_path / "nowhere").exists()

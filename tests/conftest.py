"""What tests share: the real stack, started once by each process; settings for each test alone; data from outside.

A test that asks for `stack`, `settings` or `environment` gets the marker `stack` by itself.
"""

import gc
import http.client
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate, verify_tables
from pipeline.embedded.endpoints import StackEndpoints
from pipeline.embedded.plan import PortsPolicy
from pipeline.embedded.ports import find_free_port
from pipeline.embedded.stack import Stack
from pipeline.embedded.state import load_state
from pipeline.errors import SchemaDrift
from pipeline.settings import Settings
from processors.erasure.deletion import Deletion
from processors.erasure.posts import COPYING_VIEW
from schemas.tables import TABLES
from tests.fakes_alerts import HttpServer
from tests.tcp_proxy import TcpProxy

REQUIRE_DATA = os.environ.get("ENGAGEMENT_REQUIRE_DATA", "") not in ("", "0")
END_TO_END = Path(__file__).parent / "end_to_end"
DATA = Path(os.environ.get("ENGAGEMENT_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def pytest_configure(config: pytest.Config) -> None:
    # The settings of whoever runs the tests must not reach them; what is said to the tests themselves stays.
    for name in [name for name in os.environ if name.startswith("ENGAGEMENT_")]:
        if not name.startswith("ENGAGEMENT_TEST_"):
            del os.environ[name]
    # `timeout` and CI end a run by SIGTERM: fixtures must still stop what they started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Inputs and truths are a million objects that stay: the collector would look through them again and again.
    gc.set_threshold(100_000, 20, 100)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.stack)
        # Side by side (`pytest -n 2`): a file stays together, with what it shares; what takes long goes one by one.
        if not item.path.is_relative_to(END_TO_END):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack with one broker, the same for all tests; a test that breaks it takes `fragile_stack`."""
    the_stack = Stack(tmp_path_factory.mktemp("stack"), ports=PortsPolicy(proxy=find_free_port(())))
    try:
        the_stack.up()
        yield the_stack
    finally:
        the_stack.down()


@pytest.fixture
def fragile_stack(stack: Stack) -> Iterator[Stack]:
    """The same stack for a test that kills or stops parts of it: whole again afterwards."""
    yield stack
    for name in set(stack.part_names()) - set(stack.dead_parts()):
        stack.signal(name, signal.SIGCONT)
    stack.up()


@pytest.fixture
def broker_link(stack: Stack) -> Iterator[TcpProxy]:
    """A way of its own to the stack's broker: whoever has its address as ENGAGEMENT_KAFKA goes through it with all that
    he asks."""
    state = load_state(stack.directory)
    assert state is not None
    broker = state.brokers[0]
    assert broker.behind_proxy is not None
    assert broker.proxy is not None
    with TcpProxy(("127.0.0.1", broker.behind_proxy), broker.proxy) as proxy:
        yield proxy


@pytest.fixture
def addresses(stack: Stack) -> StackEndpoints:
    """Where the stack serves."""
    found = stack.status().addresses
    assert found is not None
    return found


@pytest.fixture
def settings(addresses: StackEndpoints) -> Iterator[Settings]:
    """Settings for the stack with a topic prefix and an empty database of this test alone; few partitions."""
    name = f"t{uuid.uuid4().hex[:12]}"
    _execute(addresses, f"CREATE DATABASE {name}")
    yield Settings(
        kafka=addresses.kafka,
        clickhouse=addresses.clickhouse.rpartition("/")[0] + f"/{name}",
        topic_prefix=name,
        partitions=4,
        metrics_port=0,
    )
    _execute(addresses, f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture(scope="session")
def migrated() -> list[str]:
    """The name of a database that has all tables, once somebody has wanted one."""
    return []


@pytest.fixture
def tables(settings: Settings, migrated: list[str]) -> Iterator[Settings]:
    """Settings with all tables, empty; the database is that of every test that asks for it: migrating takes a second
    or two. Topics are of this test alone."""
    name = migrated[0] if migrated else f"m{uuid.uuid4().hex[:12]}"
    url = settings.clickhouse.get_secret_value().rpartition("/")[0]
    its = settings.model_copy(update={"clickhouse": SecretStr(f"{url}/{name}")})
    if not migrated:
        migrate(its)
        with ClickHouse(its) as client:
            # Tests refresh by hand: what the server does by its clock would happen in the middle of any of them.
            client.execute(f"ALTER TABLE {COPYING_VIEW} MODIFY REFRESH EVERY 1 YEAR APPEND")
        migrated.append(name)
    yield its
    with ClickHouse(its) as client:
        # A refresh that is under way would write what it has read into an emptied table.
        Deletion(client, its).wait_for_refreshes(COPYING_VIEW)
        [filled] = client.select(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND total_rows > 0"
        ) or [[]]
        for table in TABLES:
            if table.name in filled:
                client.execute(f"TRUNCATE TABLE {table.name}")
        try:
            verify_tables(client)
        except SchemaDrift:
            migrated.clear()


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """What a subprocess needs to have the same settings."""
    return {
        **os.environ,
        "ENGAGEMENT_KAFKA": settings.kafka,
        "ENGAGEMENT_CLICKHOUSE": settings.clickhouse.get_secret_value(),
        "ENGAGEMENT_TOPIC_PREFIX": settings.topic_prefix,
        "ENGAGEMENT_PARTITIONS": str(settings.partitions),
        "ENGAGEMENT_METRICS_PORT": str(settings.metrics_port),
    }


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of recorded data; skips where there is none, fails with ENGAGEMENT_REQUIRE_DATA=1."""
    if not DATA.is_dir():
        reason = f"no recorded data in {DATA}: set ENGAGEMENT_TEST_DATA to a folder that has cascades/ and jetstream/"
        if REQUIRE_DATA:
            pytest.fail(reason)
        pytest.skip(reason)
    return DATA


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """Who is told of alerts, on loopback."""
    the_server = HttpServer()
    yield the_server
    the_server.kill()


def _execute(addresses: StackEndpoints, sql: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(addresses.clickhouse_http).netloc, timeout=30)
    try:
        connection.request("POST", "/", body=sql, headers=addresses.http_headers())
        answer = connection.getresponse()
        assert answer.status == 200, answer.read().decode()
    finally:
        connection.close()

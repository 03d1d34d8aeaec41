"""A ClickHouse cluster of two shards on this machine: two embedded servers, each with the other in `remote_servers`.

The embedded server has no Keeper, no ON CLUSTER and no port for replicas, so shards have one replica each.
"""

import time
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from pipeline.clickhouse.client import ClickHouse
from pipeline.embedded import processes
from pipeline.embedded.clickhouse import DATABASE, READER, USER, clickhouse_serves, start_clickhouse
from pipeline.embedded.ports import find_free_port
from pipeline.embedded.state import StackState, kept_password
from pipeline.settings import Settings

CLUSTER: Final = "main"
SHARD: Final = (
    "<shard><replica><host>127.0.0.1</host><port>{port}</port><user>{user}</user><password>{password}</password>"
    "</replica></shard>"
)


class ShardedClickHouse:
    """Two servers of one cluster. `up` and `kill` take the index of a server, 0 or 1."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        password, ports = kept_password(None), list[int]()
        for _ in range(4):
            ports.append(find_free_port(tuple(ports)))
        self._states = [
            StackState(
                cluster_id="",
                brokers=[],
                clickhouse_tcp=tcp,
                clickhouse_http=http,
                password=password,
                reader_password=kept_password(None),
            )
            for tcp, http in (ports[:2], ports[2:])
        ]
        shards = "".join(
            SHARD.format(port=state.clickhouse_tcp, user=USER, password=password.get_secret_value())
            for state in self._states
        )
        self._cluster = f"<clickhouse><remote_servers><{CLUSTER}>{shards}</{CLUSTER}></remote_servers></clickhouse>"
        self._processes: dict[int, processes.ProcessIdentity] = {}

    def up(self, *indexes: int) -> None:
        """Starts servers that are down, and waits until they serve."""
        for index in indexes:
            folder = self._folder / str(index)
            more = folder / "clickhouse/config.d/cluster.xml"
            more.parent.mkdir(parents=True, exist_ok=True)
            more.write_text(self._cluster)
            log = folder / "log"
            self._processes[index] = start_clickhouse(folder, self._states[index], log)
        for index in indexes:
            end = time.monotonic() + 120
            while not clickhouse_serves(self._states[index]):
                assert time.monotonic() < end, (self._folder / str(index) / "log").read_text()[-2000:]
                time.sleep(0.1)

    def kill(self, index: int) -> None:
        """Ends a server at once, as kill -9 does."""
        processes.kill(self._processes.pop(index))

    def is_down(self, index: int) -> bool:
        return index not in self._processes

    def down(self) -> None:
        """Ends all servers."""
        for process in self._processes.values():
            processes.stop(process, grace=20)
        self._processes.clear()

    def settings(self, index: int, database: str = DATABASE, **others: object) -> Settings:
        """Settings for a server alone; sharded ones have `clickhouse_cluster` and `clickhouse_sharded` in `others`."""
        state = self._states[index]
        password = state.password.get_secret_value()
        url = f"clickhouse://{USER}:{password}@127.0.0.1:{state.clickhouse_tcp}/{database}"
        return Settings(clickhouse=SecretStr(url), metrics_port=0, partitions=4, **others)  # type: ignore[arg-type]

    def reader(self, index: int) -> Settings:
        """Settings of the user who reads views of the database `engagement` alone."""
        state = self._states[index]
        url = f"clickhouse://{READER}:{state.reader_password.get_secret_value()}@127.0.0.1:{state.clickhouse_tcp}/{DATABASE}"
        return Settings(clickhouse=SecretStr(url), metrics_port=0)

    def select(self, index: int, sql: str) -> list[list[object]]:
        """The columns of an answer of one server."""
        with ClickHouse(self.settings(index), database="default") as client:
            return client.select(sql)

"""The endpoints of a stack and the status of its parts."""

from dataclasses import dataclass, field, replace

from pipeline.clickhouse.url import ClickHouseUrl
from pipeline.embedded.clickhouse import DATABASE, READER, USER
from pipeline.embedded.ports import HOST
from pipeline.embedded.state import StackState


@dataclass(frozen=True)
class StackEndpoints:
    """The addresses at which a stack serves."""

    kafka: str
    """host:port,... of all brokers."""
    clickhouse: str = field(repr=False)
    """clickhouse://... of the native protocol, with user, password and database."""
    clickhouse_reader: str = field(repr=False)
    """The same address for the user who reads only; empty for a stack of an earlier version, which has none."""
    clickhouse_http: str
    """http://host:port."""
    replication: int
    """Most replicas of a topic."""

    @property
    def without_password(self) -> "StackEndpoints":
        """Returns the endpoints as people may see them: with *** for the password."""
        reader = self.clickhouse_reader and repr(ClickHouseUrl(self.clickhouse_reader))
        return replace(self, clickhouse=repr(ClickHouseUrl(self.clickhouse)), clickhouse_reader=reader)

    def http_headers(self) -> dict[str, str]:
        """Returns the headers by which a request to `clickhouse_http` logs in."""
        url = ClickHouseUrl(self.clickhouse)
        return {"X-ClickHouse-User": url.user, "X-ClickHouse-Key": url.password}

    def environment(self) -> dict[str, str]:
        """Returns the settings that point commands to this stack."""
        return {
            "ENGAGEMENT_KAFKA": self.kafka,
            "ENGAGEMENT_CLICKHOUSE": self.clickhouse,
            "ENGAGEMENT_REPLICATION": str(self.replication),
        } | ({"ENGAGEMENT_PAGE_CLICKHOUSE": self.clickhouse_reader} if self.clickhouse_reader else {})


@dataclass(frozen=True)
class PartStatus:
    """The status of a process. `state` is serving, starting (alive, but not answering yet) or dead."""

    name: str
    state: str
    pid: int | None
    address: str
    log: str


@dataclass(frozen=True)
class StackStatus:
    """The report of `engagement stack status`; `addresses` is None where no stack was ever made."""

    directory: str
    running: bool
    addresses: StackEndpoints | None
    parts: list[PartStatus]


def endpoints_of(state: StackState) -> StackEndpoints:
    """Returns the endpoints of a stack in this state."""
    server = f"{HOST}:{state.clickhouse_tcp}/{DATABASE}"
    reader = state.reader_password.get_secret_value()
    return StackEndpoints(
        kafka=",".join(f"{HOST}:{broker.client}" for broker in state.brokers),
        clickhouse=f"clickhouse://{USER}:{state.password.get_secret_value()}@{server}",
        clickhouse_reader=f"clickhouse://{READER}:{reader}@{server}" if reader else "",
        clickhouse_http=f"http://{HOST}:{state.clickhouse_http}",
        replication=min(3, len(state.brokers)),
    )

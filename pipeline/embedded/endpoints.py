"""What the stack tells: where it serves, and how each part is."""

from dataclasses import dataclass

from pipeline.embedded.clickhouse import DATABASE
from pipeline.embedded.ports import HOST
from pipeline.embedded.state import StackState


@dataclass(frozen=True)
class StackEndpoints:
    """Where the stack serves."""

    kafka: str
    """host:port,... of all brokers"""
    clickhouse: str
    """clickhouse://... of the native protocol, with the database"""
    clickhouse_http: str
    """http://host:port"""
    replication: int
    """Replicas that a topic can have"""

    def environment(self) -> dict[str, str]:
        """The settings that point everything else here."""
        return {
            "ENGAGEMENT_KAFKA": self.kafka,
            "ENGAGEMENT_CLICKHOUSE": self.clickhouse,
            "ENGAGEMENT_REPLICATION": str(self.replication),
        }


@dataclass(frozen=True)
class PartStatus:
    """One process of the stack. `state` is serving, starting (lives, does not answer yet) or dead."""

    name: str
    state: str
    pid: int | None
    address: str
    log: str


@dataclass(frozen=True)
class StackStatus:
    """What `engagement stack status` says; `addresses` is None where there never was a stack."""

    directory: str
    running: bool
    addresses: StackEndpoints | None
    parts: list[PartStatus]


def endpoints_of(state: StackState) -> StackEndpoints:
    return StackEndpoints(
        kafka=",".join(f"{HOST}:{broker.client}" for broker in state.brokers),
        clickhouse=f"clickhouse://default@{HOST}:{state.clickhouse_tcp}/{DATABASE}",
        clickhouse_http=f"http://{HOST}:{state.clickhouse_http}",
        replication=min(3, len(state.brokers)),
    )

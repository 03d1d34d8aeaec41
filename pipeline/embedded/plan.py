"""Plans the parts of a stack and their ports: the requested ports, else the earlier ones, else free ones."""

import base64
import uuid
from dataclasses import dataclass
from typing import Final

from pipeline.embedded.ports import find_free_port
from pipeline.embedded.processes import is_alive
from pipeline.embedded.state import BrokerPorts, StackState, kept_password
from pipeline.errors import StackError

CLICKHOUSE: Final = "clickhouse"


@dataclass(frozen=True)
class PortsPolicy:
    """Requested ports; None keeps the earlier port, or takes a free one. Node n of Kafka takes kafka + n - 1.

    `proxy` is the port of a proxy in front of kafka-1 that is no part of the stack. kafka-1 then has another listener,
    which sends its clients to the proxy.
    """

    kafka: int | None = None
    clickhouse: int | None = None
    http: int | None = None
    proxy: int | None = None


ANY_PORTS: Final = PortsPolicy()


def plan_state(old: StackState | None, brokers: int | None, ports: PortsPolicy) -> StackState:
    """Returns the state that `up` brings about. Raises StackError for a change that a folder in use does not allow."""
    count = len(old.brokers) if old else brokers or 1
    if brokers not in (None, count):
        raise StackError(f"this stack has {count} broker(s), not {brokers}: name another folder with --dir")
    asked = {ports.kafka + index for index in range(count)} if ports.kafka else set()
    others = {port for port in (ports.clickhouse, ports.http, ports.proxy) if port}
    taken = (set(old.ports()) if old else set()) | asked | others

    def choose(asked_for: int | None, kept: int | None) -> int:
        chosen = asked_for or kept or find_free_port(taken)
        taken.add(chosen)
        return chosen

    nodes = []
    for index in range(count):
        kept = old.brokers[index] if old else None
        client = choose(ports.kafka + index if ports.kafka else None, kept.client if kept else None)
        controller = choose(None, kept.controller if kept else None)
        proxy = ((kept.proxy if kept else None) or ports.proxy) if index == 0 else None
        behind = choose(None, kept.behind_proxy if kept else None) if proxy else None
        nodes.append(BrokerPorts(client=client, controller=controller, behind_proxy=behind, proxy=proxy))
    state = StackState(
        cluster_id=old.cluster_id if old else base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="),
        brokers=nodes,
        clickhouse_tcp=choose(ports.clickhouse, old.clickhouse_tcp if old else None),
        clickhouse_http=choose(ports.http, old.clickhouse_http if old else None),
        processes=dict(old.processes) if old else {},
        password=kept_password(old.password if old else None),
        reader_password=kept_password(old.reader_password if old else None),
    )
    if old and not old.password.get_secret_value() and is_alive(old.processes.get(CLICKHOUSE)):
        raise StackError("this stack runs without passwords, as earlier versions did: `engagement stack down`, then up")
    if len(set(state.ports())) < len(state.ports()):
        raise StackError(
            "two parts cannot have the same port: ask for others with --kafka-port, --clickhouse-port, --http-port"
        )
    if old and old.ports() != state.ports() and any(map(is_alive, old.processes.values())):
        raise StackError("this stack runs on other ports: `engagement stack down`, then up again with these")
    return state


def part_names(state: StackState) -> list[str]:
    """Returns the names of all parts: clickhouse, kafka-1, kafka-2, ..."""
    return [CLICKHOUSE, *(f"kafka-{node}" for node in range(1, len(state.brokers) + 1))]


def full_name(state: StackState, name: str) -> str:
    """Returns the full name of a part: `kafka` is short for `kafka-1`. Raises StackError for an unknown part."""
    name = "kafka-1" if name == "kafka" else name
    if name not in part_names(state):
        raise StackError(f"the stack has no part {name}: it has {', '.join(part_names(state))}")
    return name


def node_number(name: str) -> int:
    """Returns the number of a node: 2 of kafka-2."""
    return int(name.removeprefix("kafka-"))


def ports_of(state: StackState, name: str) -> list[int]:
    """Returns the ports of a part, the port for clients first."""
    if name == CLICKHOUSE:
        return [state.clickhouse_tcp, state.clickhouse_http]
    return state.brokers[node_number(name) - 1].all()

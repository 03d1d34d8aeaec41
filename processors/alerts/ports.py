"""Ports of the alert agent: the store of deliveries, which outlives the agent, the receivers and the thread for calls
that block.

ClickHouse implements the store (delivery_store.py), HTTP the receivers (receivers/); the fakes of the tests pass the
same contract tests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from pipeline.dead_letters import DeadLetter
from pipeline.errors import Unavailable
from pipeline.observability.alert_metrics import AlertMetrics
from schemas.alerts import AlertState, SpikeAlert, idempotency_key

DELIVERED: Final = "delivered"
OLD: Final = "old"
SILENCED: Final = "silenced"
UNTOLD: Final = "untold"
SUPERSEDED: Final = "superseded"
GAVE_UP: Final = "gave up"

SETTLED: Final = (DELIVERED, OLD, SILENCED, UNTOLD, SUPERSEDED, GAVE_UP)
"""First words of an outcome after which no attempt follows; any other outcome is the last failure."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Delivery:
    """The delivery of a spike in one state to a receiver: a row of `alert_deliveries`.

    `minute`: of the state's as_of, since 1970. A spike may grow several times: the row is that of the newest growth.
    `delivered_ms`: Unix time in milliseconds.
    """

    spike_id: str
    receiver: str
    state: AlertState
    minute: int
    attempts: int
    outcome: str
    delivered_ms: int | None = None

    @property
    def is_settled(self) -> bool:
        return self.outcome.partition(":")[0] in SETTLED

    @property
    def version(self) -> int:
        """Minute of as_of (32 bits) | attempts (31) | settled (1): the highest wins."""
        return self.minute << 32 | self.attempts << 1 | self.is_settled


class DeliveryStore(Protocol):
    """The stored spikes and deliveries. Each call blocks and may raise pipeline.errors.Unavailable (worth another try:
    every call is idempotent) or Refused."""

    def spikes(self, partitions: Sequence[int], of: int, since: float) -> Sequence[SpikeAlert]:
        """Reads the newest state of each spike of `partitions` out of `of` that is open, or was judged at or after
        `since` (Unix time in seconds)."""
        ...

    def load(self, spike_ids: Sequence[str]) -> Sequence[Delivery]:
        """Reads all deliveries of these spikes."""
        ...

    def save(self, deliveries: Sequence[Delivery]) -> None:
        """Stores absolute rows. Once the call returns, `load` returns them."""
        ...


class Notice(NamedTuple):
    """The content of one delivery: a spike in one state of its life, with the severity of the receiver's route."""

    alert: SpikeAlert
    severity: str

    @property
    def key(self) -> str:
        """The idempotency key, by which a receiver counts the notice once."""
        return idempotency_key(self.alert["spike_id"], self.alert["state"], self.alert["as_of"])


@dataclass(frozen=True)
class Answer:
    """A receiver's answer to one attempt. `reason`: why the notice was not delivered, in words, without a secret.
    `wait`: seconds that the receiver asks for."""

    is_delivered: bool
    reason: str = field(default=DELIVERED)
    wait: float = 0.0


class Receiver(Protocol):
    """A destination of notices. Belongs to one event loop."""

    async def send(self, notice: Notice, now: float) -> Answer:
        """Makes one attempt. Never raises but when cancelled; ends within the receiver's timeout. `now`: Unix time in
        seconds."""
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


class HeartbeatPort(Protocol):
    """The address of the dead man's switch, which expects a request while alerts can be delivered."""

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Makes one attempt, under the contract of Receiver.send."""
        ...

    async def close(self) -> None: ...


class BlockingThread(Protocol):
    """A thread for blocking calls, run in sequence (processors/runtime/agent_thread.py)."""

    async def run(
        self, action: Callable[..., _Result], *arguments: Any, unwanted: Callable[[], bool] = lambda: False
    ) -> _Result:
        """Returns the result of the action. An action that does not end is cut off once `unwanted` returns True."""
        ...


@dataclass(frozen=True)
class AlertPorts:
    """All that the alert agent reaches outside of itself. `on_store` is called with the error each time that the store
    fails, and with None when the store answers again."""

    deliveries: DeliveryStore
    receivers: Mapping[str, Receiver]
    write_dead_letters: Callable[[Sequence[DeadLetter]], None]
    metrics: AlertMetrics
    thread: BlockingThread
    heartbeat: HeartbeatPort | None = None
    on_store: Callable[[Unavailable | None], None] = lambda error: None

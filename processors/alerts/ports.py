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
MINOR: Final = "minor"
HELD: Final = "held"
"""First word of the outcome of a state that waits for the end of the receiver's quiet hours, or for its digest."""

LASTING_SEVERITY: Final = "warning"
"""The severity of an alert where a receiver needs one that never changes, and the route names none."""

SETTLED: Final = (DELIVERED, OLD, SILENCED, UNTOLD, SUPERSEDED, GAVE_UP, MINOR)
"""First words of an outcome after which no attempt follows; any other outcome is the last failure."""

_Result = TypeVar("_Result")


class GroupRow(NamedTuple):
    """The group of a spike: a row of `spike_groups`. `members`: how many spikes of the group are known."""

    spike_id: str
    group_id: str
    members: int


@dataclass(frozen=True)
class Delivery:
    """The delivery of a spike in one state to a receiver: a row of `alert_deliveries`.

    `minute`: of the state's as_of, since 1970. A spike may grow several times: the row is that of the newest growth.
    `delivered_ms`: Unix time in milliseconds. `reference`: the receiver's name for the message that later states of the
    spike belong to, empty where there is none.
    """

    spike_id: str
    receiver: str
    state: AlertState
    minute: int
    attempts: int
    outcome: str
    delivered_ms: int | None = None
    reference: str = ""

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

    def spikes(self, since: float) -> Sequence[SpikeAlert]:
        """Reads the newest state of each spike that is open, or was judged at or after `since` (Unix time in
        seconds)."""
        ...

    def groups(self, spike_ids: Sequence[str]) -> Mapping[str, str]:
        """Reads the stored ids of the groups of these spikes."""
        ...

    def save_groups(self, rows: Sequence[GroupRow]) -> None:
        """Stores absolute rows of grouped spikes."""
        ...

    def load(self, spike_ids: Sequence[str]) -> Sequence[Delivery]:
        """Reads all deliveries of these spikes."""
        ...

    def save(self, deliveries: Sequence[Delivery]) -> None:
        """Stores absolute rows. Once the call returns, `load` returns them."""
        ...


class Notice(NamedTuple):
    """The content of one delivery: a spike, or a group of spikes, in one state of its life, with the severity that the
    receiver's route gives to its alerts, if any.

    `reference`: the receiver's name for the message of an earlier state, empty where there is none. `is_repetition`: a
    state that the receiver has had before, with what is known by now. `picture`: PNG of the conversation's minutes.
    """

    alert: SpikeAlert
    route_severity: str | None
    reference: str = ""
    is_repetition: bool = False
    picture: bytes | None = None

    @property
    def severity(self) -> str:
        """The severity of the route, or else of the spike in this state."""
        return self.route_severity or self.alert["severity"]

    @property
    def lasting_severity(self) -> str:
        """A constant severity over the life of a spike."""
        return self.route_severity or LASTING_SEVERITY

    @property
    def key(self) -> str:
        """The idempotency key, by which a receiver counts the notice once."""
        return idempotency_key(self.alert["spike_id"], self.alert["state"], self.alert["as_of"])


@dataclass(frozen=True)
class Answer:
    """A receiver's answer to one attempt. `reason`: why the notice was not delivered, in words, without a secret.
    `wait`: seconds that the receiver asks for. `reference`: the receiver's name for the message that later states of
    the spike belong to; a failed attempt may have come as far as the message, too."""

    is_delivered: bool
    reason: str = field(default=DELIVERED)
    wait: float = 0.0
    reference: str = ""


class Receiver(Protocol):
    """A destination of notices. Belongs to one event loop."""

    async def send(self, notice: Notice, now: float) -> Answer:
        """Makes one attempt. Never raises but when cancelled; ends within the receiver's timeout. `now`: Unix time in
        seconds."""
        ...

    async def send_digest(self, notices: Sequence[Notice], now: float) -> Answer:
        """Makes one attempt to deliver several notices as one message, under the contract of `send`."""
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


class PictureSource(Protocol):
    """The pictures of spikes."""

    async def picture_of(self, alert: SpikeAlert) -> bytes | None:
        """Returns the picture of an alert as PNG, None where none can be made in time. Never raises but when
        cancelled."""
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
    pictures: PictureSource | None = None
    on_store: Callable[[Unavailable | None], None] = lambda error: None

"""What the alert agent needs from outside: a record of deliveries that outlives it, and receivers that are told.

ClickHouse is the one (stored.py), HTTP the other (receivers.py); fakes for tests pass the same contract tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from schemas.alerts import SpikeAlert, State, idempotency_key

DELIVERED: Final = "delivered"
OLD: Final = "old"
SILENCED: Final = "silenced"
UNTOLD: Final = "untold"
SUPERSEDED: Final = "superseded"
GAVE_UP: Final = "gave up"

SETTLED: Final = (DELIVERED, OLD, SILENCED, UNTOLD, SUPERSEDED, GAVE_UP)
"""First words of an outcome after which nothing more is tried; any other outcome is the last failure."""


@dataclass(frozen=True)
class Delivery:
    """How far a receiver has been told of one state of a spike: a row of `alert_deliveries`.

    `minute`: of the state's as_of, since 1970. A spike may grow several times: of these the newest has the row.
    `delivered_ms`: Unix time in milliseconds.
    """

    spike_id: str
    receiver: str
    state: State
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


class Deliveries(Protocol):
    """The record of what was delivered, and of the spikes. Each call blocks and may raise pipeline.errors.Unavailable
    (worth another try: all of it is idempotent) or Refused."""

    def spikes(self, partitions: Sequence[int], of: int, since: float) -> Sequence[SpikeAlert]:
        """The newest state of each spike whose conversation belongs to one of `partitions` out of `of`, and that is
        open or was judged since then (Unix time in seconds)."""
        ...

    def load(self, spike_ids: Sequence[str]) -> Sequence[Delivery]:
        """All that is recorded of these spikes."""
        ...

    def save(self, deliveries: Sequence[Delivery]) -> None:
        """Absolute rows. What is stored when the call returns can be read."""
        ...


class Notice(NamedTuple):
    """What a receiver is told: a spike in one state of its life, and how severe that is to it."""

    alert: SpikeAlert
    severity: str

    @property
    def key(self) -> str:
        """What the receiver counts once by."""
        return idempotency_key(self.alert["spike_id"], self.alert["state"], self.alert["as_of"])


@dataclass(frozen=True)
class Answer:
    """What came of telling. `said`: why not, in words, without a secret. `wait`: seconds that the receiver asks for."""

    is_delivered: bool
    said: str = field(default=DELIVERED)
    wait: float = 0.0


class Receiver(Protocol):
    """Somebody who is told. Belongs to one event loop."""

    async def send(self, notice: Notice, now: float) -> Answer:
        """Tells once. Never raises but when cancelled; ends within its timeout. `now`: Unix time in seconds."""
        ...

    async def close(self) -> None:
        """Ends its connections."""
        ...


class Beat(Protocol):
    """Whoever is told that alerts can be delivered."""

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """As Receiver.send."""
        ...

    async def close(self) -> None: ...

"""The rows of deliveries that are still to be stored, and the counters of states without a receiver. Pure."""

from collections.abc import Iterable

from processors.alerts.deliveries.policy import Tally
from processors.alerts.deliveries.receiver_state import PendingDelivery, ReceiverState
from processors.alerts.ports import SUPERSEDED, Delivery
from schemas.alerts import AlertState


class Ledger:
    """Records what becomes of deliveries: in the state of the receiver, and as rows to be stored."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._unsaved: dict[tuple[str, str, AlertState], Delivery] = {}

    def unsaved_rows(self) -> list[Delivery]:
        """Returns the rows with changes since their last save."""
        return list(self._unsaved.values())

    def mark_saved(self, rows: Iterable[Delivery]) -> None:
        """Notes that `rows` are stored. A row that has changed meanwhile stays unsaved."""
        for row in rows:
            if self._unsaved.get(key := (row.spike_id, row.receiver, row.state)) is row:
                del self._unsaved[key]

    def record(self, receiver_state: ReceiverState, row: Delivery) -> None:
        """Puts a row in the place of the former row of its state."""
        receiver_state.rows[row.state] = row
        self._unsaved[row.spike_id, row.receiver, row.state] = row

    def suppress(self, receiver_state: ReceiverState, pending: PendingDelivery, reason: str, detail: str = "") -> None:
        """Records that a state is not delivered, and why."""
        self.record(receiver_state, pending.outcome(f"{reason}: {detail}" if detail else reason))
        self._tally.count_suppressed(reason)

    def supersede(self, receiver_state: ReceiverState, left_out: Iterable[PendingDelivery]) -> None:
        """Takes states out of the queue in favour of a later one, except a state on its way."""
        for pending in list(left_out):
            if not pending.in_flight:
                receiver_state.queue.remove(pending)
                self.suppress(receiver_state, pending, SUPERSEDED)

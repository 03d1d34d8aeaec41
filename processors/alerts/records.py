"""Decoding of the topic `alerts`: each record becomes a SpikeAlert or a dead letter."""

from collections.abc import Iterable

from pydantic import ValidationError

from pipeline.dead_letters import DeadLetter
from processors.runtime.records import Run
from schemas.alerts import SPIKE_ALERT, SpikeAlert


def read_alerts(runs: Iterable[Run]) -> tuple[list[SpikeAlert], list[DeadLetter]]:
    """Returns the alerts in order, and a dead letter for each record that is no alert."""
    alerts: list[SpikeAlert] = []
    dead: list[DeadLetter] = []
    for run in runs:
        for record in run.records:
            try:
                alerts.append(SPIKE_ALERT.validate_json(record.value or b""))
            except ValidationError as error:
                flaw = error.errors(include_url=False, include_input=False)[0]
                reason = f"is no SpikeAlert: {flaw['msg']}; `engagement schema --asyncapi` prints what it must be"
                where = ".".join(map(str, flaw["loc"]))
                position = (run.topic, run.partition, record.offset)
                dead.append(DeadLetter(*position, record.key, record.value, record.timestamp, reason, where))
    return alerts, dead

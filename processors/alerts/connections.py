"""Opening of the receivers and of the heartbeat that an alerts file names."""

from processors.alerts.config import AlertsConfig
from processors.alerts.ports import Receiver
from processors.alerts.receivers.http import Endpoint
from processors.alerts.receivers.settings import Sender


def open_receivers(config: AlertsConfig) -> dict[str, Receiver]:
    """Returns the receiver of each name, not connected yet. Raises SettingsError for certificates that cannot be
    read."""
    sender = Sender(config.source, config.link)
    return {name: receiver.open(name, sender) for name, receiver in config.receivers.items()}


def open_heartbeat(config: AlertsConfig) -> Endpoint | None:
    """Returns the endpoint of the heartbeat, None where the file names none."""
    return None if config.heartbeat is None else Endpoint([config.heartbeat.url], config.heartbeat.timeout)

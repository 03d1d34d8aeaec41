"""Opening of the receivers and of the heartbeat that an alerts file names."""

import logging

from processors.alerts.config import AlertsConfig
from processors.alerts.pictures.album import Album, MinuteSource
from processors.alerts.pictures.chart import NO_PICTURES, is_drawable
from processors.alerts.ports import BlockingThread, Receiver
from processors.alerts.receivers.http import Endpoint
from processors.alerts.receivers.settings import Sender
from processors.alerts.receivers.wording import Links

log = logging.getLogger(__name__)


def open_receivers(config: AlertsConfig) -> dict[str, Receiver]:
    """Returns the receiver of each name, not connected yet. Raises SettingsError for certificates that cannot be
    read."""
    sender = Sender(config.source, Links(config.link, config.page))
    return {name: receiver.open(name, sender) for name, receiver in config.receivers.items()}


def open_heartbeat(config: AlertsConfig) -> Endpoint | None:
    """Returns the endpoint of the heartbeat, None where the file names none."""
    return None if config.heartbeat is None else Endpoint([config.heartbeat.url], config.heartbeat.timeout)


def open_pictures(config: AlertsConfig, source: MinuteSource, thread: BlockingThread) -> Album | None:
    """Returns the source of pictures, None where no receiver shows any, or where the library is missing, which the log
    says once."""
    if not any(receiver.takes_picture for receiver in config.receivers.values()):
        return None
    if not is_drawable():
        log.warning("each alert %s", NO_PICTURES)
        return None
    return Album(source, thread)

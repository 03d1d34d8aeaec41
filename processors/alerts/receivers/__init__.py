"""The kinds of receivers: one file a kind, one line in the table.

A kind is a subclass of ReceiverSettings with its settings, its message and its way of delivery. CONTRIBUTING.md ("Add a
receiver") has the steps.
"""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from processors.alerts.receivers.alertmanager import AlertmanagerSettings
from processors.alerts.receivers.email import EmailSettings
from processors.alerts.receivers.settings import ReceiverSettings
from processors.alerts.receivers.slack import SlackSettings
from processors.alerts.receivers.webhook import WebhookSettings

RECEIVERS: Final[dict[str, type[ReceiverSettings]]] = {
    "alertmanager": AlertmanagerSettings,
    "webhook": WebhookSettings,
    "slack": SlackSettings,
    "email": EmailSettings,
}
"""`kind` in the alerts file -> settings of the receiver."""

if TYPE_CHECKING:
    AnyReceiver = ReceiverSettings
else:
    AnyReceiver = Annotated[reduce(or_, RECEIVERS.values()), Field(discriminator="kind")]
"""The settings of one receiver in the alerts file, validated by the class of its `kind`."""

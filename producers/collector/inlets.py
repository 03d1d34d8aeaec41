"""The endpoints for events, each with mapper, media types and signature scheme."""

from collections.abc import Mapping
from typing import Final

from pipeline.settings import Settings
from producers.collector.access.signatures import STANDARD
from producers.collector.item_intake import Inlet
from producers.collector.mappers.activity_streams import ActivityStreams
from producers.collector.mappers.cloud_events import CloudEvents
from producers.collector.mappers.hooks import HOOKS, HookSpec
from producers.collector.mappers.known_objects import KnownObjects
from producers.collector.mappers.own import PlainEvents
from producers.collector.reading.items import LINES

EVENT_TYPES: Final = frozenset({"application/json", *LINES})
INBOX_TYPES: Final = frozenset({"application/activity+json", "application/ld+json", "application/json"})
FEDIVERSE: Final = "fediverse"
"""The channel of activities whose sender has no lone channel: their type does not tell the software."""


def make_inlets(settings: Settings, hooks: Mapping[str, HookSpec] = HOOKS) -> list[Inlet]:
    """Returns all endpoints for events. Raises SettingsError for a state file that cannot be used."""
    known = KnownObjects(settings.collect_state)
    activities = ActivityStreams(known)
    inlets = [
        Inlet("/v1/events", PlainEvents(), STANDARD, EVENT_TYPES),
        Inlet("/v1/cloudevents", CloudEvents(activities), STANDARD),
        Inlet("/inbox", activities, STANDARD, INBOX_TYPES, FEDIVERSE),
    ]
    inlets += [
        Inlet(f"/hooks/{name}", hook.make(known), hook.scheme, None, hook.channel, hook.summary)
        for name, hook in hooks.items()
    ]
    return inlets

"""The endpoints for events, each with mapper, media types and signature scheme."""

from typing import Final

from pipeline.settings import Settings
from producers.collector.access.signatures import STANDARD
from producers.collector.intake import Inlet
from producers.collector.mappers.own import OwnEvents
from producers.collector.reading.items import LINES

EVENT_TYPES: Final = frozenset({"application/json", *LINES})


def make_inlets(settings: Settings) -> list[Inlet]:
    """Returns all endpoints that take events."""
    return [Inlet("/v1/events", OwnEvents(), STANDARD, EVENT_TYPES)]

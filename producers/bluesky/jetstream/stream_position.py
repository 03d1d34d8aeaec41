"""The position in a stream: how it goes forward, and the cursor that a host is given. Pure: the clock is an argument.

A position never goes back. What comes again after a reconnection leaves it where it is.
"""

from typing import Final, NamedTuple

from producers.bluesky.jetstream.endpoints import JetstreamEndpoint
from producers.bluesky.jetstream.frames import Frame

REWIND_US: Final = 5_000_000
"""How far before the position a stream begins again, in microseconds: events around a cut come out of order."""

REWIND_EVENTS: Final = 5_000
"""The same in numbers of a v2 host: some seconds of the whole network."""

RENUMBERED_US: Final = 60_000_000
"""A host whose event numbers are lower than before, at times that are later by more than this, counts anew."""

AHEAD_US: Final = 600_000_000
"""A frame that is further ahead of our clock moves no position: it would leave out all that comes before its time."""


class Position(NamedTuple):
    """A position in a stream. `host`: the URL of the endpoint, to which a v2 cursor belongs; `time_us`: when the server
    saw the last frame, in microseconds since 1970, which every host understands."""

    version: str
    host: str
    cursor: int
    time_us: int


def advance_position(
    position: Position | None, endpoint: JetstreamEndpoint, frame: Frame, now_us: int
) -> Position | None:
    """Returns the position behind a frame, or the given position where the frame is not further."""
    if frame.time_us > now_us + AHEAD_US:
        return position
    new = Position(endpoint.version, endpoint.url, frame.cursor, frame.time_us)
    if position is None:
        return new
    if endpoint.version == position.version == "v2" and endpoint.url == position.host:
        if frame.cursor > position.cursor:
            return new._replace(time_us=max(frame.time_us, position.time_us))
        return new if frame.time_us > position.time_us + RENUMBERED_US else position
    return new if frame.time_us > position.time_us else position


def resume_cursor(endpoint: JetstreamEndpoint, position: Position | None) -> int | None:
    """Returns the cursor with which an endpoint goes on from a position; None begins with what happens next.

    Both begin some seconds before it. The number of an event counts on its own host alone; elsewhere the time does.
    """
    if position is None:
        return None
    if endpoint.version == position.version == "v2" and endpoint.url == position.host:
        return max(position.cursor - REWIND_EVENTS, 0)
    return position.time_us - REWIND_US

"""Unread records: held by Kafka and not committed by a worker yet, so neither the log nor the rows have them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline.errors import CheckFailed, Unavailable
from pipeline.kafka.client import Admin, Offsets, open_admin
from pipeline.settings import Settings
from processors.worker import AGENTS, AgentSpec

CONNECT_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.5
_SAY_SECONDS: Final = 5.0
"""How often a wait looks, and how often it says how far the workers are."""

FIRST, SECOND = (next(spec for spec in AGENTS if spec.name == name) for name in ("engagement", "conversations"))
"""The agents whose rows a recount compares."""


@dataclass(frozen=True)
class Unread:
    """Numbers of uncommitted records. `events`: records of the source topics. `cells`: messages for the conversation
    agent."""

    events: int
    cells: int


def count_unread(settings: Settings) -> Unread:
    """Counts records held by Kafka and not committed by workers. Raises Unavailable."""
    with open_admin(settings, CONNECT_SECONDS) as admin:
        return Unread(*(_left(admin, settings, spec, _ends(admin, settings, spec)) for spec in (FIRST, SECOND)))


def wait_until_read(settings: Settings, seconds: float, say: Callable[[str], None]) -> Unread:
    """Blocks until workers have committed all present events, and all messages about them.

    Raises CheckFailed after `seconds`, and Unavailable where Kafka does not answer at first.
    """
    until = time.monotonic() + seconds
    with open_admin(settings, CONNECT_SECONDS) as admin:
        for spec, what in ((FIRST, "records"), (SECOND, "messages between agents")):
            said = time.monotonic()
            ends = _ends(admin, settings, spec)
            while left := _left(admin, settings, spec, ends):
                now = time.monotonic()
                if now >= until:
                    raise CheckFailed(
                        f"{left:,} {what} are not read after {seconds:g} s: is a worker running (`engagement work`)? "
                        "Its log and /readyz say what it waits for"
                    )
                if now - said >= _SAY_SECONDS:
                    said = now
                    say(f"waiting for workers: {left:,} {what} are not read yet")
                time.sleep(LOOK_SECONDS)
        return Unread(*(_left(admin, settings, spec, _ends(admin, settings, spec)) for spec in (FIRST, SECOND)))


def _ends(admin: Admin, settings: Settings, spec: AgentSpec) -> Offsets:
    return admin.ends(list(spec.kinds(settings.topics)))


def _left(admin: Admin, settings: Settings, spec: AgentSpec, ends: Offsets) -> int:
    """Counts the records before `ends`, still kept by Kafka and not committed by the agent's group."""
    try:
        committed = admin.committed(spec.group(settings.topics))
    except Unavailable:  # the broker makes the group's coordinator when it is asked for the first time
        time.sleep(LOOK_SECONDS)
        committed = admin.committed(spec.group(settings.topics))
    beginnings = admin.beginnings(list(spec.kinds(settings.topics)))
    return sum(max(0, end - max(committed.get(place, 0), beginnings[place])) for place, end in ends.items())

"""The policy of a simulation: how many events, when, how untidy."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pipeline.errors import SettingsError

SPIKE_PATTERN: Final = re.compile(r"""(hashtag|mention):([^@\s"\\]{1,200})@(\d+)x(\d+(?:\.\d+)?)""")


@dataclass(frozen=True)
class PlantedSpike:
    """A planted spike: comments that name `name` come `factor` times as often from `minute` on, and fade within half an
    hour. They end with the simulation.

    >>> PlantedSpike.parse("hashtag:launch@120x20")
    PlantedSpike(where='hashtag', name='launch', minute=120, factor=20.0)
    """

    where: str
    name: str
    minute: int
    factor: float

    @classmethod
    def parse(cls, text: str) -> "PlantedSpike":
        """Parses a spike. Raises SettingsError for anything but hashtag:NAME@MINUTExFACTOR or
        mention:NAME@MINUTExFACTOR."""
        if (match := SPIKE_PATTERN.fullmatch(text)) is None:
            raise SettingsError(
                f"--spike {text[:80]}: must be hashtag:NAME@MINUTExFACTOR (or mention:...), like hashtag:launch@120x20"
            )
        return cls(match[1], match[2], int(match[3]), float(match[4]))


@dataclass(frozen=True)
class SimulationPolicy:
    """The policy of a simulation. `events`: likes, shares, comments and retractions; posts, spikes, awkward, repeated
    and malformed ones come on top.

    Shares are of `events`: `retractions` (taken back), `duplicates` (sent again), `late` (sent hours after they
    occurred), `out_of_order` (sent minutes after), `future` (dated far ahead of their receipt), `malformed` (not events
    at all), `awkward` (taken back before their target, twice, without target, of another kind; one id on two kinds and
    on two posts).
    """

    events: int = 10_000
    posts: int = 200
    seed: int = 1
    start: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    hours: float = 24.0
    retractions: float = 0.02
    duplicates: float = 0.0
    late: float = 0.0
    out_of_order: float = 0.0
    future: float = 0.0
    malformed: float = 0.0
    awkward: float = 0.0
    spikes: tuple[PlantedSpike, ...] = ()

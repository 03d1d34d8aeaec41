"""What is simulated: how much, when, how untidy."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pipeline.errors import SettingsError

SPIKE: Final = re.compile(r"""(hashtag|mention):([^@\s"\\]{1,200})@(\d+)x(\d+(?:\.\d+)?)""")


@dataclass(frozen=True)
class SpikePolicy:
    """Comments that name `name` come `factor` times as often from `minute` on, and fade within half an hour. They end
    with the simulation.

    >>> SpikePolicy.parse("hashtag:launch@120x20")
    SpikePolicy(where='hashtag', name='launch', minute=120, factor=20.0)
    """

    where: str
    name: str
    minute: int
    factor: float

    @classmethod
    def parse(cls, said: str) -> "SpikePolicy":
        """Raises SettingsError for anything but hashtag:NAME@MINUTExFACTOR or mention:NAME@MINUTExFACTOR."""
        if (found := SPIKE.fullmatch(said)) is None:
            raise SettingsError(
                f"--spike {said[:80]}: must be hashtag:NAME@MINUTExFACTOR (or mention:...), like hashtag:launch@120x20"
            )
        return cls(found[1], found[2], int(found[3]), float(found[4]))


@dataclass(frozen=True)
class SimulationPolicy:
    """`events`: likes, shares, comments and retractions; posts, spikes, awkward, repeated and malformed ones come on
    top.

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
    spikes: tuple[SpikePolicy, ...] = ()

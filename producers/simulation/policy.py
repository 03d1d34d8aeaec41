"""The policy of a simulation: how many events, when, how untidy."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from pipeline.errors import SettingsError
from schemas.events import EARLIEST

MOST_HOURS: Final = 87_660
"""Hours of the longest simulation. The memory of its clock grows with each hour."""

MOST_RETRACTIONS: Final = 0.5

LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""End of the time that simulations may have: --future events are dated behind it, and times of ClickHouse end in
2106."""

SPIKE_PATTERN: Final = re.compile(r"""(hashtag|mention):([^@\s"\\]{1,200})@(\d+)x(\d+(?:\.\d+)?)""")


SHARE_FIELDS: Final = ("duplicates", "late", "out_of_order", "future", "malformed", "awkward")
"""Fields of a policy that are shares of its events and do nothing unless asked for."""


@dataclass(frozen=True)
class PlantedSpike:
    """A planted spike: comments that name `name` come `factor` times as often from `minute` on, and fade within half an
    hour. They end with the simulation. `minute` counts from the start of the simulation.

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
        mention:NAME@MINUTExFACTOR, and for a factor that plants nothing."""
        if (match := SPIKE_PATTERN.fullmatch(text)) is None:
            raise SettingsError(
                f"--spike {text[:80]}: must be hashtag:NAME@MINUTExFACTOR (or mention:...), like hashtag:launch@120x20"
            )
        if float(match[4]) <= 1:
            raise SettingsError(f"--spike {text[:80]}: {match[4]} times as many are no more: give a FACTOR above 1")
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

    def check(self) -> None:
        """Raises SettingsError for a senseless policy, or one part of which would do nothing."""
        if self.posts < 1 or self.events < 0 or self.hours <= 0:
            raise SettingsError("a simulation needs at least one post, no fewer than 0 events and more than 0 hours")
        if self.hours > MOST_HOURS:
            raise SettingsError(f"--hours {self.hours:g} is above {MOST_HOURS:,}, which are ten years; give fewer")
        if not EARLIEST <= self.start <= LATEST - timedelta(hours=self.hours):
            raise SettingsError(
                f"--start {self.start.isoformat()}: all of it must lie from {EARLIEST:%Y} to {LATEST:%Y}, or "
                "events are dead letters; name another time, or fewer --hours"
            )
        if self.retractions > MOST_RETRACTIONS:
            raise SettingsError(
                f"--retractions {self.retractions:g}: an event is taken back once, so at most half of all can be "
                f"retractions; give at most {MOST_RETRACTIONS}"
            )
        minutes = math.ceil(self.hours * 60)
        for spike in self.spikes:
            if spike.minute >= minutes:
                raise SettingsError(
                    f"--spike {spike.where}:{spike.name}@{spike.minute}: the last minute is {minutes - 1}; name one "
                    "that is not after it, or more --hours"
                )
        for name in SHARE_FIELDS:
            if self.events == 0 and getattr(self, name):
                raise SettingsError(f"--{name.replace('_', '-')} is a share of --events, of which there are none")

    def count(self, share: float) -> int:
        """Returns the number of events of a share: at least one, where the share is not 0."""
        return max(1, round(self.events * share)) if self.events and share else 0

    @property
    def taken_back(self) -> int:
        """Returns the number of retractions, each of which has an event to take back."""
        return min(self.count(self.retractions), self.events // 2)

    @property
    def name(self) -> str:
        """The prefix of all ids, which follows from every option: two simulations that differ in any share none."""
        return f"sim{self.seed}-{options_hash(asdict(self))}"


def options_hash(options: Mapping[str, Any]) -> str:
    """Hashes the options to 8 hexadecimal digits: equal numbers and equal instants count as equal."""
    text = json.dumps(options, default=_plain, sort_keys=True)
    return blake2b(json.dumps(json.loads(text, parse_int=float)).encode(), digest_size=4).hexdigest()


def _plain(value: object) -> object:
    return value.timestamp() if isinstance(value, datetime) else str(value)

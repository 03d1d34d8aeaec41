"""Who is told of a conversation's spikes: pure, time is an argument."""

from datetime import datetime
from fnmatch import fnmatchcase
from typing import NamedTuple

from processors.alerts.config import AlertsConfig, Route, Silence
from schemas.events import fold_name


class Leg(NamedTuple):
    """One receiver of a conversation's spikes, and how severe they are to it."""

    receiver: str
    severity: str


class Routing:
    """The routes and silences of a file."""

    def __init__(self, config: AlertsConfig) -> None:
        self._routes = [(route, _folded(route)) for route in config.routes]
        self._silences = [(silence, _folded(silence)) for silence in config.silences]

    def legs(self, conversation: str) -> list[Leg]:
        """Each receiver once, in the order of the file, as severe as its first route says."""
        found: dict[str, Leg] = {}
        for route in self.route(conversation):
            for name in route.to:
                found.setdefault(name, Leg(name, route.severity))
        return list(found.values())

    def route(self, conversation: str) -> list[Route]:
        """The routes that decide: the first that fits, and those after it as long as they say `continue`."""
        name, taken = fold_name(conversation), list[Route]()
        for route, patterns in self._routes:
            if _fits(name, patterns):
                taken.append(route)
                if not route.go_on:
                    break
        return taken

    def silence(self, conversation: str, now: datetime) -> Silence | None:
        """The silence that is over it now, if any."""
        name = fold_name(conversation)
        for silence, patterns in self._silences:
            if (silence.begins is None or silence.begins <= now) and now < silence.until and _fits(name, patterns):
                return silence
        return None


def _folded(part: Route | Silence) -> list[str]:
    return [fold_name(pattern) for pattern in part.match]


def _fits(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)

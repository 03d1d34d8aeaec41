"""Routing of alerts: which receivers a conversation's spikes go to. Pure, time is an argument."""

from datetime import datetime
from fnmatch import fnmatchcase
from typing import NamedTuple

from processors.alerts.config import AlertsConfig, Route, Silence
from schemas.folding import fold_name


class MatchedRoute(NamedTuple):
    """A receiver of a conversation's spikes, with the severity of the matched route."""

    receiver: str
    severity: str


class Routing:
    """The routes and silences of an alerts file."""

    def __init__(self, config: AlertsConfig) -> None:
        self._routes = [(route, _folded(route)) for route in config.routes]
        self._silences = [(silence, _folded(silence)) for silence in config.silences]

    def matched_routes(self, conversation: str) -> list[MatchedRoute]:
        """Returns each receiver once, in the order of the file, with the severity of its first route."""
        matched: dict[str, MatchedRoute] = {}
        for route in self._deciding_routes(conversation):
            for receiver in route.to:
                matched.setdefault(receiver, MatchedRoute(receiver, route.severity))
        return list(matched.values())

    def silence(self, conversation: str, now: datetime) -> Silence | None:
        """Returns the silence in force for the conversation at `now`, or None."""
        name = fold_name(conversation)
        for silence, patterns in self._silences:
            if (silence.begins is None or silence.begins <= now) and now < silence.until and _fits(name, patterns):
                return silence
        return None

    def _deciding_routes(self, conversation: str) -> list[Route]:
        """Returns the first route with a fitting pattern, and fitting later routes as long as `continue` is set."""
        name, deciding = fold_name(conversation), list[Route]()
        for route, patterns in self._routes:
            if _fits(name, patterns):
                deciding.append(route)
                if not route.continues:
                    break
        return deciding


def _folded(part: Route | Silence) -> list[str]:
    return [fold_name(pattern) for pattern in part.match]


def _fits(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)

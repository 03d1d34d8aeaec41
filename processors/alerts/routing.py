"""Routing of alerts: which receivers a conversation's spikes go to. Pure, time is an argument."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from processors.alerts.config import AlertsConfig, Route, Silence
from processors.alerts.values.patterns import matcher, normalise
from schemas.folding import fold_name


class MatchedRoute(NamedTuple):
    """A receiver of a conversation's spikes, with the severity of the matched route."""

    receiver: str
    severity: str


class Routing:
    """The routes and silences of an alerts file."""

    def __init__(self, config: AlertsConfig) -> None:
        self._routes = [(route, _fitting(route)) for route in config.routes]
        self._silences = [(silence, _fitting(silence)) for silence in config.silences]

    def matched_routes(self, conversation: str) -> list[MatchedRoute]:
        """Returns each receiver once, in the order of the file, with the severity of its first route."""
        matched: dict[str, MatchedRoute] = {}
        for route in self._deciding_routes(conversation):
            for receiver in route.to:
                matched.setdefault(receiver, MatchedRoute(receiver, route.severity))
        return list(matched.values())

    def silence(self, conversation: str, now: datetime) -> Silence | None:
        """Returns the silence in force for the conversation at `now`, or None."""
        key = fold_name(conversation)
        for silence, fits in self._silences:
            if (silence.begins is None or silence.begins <= now) and now < silence.until and fits(key):
                return silence
        return None

    def _deciding_routes(self, conversation: str) -> list[Route]:
        """Returns the first route with a fitting pattern, and fitting later routes as long as `continue` is set."""
        key, deciding = fold_name(conversation), list[Route]()
        for route, fits in self._routes:
            if fits(key):
                deciding.append(route)
                if not route.continues:
                    break
        return deciding


def _fitting(part: Route | Silence) -> Callable[[str], bool]:
    """Returns the test whether a folded key fits one of the patterns."""
    tests = [matcher(normalise(pattern)) for pattern in part.match]
    return lambda key: any(fits(key) for fits in tests)

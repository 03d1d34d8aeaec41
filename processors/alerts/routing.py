"""Routing of alerts: which receivers a conversation's spikes go to. Pure, time is an argument."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from processors.alerts.config import AlertsConfig, Route, Silence
from processors.alerts.values.patterns import matcher, normalise
from schemas.alerts import SEVERITIES, Severity
from schemas.folding import fold_name


class MatchedRoute(NamedTuple):
    """A receiver of a conversation's spikes, with the severity of its alerts by the matched route (None: the spike's
    own), and the least severity of a delivered spike."""

    receiver: str
    severity: str | None
    min_severity: Severity


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
                matched.setdefault(receiver, MatchedRoute(receiver, route.severity, route.min_severity))
        return list(matched.values())

    def routes_of_all(self, conversations: Sequence[str]) -> list[MatchedRoute]:
        """Returns each receiver of any of the conversations once, with the least of its `min_severity`."""
        matched: dict[str, MatchedRoute] = {}
        for route in (route for conversation in conversations for route in self.matched_routes(conversation)):
            known = matched.setdefault(route.receiver, route)
            least = min(known.min_severity, route.min_severity, key=SEVERITIES.index)
            matched[route.receiver] = known._replace(min_severity=least)
        return list(matched.values())

    def silence_of_all(self, conversations: Sequence[str], now: datetime) -> Silence | None:
        """Returns a silence in force at `now` where each of the conversations has one, else None."""
        silences = [self.silence(conversation, now) for conversation in conversations]
        return silences[0] if silences and all(silences) else None

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

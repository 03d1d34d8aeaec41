"""Mastodon's API by Mastodon.py, with the manners that a server expects: its rate limits, its robots.txt, a name."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Final, Protocol
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

from mastodon import Mastodon
from mastodon.errors import MastodonError, MastodonNotFoundError
from requests import RequestException, Session

from pipeline.errors import Refused, SettingsError, Unavailable
from producers.mastodon.statuses import Status
from producers.mastodon.streaming import MastodonStream

AGENT: Final = "engagement-pipeline"
REQUEST_SECONDS: Final = 30
PAGE: Final = 40
"""Statuses of one answer of a timeline: the most that Mastodon gives."""

BATCH: Final = 20
"""Statuses that are asked for at once."""


class StatusApi(Protocol):
    """What is asked of a server. Each call blocks, also while the server's rate limit is spent; raises Unavailable
    where another try may help, and Refused where the server says no."""

    def timeline(self, name: str, after: str | None) -> Sequence[Status]:
        """Returns at most PAGE statuses of a timeline (`public`, `local`, `tag/<name>`, `account/<acct>`), the oldest
        ones above the id `after`, in order; the newest ones where None."""
        ...

    def statuses(self, ids: Sequence[str]) -> Sequence[Status]:
        """Returns the statuses of some ids in any order, without the deleted ones."""
        ...

    def context(self, status_id: str) -> tuple[Sequence[Status], Sequence[Status]]:
        """Returns the statuses above and below a status in its thread; nothing where the status is gone."""
        ...


class MastodonApi:
    """The API of a real server."""

    def __init__(self, server: str, token: str | None = None) -> None:
        """Connects to nothing yet, but reads robots.txt. Raises SettingsError for an address that is none, Refused
        where robots.txt keeps programs out, Unavailable."""
        address = server if "://" in server else f"https://{server}"
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise SettingsError(f"--server {server!r} is no server; name one such as mastodon.social")
        self._base = f"{parts.scheme}://{parts.netloc}"
        agent = f"{AGENT}/{version(AGENT)}"
        session = Session()
        session.headers["User-Agent"] = agent
        _ask_robots(session, self._base, agent)
        self._api = Mastodon(
            api_base_url=self._base,
            access_token=token,
            ratelimit_method="wait",
            request_timeout=REQUEST_SECONDS,
            session=session,
            user_agent=agent,
        )
        self._accounts: dict[str, Any] = {}

    def stream(self, *, is_local: bool) -> MastodonStream:
        """Begins to read the public stream, for which Mastodon wants a token."""
        return MastodonStream(self._api, is_local=is_local)

    def timeline(self, name: str, after: str | None) -> Sequence[Status]:
        page = {"limit": PAGE, **({} if after is None else {"min_id": after})}
        where, _, what = name.partition("/")
        if where == "tag":
            found = self._ask(lambda: self._api.timeline_hashtag(what, **page))
        elif where == "account":
            account = self._account(what)
            found = self._ask(lambda: self._api.account_statuses(account, **page))
        else:
            found = self._ask(lambda: self._api.timeline_public(local=where == "local", **page))
        return list(reversed(_list(found)))

    def statuses(self, ids: Sequence[str]) -> Sequence[Status]:
        try:
            return _list(self._ask(lambda: self._api.statuses(list(ids))))
        except _Gone:  # a server before 4.3 knows no question for several
            return [status for status_id in ids if (status := self._status(status_id)) is not None]

    def context(self, status_id: str) -> tuple[Sequence[Status], Sequence[Status]]:
        try:
            found = self._ask(lambda: self._api.status_context(status_id))
        except _Gone:
            return [], []
        return list(found["ancestors"]), list(found["descendants"])

    def _status(self, status_id: str) -> Status | None:
        with suppress(_Gone):
            status: Status = self._ask(lambda: self._api.status(status_id))
            return status
        return None

    def _account(self, name: str) -> Any:
        if name not in self._accounts:
            try:
                self._accounts[name] = self._ask(lambda: self._api.account_lookup(name))
            except _Gone:
                raise Refused(f"{self._base} knows no account {name!r}; name it as user or user@server") from None
        return self._accounts[name]

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except MastodonNotFoundError:
            raise _Gone from None
        except (MastodonError, RequestException) as error:
            reason = " ".join(str(part) for part in error.args if part)[:200]
            if any(isinstance(part, int) and 400 <= part < 500 for part in error.args):
                raise Refused(f"{self._base} refuses ({reason}); some timelines need --token-file") from None
            raise Unavailable(f"{self._base} does not answer as it should ({reason})") from None


def _list(answer: Any) -> list[Status]:
    """Returns the statuses of an answer. Raises Unavailable for an answer that holds none, as of a failing proxy."""
    if not isinstance(answer, list) or not all(isinstance(status, Mapping) and status.get("id") for status in answer):
        raise Unavailable("the answer of the server is no list of statuses")
    return answer


class _Gone(Exception):
    """The server has no such status or account."""


def _ask_robots(session: Session, base: str, agent: str) -> None:
    """Raises Refused where robots.txt keeps programs of this name out of the API. A server without one lets all in."""
    try:
        answer = session.get(f"{base}/robots.txt", timeout=REQUEST_SECONDS)
    except RequestException as error:
        raise Unavailable(f"{base} does not answer ({str(error)[:200]}); is --server right?") from None
    rules = RobotFileParser()
    rules.parse(answer.text.splitlines() if answer.ok else [])
    if not rules.can_fetch(agent, f"{base}/api/v1/timelines/public"):
        raise Refused(f"{base}/robots.txt keeps programs out of its API; ask its administrator, or take another server")

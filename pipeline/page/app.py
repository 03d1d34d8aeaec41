"""The ASGI application of the page: one document for all views, its assets, a stream of events, and search."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from pipeline.errors import EngagementError
from pipeline.page.access import COOKIE, AccessRule
from pipeline.page.assets_store import read_assets
from pipeline.page.feeds import FeedKey, Feeds
from pipeline.page.guard import Guard
from pipeline.page.search import search
from pipeline.page.views import MOST_SUBJECT, PARTS, VIEWS, PagePorts, feeds_of

BEAT_SECONDS: Final = 15.0
"""A silent stream says that it lives, so that proxies and browsers keep it open."""

MOST_VIEWERS: Final = 2000
MOST_FORM: Final = 4096
SESSION_SECONDS: Final = 30 * 86_400
SUBJECTS: Final = ("post", "conversation", "author", "spike")


class LivePage:
    """The endpoints of the page. `close` ends all streams."""

    def __init__(self, ports: PagePorts, rule: AccessRule) -> None:
        self._ports, self._rule = ports, rule
        self._assets = read_assets()
        self.feeds = Feeds(lambda key: PARTS[key.part](ports, key.subject))

    def close(self) -> None:
        """Ends all streams."""
        self.feeds.close()

    def routes(self) -> list[BaseRoute]:
        """Returns all routes."""
        documents = ["/", "/search", *(f"/{view}/{{subject:path}}" for view in SUBJECTS)]
        return [
            *(Route(path, self._document, methods=["GET"]) for path in documents),
            Route("/assets/{name:path}", self._asset, methods=["GET"]),
            Route("/events/{view}/{subject:path}", self._events, methods=["GET"]),
            Route("/find", self._find, methods=["GET"]),
            Route("/login", self._login_form, methods=["GET"]),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/healthz", self._healthz, methods=["GET"]),
        ]

    async def _document(self, request: Request) -> Response:
        return self._assets["index.html"].answer(request)

    async def _asset(self, request: Request) -> Response:
        asset = self._assets.get(request.path_params["name"])
        return asset.answer(request) if asset else PlainTextResponse("there is no such file\n", 404)

    async def _events(self, request: Request) -> Response:
        view, subject = request.path_params["view"], request.path_params["subject"]
        if view not in VIEWS or bool(subject) != (view in SUBJECTS) or len(subject) > MOST_SUBJECT:
            return JSONResponse({"error": f"there is no such view; there are {', '.join(VIEWS)}"}, 404)
        if self.feeds.viewers >= MOST_VIEWERS:
            return JSONResponse({"error": f"{MOST_VIEWERS} people watch already; try again later"}, 503)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._stream(feeds_of(view, subject)), media_type="text/event-stream", headers=headers)

    async def _stream(self, keys: list[FeedKey]) -> AsyncIterator[bytes]:
        viewer = self.feeds.join(keys)
        try:
            yield b"retry: 2000\n\n"
            while not self.feeds.is_closed:
                yield await viewer.messages(BEAT_SECONDS) or b": alive\n\n"
        finally:
            self.feeds.leave(viewer, keys)

    async def _find(self, request: Request) -> Response:
        try:
            found = await search(self._ports.database, request.query_params.get("q", ""))
        except EngagementError:
            return JSONResponse({"error": "ClickHouse does not answer now; try again"}, 503)
        return JSONResponse(found, headers={"cache-control": "no-store"})

    async def _login_form(self, request: Request) -> Response:
        return self._assets["login.html"].answer(request)

    async def _log_in(self, request: Request) -> Response:
        # Browsers say whence a form comes; forms of other sites are none of ours.
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return PlainTextResponse("this form was sent by another site\n", 403)
        fields = parse_qs((await _short_body(request)).decode("utf-8", "replace"), max_num_fields=4)
        if not self._rule.is_token(fields.get("token", [""])[0].strip()):
            return RedirectResponse("/login?wrong=1", 303)
        answer = RedirectResponse(_path_within(request.query_params.get("next", "/")), 303)
        answer.set_cookie(
            COOKIE,
            self._rule.cookie,
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https",
        )
        return answer

    async def _healthz(self, _: Request) -> Response:
        return JSONResponse({"live": True, "viewers": self.feeds.viewers})


def page_app(ports: PagePorts, rule: AccessRule, on_page: Callable[[LivePage], None] = lambda page: None) -> Starlette:
    """Returns the application. `on_page` gets the page once the loop runs."""
    routes: list[BaseRoute] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        page = LivePage(ports, rule)
        app.router.routes.extend(page.routes())
        on_page(page)
        yield
        page.close()
        await page.feeds.stop()

    return Starlette(routes=routes, middleware=[Middleware(Guard, rule=rule)], lifespan=lifespan)


async def _short_body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_FORM:
            return b""
    return body


def _path_within(path: str) -> str:
    """Returns a path of this site, never an address elsewhere."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"

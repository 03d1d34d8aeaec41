"""The gate in front of every answer: access, and headers that keep the page to itself."""

from typing import Final
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.page.access import AccessRule

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Scripts and styles come from files of this server alone; no script may make markup of text."""

HEADERS: Final = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex, nofollow",
}

OPEN_PATHS: Final = ("/login", "/healthz")
ASSETS: Final = "/assets/"


class Guard:
    """ASGI middleware: refuses whom the rule does not admit, and adds HEADERS to each answer."""

    def __init__(self, app: ASGIApp, rule: AccessRule) -> None:
        self._app, self._rule = app, rule

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope)
        app = self._app if self._may_pass(request) else self._refusal(request)
        await app(scope, receive, send_guarded)

    def _may_pass(self, request: Request) -> bool:
        path = request.url.path
        # The login page needs its style; assets are those of the package and tell nothing.
        is_open = path in OPEN_PATHS or path.startswith(ASSETS)
        return (is_open and not self._rule.is_open) or path == "/healthz" or self._rule.admits(request)

    def _refusal(self, request: Request) -> Response:
        if self._rule.is_open:
            return PlainTextResponse(
                "The page answers to 127.0.0.1 and localhost only. Under another name it needs ENGAGEMENT_PAGE_TOKEN "
                "or ENGAGEMENT_PAGE_PROXY_HEADER.\n",
                403,
            )
        if self._rule.token is None:
            return PlainTextResponse("The page is reached through the reverse proxy, which says who you are.\n", 403)
        if request.headers.get("accept", "").startswith("text/html"):
            return RedirectResponse(f"/login?next={quote(request.url.path, safe='/')}", 303)
        return JSONResponse({"error": "Authorization: send `Bearer` and the token, or log in at /login"}, 401)

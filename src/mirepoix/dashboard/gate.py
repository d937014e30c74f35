"""Let in only who may come in: names the user of each request, checks forms, and sets the headers of each answer.

Everything is refused that is not allowed. A request that changes something needs the form token of its session, and
must come from a page of this site. Only a trusted proxy may name a user, a scheme, a host or a prefix.
"""

from __future__ import annotations

import hmac
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mirepoix.dashboard.access import Access, User
from mirepoix.dashboard.sessions import COOKIE, LASTS_S, Session, Sessions

logger = logging.getLogger("mirepoix.dashboard")

Authorize = Callable[[Request], User | Awaitable[User | None] | None]
"""Names the user of a request, for a program that mounts the dashboard and knows its users."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"/login", "/enter"})
"""The paths that need no user, besides the static files."""

LONGEST_FORM = 256 * 1024
LONGEST_NAME = 200
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(slots=True)
class Visit:
    """What the gate knows about a request. It is ``request.state.visit``."""

    user: User | None
    session: Session
    form: dict[str, list[str]]
    form_token: str
    is_secure: bool
    address: str

    def first(self, name: str, default: str = "") -> str:
        """Return the first value of a form's field."""
        return self.form.get(name, [default])[0]


class Gate:
    """The middleware around every page."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        sessions: Sessions,
        authorize: Authorize | None = None,
        prefix: str = "",
        hosts: tuple[str, ...] = (),
    ) -> None:
        self._app = app
        self._access = access
        self._sessions = sessions
        self._authorize = authorize
        self._prefix = prefix.rstrip("/")
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = dict(scope)
        peer = scope["client"][0] if scope.get("client") else None
        is_trusted = self._access.is_trusted(peer)
        self._place(scope, is_trusted=is_trusted)
        request = Request(scope, receive)
        session = self._sessions.read(request.cookies.get(COOKIE))
        is_new = session is None
        session = session or self._sessions.new()
        visit = Visit(None, session, {}, "", scope["scheme"] == "https", peer or "")
        if is_trusted and (forwarded := request.headers.get("x-forwarded-for")):
            visit.address = forwarded.rpartition(",")[2].strip()

        has_begun: list[bool] = []

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                # Static files are asked for again and answered with 304; pages are never kept.
                headers.setdefault("cache-control", "no-cache" if path.startswith("/static/") else "no-store")
                has_begun.append(True)
                if is_new and not path.startswith("/static/") and "set-cookie" not in headers:
                    headers.append("set-cookie", cookie(self._sessions.written(session), scope, visit.is_secure))
            await send(message)

        path = _path(scope)
        refusal = await self._refusal(request, visit, path, is_trusted=is_trusted)
        if refusal is not None:
            await refusal(scope, receive, answer)
            return
        scope.setdefault("state", {})
        scope["state"] = {**scope["state"], "visit": visit}
        try:
            await self._app(scope, receive, answer)
        except Exception:
            # The page of the error is sent already. Whoever serves or mounts the site need not answer again.
            if not has_begun:
                raise
            logger.exception("a page of the dashboard failed: %s", path)

    async def _refusal(self, request: Request, visit: Visit, path: str, *, is_trusted: bool) -> Response | None:
        """Return the answer to a request that may not go on; None if it may. Fills in the user and the form."""
        if self._hosts and _hostname(request.headers.get("host", "")) not in self._hosts:
            return _no(421, "This name is not one of the dashboard's hosts.")
        visit.user = await self._user(request, visit.session, is_trusted=is_trusted)
        user_name = "" if visit.user is None else visit.user.name
        visit.form_token = self._sessions.form_token(visit.session, user_name)
        is_open = path in OPEN or path.startswith("/static/")
        if visit.user is None and not is_open:
            if request.method in SAFE and self._access.has_login and "hx-request" not in request.headers:
                back = quote(path + (f"?{request.url.query}" if request.url.query else ""), safe="/")
                return RedirectResponse(f"{request.scope['root_path']}/login?next={back}", 303)
            return _no(401, "Log in first. Open the address that mirepoix dashboard printed, or the login page.")
        if request.method in SAFE:
            return None
        if not _is_own(request):
            return _no(403, "This request comes from another site.")
        form = await _form(request)
        if form is None:
            return _no(413, "The form is too long, or it is not a form.")
        visit.form = form
        token = request.headers.get("x-mirepoix-form") or visit.first("form_token")
        if not self._sessions.fits(visit.session, user_name, token):
            return _no(403, "The form is too old. Go back, load the page again and send it again.")
        return None

    async def _user(self, request: Request, session: Session, *, is_trusted: bool) -> User | None:
        if self._authorize is not None:
            found: Any
            if inspect.iscoroutinefunction(self._authorize):
                found = await self._authorize(request)
            else:
                found = await run_in_threadpool(self._authorize, request)
                if inspect.isawaitable(found):
                    found = await found
            return found if isinstance(found, User) else None
        if self._access.proxy_header is not None and is_trusted:
            names = request.headers.getlist(self._access.proxy_header)
            # Two headers of that name: the client sent one, and the proxy did not replace it.
            name = _utf8(names[0]).strip() if len(names) == 1 else ""
            return self._access.of_proxy(name) if name.isprintable() and len(name) <= LONGEST_NAME else None
        is_valid = session.name and hmac.compare_digest(session.stamp, self._access.stamp(session.name))
        return self._access.named(session.name) if is_valid else None

    def _place(self, scope: Scope, *, is_trusted: bool) -> None:
        """Set the scheme, the host and the prefix by which the browser knows this site."""
        if self._prefix and not scope.get("root_path"):
            scope["root_path"] = self._prefix
            if not (scope["path"] == self._prefix or scope["path"].startswith(f"{self._prefix}/")):
                scope["path"] = self._prefix + scope["path"]  # the proxy has removed it
        scope.setdefault("root_path", "")
        if not is_trusted:
            return
        headers = Headers(scope=scope)
        if headers.get("x-forwarded-proto", "") in ("http", "https"):
            scope["scheme"] = headers["x-forwarded-proto"]
        if host := headers.get("x-forwarded-host"):
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [*others, (b"host", host.rpartition(",")[2].strip().encode("latin-1"))]


def cookie(value: str, scope: Scope, is_secure: bool, lasts_s: int = LASTS_S) -> str:
    """Return a Set-Cookie header for this site only, which no script can read and no other site can send."""
    path = quote(scope.get("root_path") or "/", safe="/")
    secure = "; Secure" if is_secure else ""
    return f"{COOKIE}={value}; Path={path}; Max-Age={lasts_s}; HttpOnly; SameSite=Strict{secure}"


def own_path(text: str) -> str:
    """Return *text* if it is a path of this site, or else ``/``. No other site may be named after a login."""
    is_plain = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    parts = urlsplit(text) if is_plain else None
    return text if parts is not None and not parts.scheme and not parts.netloc and "\\" not in text else "/"


def _path(scope: Scope) -> str:
    root, path = scope["root_path"], str(scope["path"])
    return path[len(root) :] or "/" if root and path.startswith(root) else path


def _hostname(host: str) -> str:
    try:
        return "" if "@" in host else (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _utf8(header: str) -> str:
    """Return a name from a header, of which ASGI servers make Latin-1. Empty if it is not UTF-8."""
    try:
        return header.encode("latin-1").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return ""


def _is_own(request: Request) -> bool:
    """Return whether a form was sent by a page of this site. Browsers say so in one header or the other."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("origin", "null")
    if origin == "null":  # our own forms say null because of no-referrer; the form token decides about them
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == request.headers.get("host", "").lower()


async def _form(request: Request) -> dict[str, list[str]] | None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return None
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            return None
    try:
        return parse_qs(body.decode(), keep_blank_values=True, strict_parsing=False, max_num_fields=2_000)
    except (ValueError, UnicodeDecodeError):
        return None


def _no(code: int, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", code)


def visit_of(request: Request) -> Visit:
    """Return what the gate knows about the request."""
    found: Any = request.state.visit
    assert isinstance(found, Visit)
    return found

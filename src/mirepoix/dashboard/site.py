"""Make the ASGI application of the dashboard for one Celery app, or for one ledger without an app."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from mirepoix.celery.installation import Installation, installation_of
from mirepoix.dashboard import errors
from mirepoix.dashboard.access import Access, User
from mirepoix.dashboard.attempts import WrongPasswords
from mirepoix.dashboard.gate import Authorize, Gate
from mirepoix.dashboard.jobs import Jobs
from mirepoix.dashboard.pages import (
    account,
    act,
    alerts,
    audit,
    chords,
    failures,
    limits,
    login,
    overview,
    queues,
    schedules,
    search,
    send,
    series,
    stack,
    steer,
    task,
    tasks,
    tuning,
    waiting,
    workers,
)
from mirepoix.dashboard.pages.tuning import Studied
from mirepoix.dashboard.previews import Previews
from mirepoix.dashboard.render import environment
from mirepoix.dashboard.sessions import Sessions
from mirepoix.dashboard.snapshot import Snapshot
from mirepoix.errors import ConfigurationError
from mirepoix.ledger.tx import Tx
from mirepoix.operations.redact import DEFAULT, Redactor

NO_CREDENTIAL = (
    "The dashboard has no credential, so anybody could use it. Set mirepoix_dashboard_users (make a hash: mirepoix "
    "dashboard --hash-password), or mirepoix_dashboard_proxy_header with mirepoix_dashboard_trusted_proxies, or give "
    "asgi(app, authorize=...) a function that names the user of a request."
)


@dataclass(eq=False)
class Site:
    """What the pages of one dashboard share. It is ``request.app.state.site``."""

    installation: Installation
    access: Access
    sessions: Sessions
    redactor: Redactor
    has_app: bool = True
    wrong_passwords: WrongPasswords = field(default_factory=WrongPasswords)
    previews: Previews = field(default_factory=Previews)
    studied: Studied | None = None
    """The latest study of waiting times."""

    @cached_property
    def jobs(self) -> Jobs:
        """The replays and long decisions that run in this process."""
        return Jobs(self.installation)

    @cached_property
    def snapshot(self) -> Snapshot:
        """The latest overview, which all its readers share."""
        return Snapshot(self.installation)

    @cached_property
    def templates(self) -> Any:
        """The templates of the pages."""
        return environment()

    def reading(self) -> AbstractContextManager[Tx]:
        """Begin a transaction that only reads."""
        return self.installation.source.reading()


def asgi(
    app: Any,
    *,
    users: Mapping[str, str] | None = None,
    tokens: Mapping[str, User] | None = None,
    secret: str | None = None,
    proxy_header: str | None = None,
    trusted_proxies: Iterable[str] | None = None,
    authorize: Authorize | None = None,
    prefix: str = "",
    hosts: Iterable[str] = (),
    has_app: bool = True,
) -> ASGIApp:
    """Return the dashboard of *app* as an ASGI application. Mount it, or serve it with any ASGI server.

    *users*, *secret*, *proxy_header* and *trusted_proxies* are the settings ``dashboard_…`` if they are not given.
    *authorize* gets each request and returns its `User` or None; it replaces every other credential. *prefix* is the
    path under which a proxy serves the site; a mounted application needs none. *hosts* are the only host names that are
    answered, if any are given. *has_app* is False if *app* was only made to reach a ledger.

    Raises ConfigurationError if there is no credential.
    """
    installation = installation_of(app)
    settings = installation.settings
    access = Access(
        dict(settings.dashboard_users or {}) if users is None else dict(users),
        dict(tokens or {}),
        settings.dashboard_proxy_header if proxy_header is None else proxy_header,
        tuple(settings.dashboard_trusted_proxies if trusted_proxies is None else trusted_proxies),
    )
    if authorize is None and not access.has_credentials:
        raise ConfigurationError(NO_CREDENTIAL)
    sessions = Sessions(secret or settings.dashboard_secret or secrets.token_hex(32))
    site = Site(installation, access, sessions, Redactor((*DEFAULT, *settings.dashboard_hide)), has_app)
    inner = Starlette(routes=_routes(), exception_handlers=errors.handlers(installation.source))
    inner.state.site = site
    return Gate(inner, access, sessions, authorize, prefix, tuple(host.lower() for host in hosts))


def _leaving(page: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Return *page*, so that the framework's connections of its thread are closed after it."""

    def answer(request: Request) -> Response:
        try:
            return page(request)
        finally:
            site: Site = request.app.state.site
            site.installation.source.leave()

    return answer


def _routes() -> list[Route | Mount]:
    def get(path: str, page: Callable[[Request], Response]) -> Route:
        return Route(path, _leaving(page), methods=["GET"])

    def post(path: str, page: Callable[[Request], Response]) -> Route:
        return Route(path, _leaving(page), methods=["POST"])

    return [
        get("/", overview.show),
        get("/enter", login.enter),
        get("/login", login.ask),
        post("/login", login.log_in),
        post("/logout", login.log_out),
        get("/search", search.search),
        get("/tasks", tasks.show),
        get("/tasks/{task_id:path}", task.show),
        get("/failures", failures.show_all),
        get("/failures/{group_id}", failures.show),
        post("/failures/{group_id}/decide", failures.decide),
        post("/failures/{group_id}/replay", failures.replay),
        post("/replays/{replay_id}/undo", failures.undo),
        get("/queues", queues.show),
        get("/queues/series.json", series.show),
        get("/workers", workers.show),
        get("/schedules", schedules.show_all),
        post("/schedules", schedules.change),
        get("/schedules/{name:path}", schedules.show),
        get("/limits", limits.show),
        post("/limits", limits.change),
        get("/tuning", tuning.show),
        post("/tuning", tuning.run),
        get("/tuning/plot.svg", tuning.plot),
        get("/waiting", waiting.show),
        get("/chords", chords.show_all),
        get("/chords/{group_id:path}", chords.show),
        get("/alerts", alerts.show),
        get("/audit", audit.show),
        get("/account", account.show),
        post("/stack", stack.ask),
        post("/steer", steer.change),
        get("/send", send.ask),
        post("/send", send.send),
        post("/act", act.preview),
        post("/act/{preview_id}", act.carry_out),
        get("/jobs/{job_id}", act.progress),
        post("/jobs/{job_id}/stop", act.stop),
        Mount("/static", StaticFiles(directory=str(files("mirepoix.dashboard") / "static")), name="static"),
    ]

"""The dashboard among a project's own pages: ``path("ops/tasks/", include("mirepoix.django.dashboard"))``.

Django's login and the permissions of the admin decide. Who may view tasks sees every page, with arguments, as in the
admin. Who may retry, requeue, cancel and discard tasks acts, and superusers administer. The pages work on Django's own
connections, under WSGI and ASGI. Needs the extra ``dashboard``.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import cache
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt

from mirepoix.dashboard import Role, User, asgi
from mirepoix.django import project

VERBS = ("retry", "requeue", "cancel", "discard")
USER = "mirepoix_user"
"""The key of the user in the scope of a request. Only this module can set it."""


@csrf_exempt  # type: ignore[untyped-decorator]  # every form has a token of the dashboard's own session
def page(request: HttpRequest, path: str) -> HttpResponse:
    """Answer with a page of the dashboard."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    user = _user(request.user)
    if user is None:
        raise PermissionDenied
    status, headers, body = async_to_sync(_answer)(_scope(request, path, user), request.body)
    answer = HttpResponse(body, status=status)
    with suppress(KeyError):
        del answer["content-type"]
    for name, value in headers:
        if name == "set-cookie":
            answer.cookies.load(value)
        else:
            answer[name] = value
    return answer


urlpatterns = [re_path(r"^(?P<path>.*)$", page, name="mirepoix_dashboard")]


def _user(user: Any) -> User | None:
    if not (user.is_active and user.has_perm("mirepoix.view_task")):
        return None
    roles = {Role.VIEW, Role.ARGUMENTS}
    if all(user.has_perm(f"mirepoix.{verb}_task") for verb in VERBS):
        roles.add(Role.ACT)
    if user.is_superuser:
        roles.add(Role.ADMINISTER)
    return User(user.get_username(), frozenset(roles))


@cache
def _application(app: Any) -> Any:
    """Return the dashboard of the project's app. Its sessions are signed with a key made from SECRET_KEY."""
    return asgi(app, authorize=lambda request: request.scope.get(USER), secret=f"{settings.SECRET_KEY}:dashboard")


def _scope(request: HttpRequest, path: str, user: User) -> dict[str, Any]:
    root = request.path[: len(request.path) - len(path)].rstrip("/")
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": f"{root}/{path}",
        "raw_path": None,
        "root_path": root,
        "query_string": request.META.get("QUERY_STRING", "").encode("latin-1"),
        "headers": [*(pair for pair in headers if pair[0] != b"host"), (b"host", request.get_host().encode("latin-1"))],
        "client": (request.META.get("REMOTE_ADDR", ""), 0),
        "server": None,
        USER: user,
    }


async def _answer(scope: dict[str, Any], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    """Run the application for one request; return its status, headers and body."""
    begun: list[dict[str, Any]] = []
    parts: list[bytes] = []

    asked = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if asked.is_set():
            await asyncio.Event().wait()  # the client is there until the answer is complete
        asked.set()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            begun.append(message)
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await _application(project.installation().app)(scope, receive, send)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in begun[0]["headers"]]
    return begun[0]["status"], headers, b"".join(parts)

"""A Django in this process, whose databases each test sets. Import it before anything of Django's is used."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        DATABASES={},
        INSTALLED_APPS=["mirepoix.django"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="for tests",
        USE_TZ=True,
    )
    django.setup()


def database(url: str, **more: Any) -> dict[str, Any]:
    """An entry of ``DATABASES``."""
    if url.startswith("sqlite"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": url.removeprefix("sqlite:///"), **more}
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.strip("/"),
        "USER": parts.username or "",
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        **more,
    }


def use(**databases: dict[str, Any]) -> None:
    """Let Django's databases be these, and begin without a connection to any."""
    forget()
    connections.settings = connections.configure_settings(databases)


def forget() -> None:
    """Close this thread's connections."""
    for alias in list(connections.settings):
        if hasattr(connections._connections, alias):
            connections[alias].close()
            del connections[alias]


views: dict[str, Any] = {}
"""What a test wants done in a request, by path."""


def _view(_request: HttpRequest, name: str) -> HttpResponse:
    views[name]()
    return HttpResponse("done")


@transaction.non_atomic_requests
def _plain_view(request: HttpRequest, name: str) -> HttpResponse:
    return _view(request, name)


async def _async_view(_request: HttpRequest, name: str) -> HttpResponse:
    views[name]()
    return HttpResponse("done")


urlpatterns = [
    path("atomic/<str:name>", _view),
    path("plain/<str:name>", _plain_view),
    path("async/<str:name>", transaction.non_atomic_requests(_async_view)),
]

"""A Django in this process, whose databases each test sets. Import it before anything of Django's is used."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import django
import pymysql
from django.conf import settings
from django.contrib import admin
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponse
from django.urls import path

pymysql.install_as_MySQLdb()

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        DATABASES={},
        CELERY_MIREPOIX_DJANGO_APP=f"{__name__}:celery_app",
        INSTALLED_APPS=[
            *(f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "messages", "sessions")),
            "mirepoix.django",
        ],
        MAILERS={"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}},  # for 6.1
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="for tests",
        STATIC_URL="static/",
        TASKS={
            "default": {"BACKEND": "mirepoix.django.backend.LedgerBackend", "QUEUES": ["default", "mail"]},
            "exact": {"BACKEND": "mirepoix.django.backend.LedgerBackend", "OPTIONS": {"transactional": True}},
        },
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        USE_TZ=True,
    )
    django.setup()


celery_app: Any = None
"""The project's Celery app; a test sets it."""


def database(url: str, **more: Any) -> dict[str, Any]:
    """An entry of ``DATABASES``."""
    if url.startswith("sqlite"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": url.removeprefix("sqlite:///"), **more}
    parts = urlsplit(url)
    return {
        "ENGINE": f"django.db.backends.{parts.scheme}",
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
            BaseDatabaseWrapper.close(connections[alias])  # also of a database in memory, which Django would keep
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
    path("admin/", admin.site.urls),
    path("atomic/<str:name>", _view),
    path("plain/<str:name>", _plain_view),
    path("async/<str:name>", transaction.non_atomic_requests(_async_view)),
]

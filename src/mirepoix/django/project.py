"""The project's Celery app: the app that a setting names, the app of the project's celery module, or the only app."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from celery import Celery
from celery.app.utils import find_app
from django.conf import settings

from mirepoix.celery import private
from mirepoix.celery.installation import Installation, installation_of
from mirepoix.config import Settings
from mirepoix.connect.django import DjangoSource, ledger_alias
from mirepoix.errors import ConfigurationError

NO_APP = (
    "The project has no Celery app that can be found. Write one into the celery module of the project's package "
    "(beside settings.py), or name it: CELERY_MIREPOIX_DJANGO_APP = 'shop.celery:app'."
)


def celery_app() -> Any:
    """Return the app. Raises ConfigurationError if there is none, and what the app's module raises."""
    named = str(getattr(settings, "CELERY_MIREPOIX_DJANGO_APP", Settings().django_app))
    if named:
        return _checked(named)
    for package in _packages():
        if _has_celery_module(package):
            return _checked(f"{package}.celery")
    # The current app belongs to one thread, and Celery creates a default app in others. So use the apps that exist.
    made = [app for app in private.active_apps() if app.main != "default" or app.fixups]
    if len(made) != 1:
        raise ConfigurationError(NO_APP)
    return made[0]


def installation() -> Installation:
    """Return what is installed on the project's app. Raises ConfigurationError."""
    app = celery_app()
    if getattr(app, "mirepoix", None) is None:
        raise ConfigurationError(
            f"Mirepoix is not installed on {app!r}. Write mirepoix.install(app) after it, in its module."
        )
    return installation_of(app)


def ledger() -> DjangoSource:
    """Return the ledger that the models read, on Django's own connections."""
    return DjangoSource(ledger_alias())


def has_ledger_of(found: Installation) -> bool:
    """Return whether the app writes into the ledger that the models read."""
    return isinstance(found.source, DjangoSource) and found.source.alias == ledger_alias()


def _checked(name: str) -> Any:
    try:
        app = find_app(name)
    except (AttributeError, ModuleNotFoundError) as error:
        raise ConfigurationError(
            f"The Celery app {name!r} was not found: {error}. Name it: CELERY_MIREPOIX_DJANGO_APP = 'shop.celery:app'."
        ) from error
    if not isinstance(app, Celery):
        raise ConfigurationError(
            f"{name!r} is not a Celery app but {type(app).__name__}. Name one: "
            "CELERY_MIREPOIX_DJANGO_APP = 'shop.celery:app'."
        )
    return app


def _packages() -> list[str]:
    """Return the packages that may be the project's: those of its settings and its URLs, and their parents."""
    modules = [os.environ.get("DJANGO_SETTINGS_MODULE", ""), str(getattr(settings, "ROOT_URLCONF", "") or "")]
    found: dict[str, None] = {}
    for module in modules:
        package = module.rpartition(".")[0]
        while package:
            found[package] = None
            package = package.rpartition(".")[0]
    return list(found)


def _has_celery_module(package: str) -> bool:
    try:
        return find_spec(f"{package}.celery") is not None
    except ModuleNotFoundError:
        return False

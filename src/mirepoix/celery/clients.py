"""Find the Celery app that a bridge sends with: by its import path, or an app of this process for a ledger's URL."""

from __future__ import annotations

import os
import threading
from typing import Any

from celery import Celery
from celery.app.utils import find_app

from mirepoix.celery.app import install
from mirepoix.celery.installation import installation_of

_apps: dict[tuple[int, str], Any] = {}
_lock = threading.Lock()


def client_by_path(path: str) -> Any:
    """Import the app at *path*. Raises ConfigurationError if Mirepoix is not installed on it."""
    app = find_app(path)
    installation_of(app)
    return app


def client_on(url: str, name: str) -> Any:
    """Return the app of this process for the ledger at *url*. It has no tasks of its own; *name* is its name."""
    with _lock:
        # A process that was forked must not use the connections of its parent.
        key = (os.getpid(), url)
        if key not in _apps:
            app = Celery(name, set_as_current=False)
            install(app, url)
            _apps[key] = app
        return _apps[key]

"""The Celery app of the Django site."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")

from celery import Celery

import mirepoix

app = Celery("site_app")
app.config_from_object("django.conf:settings", namespace="CELERY")
mirepoix.install(app)


@app.task
def add(x: int, y: int) -> int:
    """Return a sum."""
    return x + y

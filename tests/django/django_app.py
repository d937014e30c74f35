"""A Django project as a worker process has it: the tasks of `jobs.py`, with the database that the environment names."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import pymysql
from celery import Celery

import mirepoix

pymysql.install_as_MySQLdb()


def _database(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(parts.path), "OPTIONS": {"timeout": 20}}
    return {
        "ENGINE": f"django.db.backends.{parts.scheme}",
        "NAME": parts.path.strip("/"),
        "USER": parts.username or "",
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
    }


DATABASES = {"default": _database(os.environ["KITCHEN_DATABASE"])}
INSTALLED_APPS = ["mirepoix.django"]
SECRET_KEY = "for tests"
USE_TZ = True
TASKS = {
    "default": {"BACKEND": "mirepoix.django.backend.LedgerBackend", "QUEUES": ["default", "mail"]},
    "exact": {"BACKEND": "mirepoix.django.backend.LedgerBackend", "OPTIONS": {"transactional": True}},
}
CELERY_MIREPOIX_DJANGO_APP = "django_app:app"

app = Celery("django_app")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.imports = ["jobs"]
mirepoix.install(app)

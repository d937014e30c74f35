"""A Django site with django-celery-beat and django-celery-results, its ledger in the same SQLite file."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(os.environ["NEIGHBOURS_FOLDER"])
SECRET_KEY = "for tests"
USE_TZ = True
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "site.db", "OPTIONS": {"timeout": 20}}
}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_celery_beat",
    "django_celery_results",
    "mirepoix.django",
]
CELERY_RESULT_BACKEND = os.environ.get("NEIGHBOURS_BACKEND")
CELERY_MIREPOIX_SCHEDULES = "MIREPOIX_SCHEDULES" in os.environ
CELERY_BEAT_MAX_LOOP_INTERVAL = 1

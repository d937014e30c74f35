"""The shop's settings. What differs between machines comes from the environment; nothing has to be set to try it."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from django import VERSION

HERE = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SHOP_DATA", HERE / "data"))

DEBUG = os.environ.get("SHOP_DEBUG", "1") == "1"
SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "only for trying the example")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
ROOT_URLCONF = "website.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "mirepoix.django",
    "orders",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
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
]


def _database(url: str) -> dict[str, object]:
    """SHOP_DATABASE=postgresql://user:password@host:port/name or mysql://…; by default a file beside the code."""
    if not url:
        # An order and its tasks are one transaction: take the lock at its beginning, and wait for others.
        if VERSION < (5, 1):
            return {"ENGINE": "website.sqlite", "NAME": DATA / "shop.db", "OPTIONS": {"timeout": 20}}
        options = {"timeout": 20, "transaction_mode": "IMMEDIATE"}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA / "shop.db", "OPTIONS": options}
    parts = urlsplit(url)
    if parts.scheme == "mysql":
        import pymysql

        pymysql.install_as_MySQLdb()  # Django knows the driver by that name
    return {
        "ENGINE": f"django.db.backends.{parts.scheme}",
        "NAME": parts.path.strip("/"),
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


DATABASES = {"default": _database(os.environ.get("SHOP_DATABASE", "")) | {"ATOMIC_REQUESTS": True}}
"""ATOMIC_REQUESTS: an order and the tasks that its page sends are one transaction."""

EMAIL_BACKEND = os.environ.get("SHOP_EMAIL_BACKEND", "django.core.mail.backends.filebased.EmailBackend")
EMAIL_FILE_PATH = DATA / "mail"
DEFAULT_FROM_EMAIL = "shop@example.com"
ADMINS = [("Ann", "ann@example.com")]

SHOP_PROVIDER = os.environ.get("SHOP_PROVIDER", "http://127.0.0.1:8001")
"""Where payments are made; see provider.py."""

# ---- Celery and the ledger

CELERY_TIMEZONE = "UTC"
CELERY_TASK_TIME_LIMIT = 300
CELERY_MIREPOIX_RELEASE = os.environ.get("SHOP_RELEASE", "example")
CELERY_MIREPOIX_ALERTS = ["mail_admins", "logging"]
CELERY_MIREPOIX_ALERTS_BASE_URL = os.environ.get("SHOP_ADMIN", "http://127.0.0.1:8000/admin/")
CELERY_MIREPOIX_QUEUE_OBJECTIVES_S = {"celery": 60}

"""The shop's Celery app, with its ledger in the website's own database."""

import os

from celery import Celery

import mirepoix

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "website.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
mirepoix.install(app)

"""The Celery app of the site with tenants, as the page of tenant-schemas-celery says."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tenant_settings")

import django

django.setup()

from tenant_schemas_celery.app import CeleryApp

import mirepoix

app = CeleryApp("tenant_app")
app.config_from_object("django.conf:settings", namespace="CELERY")
mirepoix.install(app)


@app.task
def note(text: str) -> str:
    """Write a note for the tenant that sent the task, and return its schema."""
    from django.db import connection
    from notes.models import Note

    Note.objects.create(text=text)
    return str(connection.schema_name)


@app.task
def note_later(text: str) -> None:
    """Send a task for the same tenant."""
    note.delay(text)


@app.task
def gather(schemas: list[str]) -> None:
    """Write down for which tenants the members of a chord ran."""
    note(" ".join(schemas))


@app.task(bind=True, max_retries=1, default_retry_delay=0)
def note_again(self, text: str) -> None:
    """Fail once, then write."""
    if not self.request.retries:
        raise self.retry()
    note(text)

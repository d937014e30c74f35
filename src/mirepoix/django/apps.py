"""Django's configuration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class MirepoixConfig(AppConfig):  # type: ignore[misc]  # Django brings no types
    """The ledger in a Django project: its tables, models that read them, their admin, checks and a command."""

    name = "mirepoix.django"
    label = "mirepoix"
    verbose_name = "Mirepoix"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mirepoix.django import checks

        checks.register()

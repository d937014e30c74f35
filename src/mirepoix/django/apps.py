"""The app's name and label, as Django wants to know them."""

from __future__ import annotations

from django.apps import AppConfig


class MirepoixConfig(AppConfig):  # type: ignore[misc]  # Django brings no types
    """The ledger's tables as a Django app. It has no models: the ledger is written by its own statements."""

    name = "mirepoix.django"
    label = "mirepoix"
    verbose_name = "Mirepoix"

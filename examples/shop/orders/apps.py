"""The Django app."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """Its name, and the kind of its keys."""

    name = "orders"
    default_auto_field = "django.db.models.BigAutoField"

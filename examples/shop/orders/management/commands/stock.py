"""``manage.py stock``: something to sell, and somebody who may look into the admin."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandParser

from orders.models import Product

PRODUCTS = {"Celery": 199, "Carrot": 99, "Onion": 79}


class Command(BaseCommand):
    """Make the products, and an administrator with a new password if there is none."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """How many of each."""
        parser.add_argument("count", type=int, nargs="?", default=1000)

    def handle(self, *_: Any, count: int, **__: Any) -> None:
        """Do it."""
        for name, cents in PRODUCTS.items():
            Product.objects.update_or_create(name=name, defaults={"cents": cents, "stock": count})
        users = get_user_model().objects
        if not users.filter(username="admin").exists():
            password = secrets.token_urlsafe(9)
            users.create_superuser("admin", "ann@example.com", password)
            self.stdout.write(f"The admin's name is admin, the password {password}")

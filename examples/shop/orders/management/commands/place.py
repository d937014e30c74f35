"""``manage.py place 20``: orders, as customers place them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.test import Client
from django.urls import reverse

from orders.models import Product


class Command(BaseCommand):
    """Place orders through the page that does it."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """How many."""
        parser.add_argument("count", type=int, nargs="?", default=20)

    def handle(self, *_: Any, count: int, **__: Any) -> None:
        """Do it."""
        products = list(Product.objects.order_by("pk").values_list("pk", flat=True))
        if not products:
            raise CommandError("There is nothing to sell. Run: manage.py stock")
        client = Client()
        for number in range(count):
            order = {"product": products[number % len(products)], "email": f"customer-{number}@example.com"}
            answer = client.post(reverse("place"), order)
            if answer.status_code != 302:
                raise CommandError(f"An order was refused with {answer.status_code}.")
        self.stdout.write(f"{count} orders are placed.")

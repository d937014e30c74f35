"""``manage.py audit``: whether every order came to its end, and every cent was asked for once."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Sum

from mirepoix.django.models import Task
from orders.models import Order, Payment

UNDER_WAY = ("pending", "leased", "running")
POLL_S = 0.2


class Command(BaseCommand):
    """Wait until no task is under way, then count."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """How long to wait."""
        parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS")

    def handle(self, *_: Any, wait: float, **__: Any) -> None:
        """Do it; CommandError if something is wrong."""
        end = time.monotonic() + wait
        while (waiting := Task.objects.filter(state__in=UNDER_WAY).count()) and time.monotonic() < end:
            time.sleep(POLL_S)
        with urllib.request.urlopen(f"{settings.SHOP_PROVIDER}/charges", timeout=10) as answer:
            provider = json.load(answer)
        charged = sum(charge["cents"] for charge in provider["charges"])
        paid = Payment.objects.aggregate(cents=Sum("cents"))["cents"] or 0
        states = {state: Order.objects.filter(state=state).count() for state in Order.State.values}
        told = ", ".join(f"{count} {state}" for state, count in states.items() if count)
        self.stdout.write(f"orders: {told}; paid {paid} cents, charged {charged}, asked {provider['asked']} times")
        wrong = []
        if waiting:
            wrong.append(f"{waiting} tasks are still under way")
        if paid != charged or len(provider["charges"]) != Payment.objects.count():
            wrong.append("the provider's charges are not the shop's payments")
        if states[Order.State.PLACED] or states[Order.State.PAID]:
            wrong.append("orders are unfinished")
        if wrong:
            raise CommandError("; ".join(wrong))
        self.stdout.write(self.style.SUCCESS("Every order is accounted for."))

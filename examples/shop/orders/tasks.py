"""What happens to an order after its page was shown. Each task says why it may be run again.

reserve  ->  pay  ->  confirm           and each night:  a count of each product  ->  report
"""

from __future__ import annotations

import json
import urllib.request
from datetime import date
from typing import Any

from celery import chain, chord, shared_task
from django.conf import settings
from django.core.mail import send_mail
from django.db.models import F

import mirepoix
from orders.models import DailyReport, Order, Payment, Product


def process(order: Order) -> Any:
    """Send what brings *order* to its end. In a transaction it is sent if and only if that commits."""
    return chain(reserve.si(order.pk), pay.si(order.pk), confirm.si(order.pk)).delay()


@shared_task(transactional=True, ignore_result=True)
def reserve(number: int) -> None:
    """Take one from the stock.

    A counter is no thing to do twice. ``transactional``: the new stock commits together with the task's success, or
    not at all.
    """
    order = Order.objects.select_for_update().select_related("product").get(pk=number)
    if not Product.objects.filter(pk=order.product_id, stock__gt=0).update(stock=F("stock") - 1):
        Order.objects.filter(pk=number).update(state=Order.State.SOLD_OUT)
        raise SoldOut(f"order {number}: no {order.product.name!r} is left")


class SoldOut(Exception):
    """Nobody can mend this but the buyer of the shop: it is not tried again."""


@shared_task(
    ignore_result=True,
    retries=mirepoix.RetryPolicy(base_s=1, max_delay_s=60, max_age_s=24 * 3600, budget="20/s", destination="provider"),
)
def pay(number: int) -> None:
    """Charge the customer. While the provider is away this is tried again, at a pace that does not knock it over.

    The provider is far away, and the worker may die before its answer is written down. The key is the same for every
    attempt of this task, so the provider answers with the first payment instead of making another.
    """
    order = Order.objects.select_related("product").get(pk=number)
    reference = mirepoix.step("charge", charge, number, order.product.cents)
    Payment.objects.get_or_create(order=order, defaults={"reference": reference, "cents": order.product.cents})
    Order.objects.filter(pk=number, state=Order.State.PLACED).update(state=Order.State.PAID)


def charge(number: int, cents: int) -> str:
    """Ask the provider for money; its reference."""
    request = urllib.request.Request(
        f"{settings.SHOP_PROVIDER}/charges",
        data=json.dumps({"order": number, "cents": cents}).encode(),
        headers={"Content-Type": "application/json", "Idempotency-Key": mirepoix.idempotency_key("charge")},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["reference"])


@shared_task(ignore_result=True)
def confirm(number: int) -> None:
    """Tell the customer. A mail that was sent is not sent again, unless the worker dies in that very moment."""
    order = Order.objects.select_related("product").get(pk=number)
    mirepoix.step(
        "mail",
        send_mail,
        f"Your order {number}",
        f"Your {order.product.name} is on its way.",
        settings.DEFAULT_FROM_EMAIL,
        [order.email],
    )
    Order.objects.filter(pk=number).update(state=Order.State.SENT)


@shared_task
def count(product: int, day: str) -> list[int]:
    """How many of *product* were sold that day, and for how much. It only reads: it may be run as often as you like."""
    paid = Payment.objects.filter(order__product_id=product, order__placed_at__date=date.fromisoformat(day))
    cents = list(paid.values_list("cents", flat=True))
    return [len(cents), sum(cents)]


@shared_task(ignore_result=True)
def report(counts: list[list[int]], day: str) -> None:
    """Keep the day's sums. Writing the same row again changes nothing."""
    sold, cents = (sum(numbers) for numbers in zip(*counts, strict=True)) if counts else (0, 0)
    DailyReport.objects.update_or_create(day=date.fromisoformat(day), defaults={"orders": sold, "cents": cents})


def report_on(day: date) -> Any:
    """Send a count of each product, and what follows when all have returned."""
    products = Product.objects.order_by("pk").values_list("pk", flat=True)
    return chord([count.s(product, day.isoformat()) for product in products], report.s(day.isoformat())).delay()

"""Tasks that are safe to retry, in ways that are easily taken for unsafe: nothing may be found."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
import time
import uuid
from pathlib import Path

import httpx
import requests
from celery import chain
from corpus.apps import ledger, plain
from corpus.shop import Line, Order, Payment, Slug
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import F
from django.utils import timezone

import mirepoix

NAMES: list[str] = []
PAY = "https://pay.example/charges"


def safe(app, **options):
    def register(function):
        task = app.task(shared=False, **options)(function)
        NAMES.append(task.name)
        return task

    return register


@ledger.task(shared=False)
def later(*args):
    pass


@safe(plain)
def charge_with_the_orders_key(order):
    answer = requests.post(PAY, json={"order": order}, headers={"Idempotency-Key": f"order-{order}"}, timeout=5)
    Order.objects.filter(pk=order).update(charge=answer.json()["id"])


@safe(plain)
def set_values(order):
    Order.objects.filter(pk=order).update(status="paid")
    Order.objects.filter(pk=order).update(total=7)


@safe(plain)
def clock_and_random(order):
    with transaction.atomic():
        Payment.objects.filter(order_id=order).delete()
        Payment.objects.create(order_id=order, amount=1, token=f"{random.random()}-{uuid.uuid4()}")
    Order.objects.filter(pk=order).update(updated=timezone.now())


@safe(plain)
def put_with_a_nonce(order):
    body = {"at": time.time(), "nonce": random.random(), "when": dt.datetime.now(tz=dt.UTC).isoformat()}
    requests.put(f"{PAY}/{order}", json=body, timeout=5)
    httpx.put(f"{PAY}/{order}/state", json={"state": "paid"})


@safe(plain)
def get_or_create_unique(order):
    for number in range(3):
        Slug.objects.get_or_create(name=f"slug-{number}")


@safe(plain)
def replace_all_lines(order):
    with transaction.atomic():
        Line.objects.all().delete()
        payment, _ = Payment.objects.get_or_create(order_id=order, defaults={"amount": 5})
        for number in range(3):
            Line.objects.create(payment=payment, name=f"line {number}")


@safe(plain)
def guarded_increment(order):
    with transaction.atomic():
        locked = Order.objects.select_for_update().get(pk=order)
        if locked.status == "new":
            Order.objects.filter(pk=order).update(count=F("count") + 1, status="counted")


@safe(plain)
def upsert_in_bulk(order):
    Slug.objects.bulk_create([Slug(name=f"bulk-{n}") for n in range(3)], ignore_conflicts=True)


@safe(plain)
def write_then_replace(folder):
    draft = Path(folder, "report.tmp")
    draft.write_text("one\ntwo\n")
    draft.replace(Path(folder, "report.csv"))


@safe(plain, bind=True, max_retries=3)
def waits_by_retrying(self, order):
    if self.request.retries < 2:
        raise self.retry(countdown=1)
    Order.objects.filter(pk=order).update(status="at last")


@safe(plain)
def catches_exceptions(order):
    with contextlib.suppress(Exception):
        Order.objects.filter(pk=order).update(status="one")
        Order.objects.filter(pk=order).update(status="two")


@safe(plain)
def rolls_back_inside(order):
    with contextlib.suppress(ValueError), transaction.atomic():
        Line.objects.create(name="never")
        raise ValueError
    Order.objects.filter(pk=order).update(status="done")


@safe(ledger, transactional=True)
def transactional_transfer(order):
    Order.objects.filter(pk=order).update(count=F("count") + 1)
    Payment.objects.create(order_id=order, amount=1)
    later.delay(order)


@safe(ledger, transactional=True)
def transactional_chain(order):
    Payment.objects.create(order_id=order, amount=1)
    chain(later.s(order), later.s()).apply_async()


@safe(ledger)
def marks_and_sends_together(order):
    with transaction.atomic():
        if Order.objects.filter(pk=order, status="new").update(status="sent"):
            later.delay(order)


@safe(ledger)
def charge_by_step_and_key(order):
    def charge():
        key = mirepoix.idempotency_key("charge")
        return requests.post(PAY, json={"order": order}, headers={"Idempotency-Key": key}, timeout=5).json()["id"]

    Order.objects.filter(pk=order).update(charge=mirepoix.step("charge", charge))


@safe(ledger)
def mail_in_a_step(order):
    mirepoix.step("mail", send_mail, "Receipt", "Thank you", None, ["ann@example.com"])
    Order.objects.filter(pk=order).update(mailed=True)


@safe(ledger)
def sends_by_an_id_of_its_own(order):
    later.apply_async((order,), task_id=f"later-{order}")


@safe(ledger)
async def charge_by_key_in_a_coroutine(order):
    async with httpx.AsyncClient() as client:
        await client.post(PAY, json={"order": order}, headers={"Idempotency-Key": mirepoix.idempotency_key("charge")})

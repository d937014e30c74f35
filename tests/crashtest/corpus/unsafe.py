"""Tasks that are not safe to retry, each with the codes of what has to be found, and no others."""

from __future__ import annotations

import os
import random
import uuid
from pathlib import Path

import httpx
import requests
from celery import chain, chord, group
from corpus.apps import early, ledger, plain
from corpus.shop import Line, Order, Payment, Slug, Tag
from django.core.mail import EmailMessage, send_mail, send_mass_mail
from django.db import transaction
from django.db.models import F

import mirepoix

EXPECTED: dict[str, set[str]] = {}
PAY = "https://pay.example/charges"


def unsafe(app, *codes, **options):
    def register(function):
        task = app.task(shared=False, **options)(function)
        EXPECTED[task.name] = set(codes)
        return task

    return register


@plain.task(shared=False)
def other(*args):
    pass


@ledger.task(shared=False)
def later(*args):
    pass


@unsafe(plain, f"duplicate-http:POST {PAY}")
def charge_then_save(order):
    charge = requests.post(PAY, json={"order": order}, timeout=5).json()
    Payment.objects.create(order_id=order, amount=100)
    Order.objects.filter(pk=order).update(charge=charge["id"])


@unsafe(plain, f"changed-key:POST {PAY}")
def charge_with_a_random_key(order):
    requests.post(PAY, json={"order": order}, headers={"Idempotency-Key": str(uuid.uuid4())}, timeout=5)
    Order.objects.filter(pk=order).update(status="paid")


@unsafe(plain, f"duplicate-http:POST {PAY}")
def charge_in_a_transaction(order):
    with transaction.atomic():
        locked = Order.objects.select_for_update().get(pk=order)
        if locked.status == "paid":
            return
        httpx.post(PAY, json={"order": order})
        locked.status = "paid"
        locked.save()


@unsafe(plain, "lost-mail:ann@example.com: Receipt")
def save_then_mail(order):
    found = Order.objects.get(pk=order)
    if found.mailed:
        return
    found.mailed = True
    found.save()
    send_mail("Receipt", "Thank you", None, ["ann@example.com"])


@unsafe(plain, "lost-mail:ann@example.com: Receipt")
def mail_on_commit(order):
    with transaction.atomic():
        if not Order.objects.filter(pk=order, mailed=False).update(mailed=True):
            return
        transaction.on_commit(lambda: send_mail("Receipt", "Thank you", None, ["ann@example.com"]))


@unsafe(plain, "changed-row:corpus_order.count")
def increment(order):
    Order.objects.filter(pk=order).update(count=F("count") + 1)


@unsafe(plain, "changed-row:corpus_order.total")
def read_modify_write(order):
    found = Order.objects.get(pk=order)
    found.total -= 10
    found.save(update_fields=["total"])


@unsafe(plain, "duplicate-row:corpus_line")
def import_in_chunks(order):
    for chunk in range(3):
        Line.objects.bulk_create([Line(name=f"{chunk}-{number}") for number in range(3)])


@unsafe(plain, "duplicate-row:corpus_line")
def import_in_a_loop(order):
    for number in range(30):
        Line.objects.create(name=f"row {number}")


@unsafe(plain, "duplicate-row:corpus_tag")
def create_after_commit(order):
    with transaction.atomic():
        Order.objects.filter(pk=order).update(status="tagged")
    Tag.objects.create(name="new")


@unsafe(plain, "duplicate-row:corpus_payment")
def nested_rows(order):
    with transaction.atomic():
        payment = Payment.objects.create(order_id=order, amount=1)
        Line.objects.create(payment=payment, name="a")


@unsafe(plain, "duplicate-enqueue:corpus.unsafe.other")
def fan_out(order):
    for number in range(3):
        other.delay(order, number)


@unsafe(plain, "duplicate-enqueue:corpus.unsafe.other")
def fan_out_as_a_group(order):
    group(other.s(number) for number in range(2)).apply_async()


@unsafe(plain, "duplicate-enqueue:corpus.unsafe.other")
def begin_a_chain(order):
    chain(other.s(order), other.s()).apply_async()


@unsafe(plain, "duplicate-enqueue:chord corpus.unsafe.other")
def begin_a_chord(order):
    chord([other.s(1), other.s(2)])(other.s())


@unsafe(plain, "lost-enqueue:corpus.unsafe.other")
def send_after_marking(order):
    if Order.objects.filter(pk=order, status="new").update(status="sent"):
        other.delay(order)


@unsafe(plain, "changed-file:report.csv")
def append_to_a_file(folder):
    with Path(folder, "report.csv").open("a") as file:
        file.write("a line\n")


@unsafe(plain, "fails:FileExistsError")
def lock_left_behind(folder):
    lock = Path(folder, "lock")
    with lock.open("x"):
        pass
    try:
        Order.objects.update(status="exported")
    finally:
        lock.unlink()


@unsafe(plain, "fails:IntegrityError")
def insert_what_is_unique(order):
    with transaction.atomic():
        Slug.objects.create(name="once")


@unsafe(plain, "duplicate-mail:*")  # one line sends both
def mass_mail(order):
    send_mass_mail([("A", "x", None, ["ann@example.com"]), ("B", "x", None, ["bob@example.com"])])


@unsafe(plain, "duplicate-mail:ann@example.com: Receipt")
def retrying_mail(order):
    EmailMessage("Receipt", "Thank you", None, ["ann@example.com"]).send()


@unsafe(plain, "duplicate-mail:ann@example.com: Hello", bind=True, max_retries=3)
def mail_then_retry(self, order):
    if self.request.retries == 0:
        raise self.retry(countdown=1)
    send_mail("Hello", "again", None, ["ann@example.com"])
    Order.objects.filter(pk=order).update(mailed=True)


@unsafe(plain, f"duplicate-http:POST {PAY}", "swallowed:corpus.unsafe.swallow_all")
def swallow_all(order):
    try:
        requests.post(PAY, json={"order": order}, timeout=5)
        Order.objects.filter(pk=order).update(status="paid")
    except:  # noqa: E722
        pass


@unsafe(plain, "lost-row:corpus_payment")
def guard_between_two_writes(order):
    if Order.objects.filter(pk=order, status="new").update(status="paid"):
        Payment.objects.create(order_id=order, amount=100)


@unsafe(early, "early-ack:corpus.unsafe.acknowledged_early")
def acknowledged_early(order):
    Order.objects.filter(pk=order).update(status="half")
    Order.objects.filter(pk=order).update(status="done")


@unsafe(ledger, "lost-mail:ann@example.com: Receipt", transactional=True)
def transactional_with_on_commit(order):
    Order.objects.filter(pk=order).update(status="paid")
    transaction.on_commit(lambda: send_mail("Receipt", "Thank you", None, ["ann@example.com"]))


@unsafe(ledger, f"duplicate-http:POST {PAY}", transactional=True)
def transactional_with_a_charge(order):
    requests.post(PAY, json={"order": order}, timeout=5)
    Order.objects.filter(pk=order).update(status="paid")


@unsafe(ledger, f"duplicate-http:POST {PAY}")
def charge_beside_a_step(order):
    requests.post(PAY, json={"order": order}, timeout=5)
    mirepoix.step("mail", send_mail, "Receipt", "x", None, ["ann@example.com"])


@unsafe(ledger, f"duplicate-http:POST {PAY}")
async def charge_in_a_coroutine(order):
    async with httpx.AsyncClient() as client:
        await client.post(PAY, json={"order": order})
        await client.put(f"{PAY}/1", json={"done": True})


@unsafe(ledger, "duplicate-enqueue:corpus.unsafe.later")
async def send_in_a_coroutine(order):
    later.delay(order)


@unsafe(plain, "changed-file:log.txt", f"duplicate-http:POST {PAY}")
def file_and_charge(folder):
    requests.post(PAY, json={"n": random.random()}, timeout=5)
    with open(os.path.join(folder, "log.txt"), "a") as file:  # noqa: PTH118, PTH123
        file.write("charged\n")

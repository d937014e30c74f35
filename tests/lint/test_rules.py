"""Each rule finds what it is for, and is silent where it is not certain."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from mirepoix.lint.inspect import inspect
from mirepoix.lint.rules import RULES, explained

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "lint.md"
HEAD = """
import random, time, uuid, requests, httpx, stripe, mirepoix
from datetime import datetime
from celery import Celery, chain, group, shared_task
from celery.exceptions import MaxRetriesExceededError, Retry, SoftTimeLimitExceeded
from celery.result import AsyncResult, allow_join_result
from django.db import models, transaction
from django.shortcuts import get_object_or_404
from shop.tasks import charge
"""


def codes(text: str) -> list[str]:
    return [one.code for one in inspect(HEAD + textwrap.dedent(text))]


def in_task(body: str, options: str = "") -> list[str]:
    return codes(f"@shared_task(bind=True{options})\ndef work(self, order_id):\n" + textwrap.indent(body, "    "))


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.code)
def test_the_examples_of_a_rule_are_what_they_are_said_to_be(rule):
    assert [one.code for one in inspect(rule.bad)] == [rule.code]
    assert inspect(rule.good) == []


def test_the_page_explains_the_rules_and_no_other():
    page = PAGE.read_text("utf-8")
    for rule in RULES.values():
        assert explained(rule) in page
    assert re.findall(r"^## (MP\d+):", page, re.MULTILINE) == list(RULES)


@pytest.mark.parametrize(
    "text",
    [
        "def f(n):\n    o = Order.objects.filter(n=n).first()\n    charge.delay(o)",
        "def f(n):\n    charge.delay(Order.objects.get(n=n))",
        "def f(n):\n    o, made = Order.objects.get_or_create(n=n)\n    charge.delay(order=o)",
        "def f(n):\n    o = get_object_or_404(Order, n=n)\n    charge.apply_async(args=[o])",
        "def f(n):\n    o = get_object_or_404(Order, n=n)\n    charge.apply_async((o,), countdown=3)",
        "def f(n):\n    o = Order.objects.create(n=n)\n    charge.apply_async(kwargs={'order': o})",
        "def f():\n    for o in Order.objects.filter(paid=False):\n        charge.delay(o)",
        "def f():\n    chain(charge.s(Order.objects.get(n=1)), charge.si()).delay()",
        "async def f(n):\n    o = await Order.objects.aget(n=n)\n    charge.delay(o)",
        "class Order(models.Model):\n    def pay(self):\n        charge.delay(self)",
    ],
)
def test_an_instance_as_argument_is_found(text):
    assert codes(text) == ["MP001"]


@pytest.mark.parametrize(
    "text",
    [
        "def f(n):\n    o = Order.objects.get(n=n)\n    charge.delay(o.pk)",
        "def f(n):\n    o = Order.objects.values_list('pk', flat=True).first()\n    charge.delay(o)",
        "def f(n):\n    o = Order.objects.get(n=n)\n    o = o.pk\n    charge.delay(o)",
        "def f():\n    for o in Order.objects.values_list('pk', flat=True):\n        charge.delay(o)",
        "def f(o):\n    charge.delay(o)",
        "def f(cache):\n    o = cache.get('order')\n    charge.delay(o)",
        "class Form:\n    def pay(self):\n        charge.delay(self)",
        "def f(pool):\n    o = Order.objects.get(n=1)\n    pool.apply_async(charge, (o,))",
        "def f():\n    for o in Order.objects.get(n=1):\n        charge.delay(o)",
        "def f(n):\n    o = Order.objects.create(n=n)\n    charge.apply_async(args=[1], headers={'o': o})",
    ],
)
def test_what_need_not_be_an_instance_is_left_alone(text):
    assert codes(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    with transaction.atomic():\n        charge.delay(1)",
        "def f():\n    with transaction.atomic(using='b'), lock():\n        if x:\n            charge.apply_async()",
        "@transaction.atomic\ndef f():\n    charge.delay(1)",
        "from django.utils.decorators import method_decorator as on\n@on(transaction.atomic)\ndef f(): charge.delay(1)",
        "@transaction.atomic(durable=True)\ndef f():\n    charge.delay(1)",
        "def f(session):\n    with session.begin():\n        charge.delay(1)",
        "async def f():\n    async with Session.begin() as session:\n        charge.delay(1)",
        "app = Celery('shop')\ndef f():\n    with transaction.atomic():\n        app.send_task('charge')",
        "def f():\n    with transaction.atomic():\n        chain(charge.s(1), charge.s(2)).apply_async()",
        "def f():\n    with transaction.atomic():\n        (charge.s(1) | charge.s()).delay()",
        "from django.db.transaction import atomic as together\ndef f():\n    with together():\n        charge.delay(1)",
        "@shared_task\ndef next(): ...\ndef f():\n    with transaction.atomic():\n        next.delay()",
    ],
)
def test_sending_in_a_transaction_is_found(text):
    assert codes(text) == ["MP002"]


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    with transaction.atomic():\n        transaction.on_commit(lambda: charge.delay(1))",
        "def f():\n    with transaction.atomic():\n        def f():\n            charge.delay(1)\n        then(f)",
        "def f():\n    with transaction.atomic():\n        charge.delay_on_commit(1)",
        "def f():\n    with transaction.atomic():\n        pass\n    charge.delay(1)",
        "def f():\n    with transaction.atomic(using=settings.DATABASE_REPLICA):\n        charge.delay(1)",
        "def f(pool):\n    with transaction.atomic():\n        pool.apply_async(work, (1,))",
        "def f(timer):\n    with transaction.atomic():\n        timer.delay(1)",
        "def f(work):\n    with work.begin():\n        charge.delay(1)",
        "def f():\n    with transaction.atomic(charge.delay(1)):\n        pass",
    ],
)
def test_sending_after_the_transaction_is_left_alone(text):
    assert codes(text) == []


@pytest.mark.parametrize(
    "body",
    [
        "try:\n    self.retry()\nexcept Exception:\n    log()",
        "try:\n    raise self.retry(countdown=3)\nexcept:\n    pass",
        "try:\n    if x:\n        work.retry()\nexcept BaseException:\n    return None",
        "try:\n    raise Retry()\nexcept ValueError:\n    pass\nexcept Exception as e:\n    log(e)",
        "try:\n    try:\n        pay()\n    except OSError:\n        raise self.retry()\nexcept Exception:\n    log()",
    ],
)
def test_a_swallowed_retry_is_found(body):
    assert in_task(body) == ["MP003"]


@pytest.mark.parametrize(
    "body",
    [
        "try:\n    pay()\nexcept Exception as e:\n    raise self.retry(exc=e)",
        "try:\n    self.retry()\nexcept Retry:\n    raise\nexcept Exception:\n    log()",
        "try:\n    self.retry()\nexcept MaxRetriesExceededError:\n    log()",
        "try:\n    self.retry()\nexcept Exception:\n    log()\n    raise",
        "try:\n    self.retry(throw=False)\nexcept Exception:\n    log()",
        "try:\n    client.retry()\nexcept Exception:\n    log()",
        "try:\n    self.retry()\nexcept Exception as e:\n    if not isinstance(e, Retry):\n        log()",
        "try:\n    pass\nexcept ValueError:\n    pass\nelse:\n    self.retry()",
        "try:\n    self.retry()\nexcept (Retry, Exception):\n    log()",
    ],
)
def test_a_retry_that_gets_through_is_left_alone(body):
    assert in_task(body) == []


@pytest.mark.parametrize(
    ("body", "options", "found"),
    [
        ("try:\n    pay()\nexcept Exception:\n    log()", ", soft_time_limit=60", ["MP004"]),
        ("while 1:\n    try:\n        pay()\n    except:\n        log()", ", soft_time_limit=LIMIT", ["MP004"]),
        ("try:\n    pay()\nexcept Exception:\n    log()", "", []),
        ("try:\n    pay()\nexcept Exception:\n    log()", ", soft_time_limit=None", []),
        ("try:\n    pay()\nexcept OSError:\n    log()", ", soft_time_limit=60", []),
        ("try:\n    pay()\nexcept Exception:\n    raise", ", soft_time_limit=60", []),
        (
            "try:\n    pay()\nexcept SoftTimeLimitExceeded:\n    end()\nexcept Exception:\n    log()",
            ", soft_time_limit=60",
            [],
        ),
        (
            "try:\n    pay()\nexcept OSError:\n    try:\n        tidy()\n    except Exception:\n        log()",
            ", soft_time_limit=1",
            [],
        ),
    ],
)
def test_a_swallowed_soft_time_limit_is_found_where_there_is_one(body, options, found):
    assert in_task(body, options) == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("charge.delay(1).get()", ["MP005"]),
        ("r = charge.apply_async((1,))\nreturn r.get(timeout=3)", ["MP005"]),
        ("AsyncResult(order_id).get()", ["MP005"]),
        ("group(charge.s(1))().get()", ["MP005"]),
        ("r = group(charge.s(1)).delay()\nr.join()", ["MP005"]),
        ("charge.delay(1).get(disable_sync_subtasks=False)", []),
        ("r = charge.delay(1)\nwith allow_join_result():\n    r.get()", []),
        ("charge.apply((1,)).get()", []),
        ("r = charge.delay(1)\nreturn r.id", []),
        ("r = cache.get(1)\nreturn r.get('x')", []),
        ("r = charge.delay(1)\nr = {}\nr.get(1)", []),
    ],
)
def test_waiting_for_another_task_is_found(body, found):
    assert in_task(body) == found


def test_waiting_for_a_task_outside_of_one_is_left_alone():
    assert codes("def view():\n    return charge.delay(1).get()") == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("requests.post(u, headers={'idempotency-key': str(uuid.uuid4())})", ["MP006"]),
        ("k = uuid.uuid4().hex\nrequests.post(u, headers={'Idempotency-Key': k})", ["MP006"]),
        ("k = f'{order_id}-{time.time()}'\nstripe.Charge.create(idempotency_key=k)", ["MP006"]),
        ("mirepoix.step(f'pay-{uuid.uuid4()}', pay)", ["MP006"]),
        ("mirepoix.idempotency_key(datetime.now().isoformat())", ["MP006"]),
        ("h = {}\nh['Idempotency-Key'] = str(random.random())", ["MP006"]),
        ("stripe.Charge.create(idempotency_key=f'order-{order_id}')", []),
        ("k = load()\nif not k:\n    k = str(uuid.uuid4())\nstripe.Charge.create(idempotency_key=k)", []),
        ("Payment(idempotency_key=str(uuid.uuid4()))", []),
        ("k = mirepoix.step('key', lambda: str(uuid.uuid4()))\nstripe.Charge.create(idempotency_key=k)", []),
        ("k = stable(uuid.uuid4())\nstripe.Charge.create(idempotency_key=k)", []),
    ],
)
def test_a_key_that_changes_is_found(body, found):
    assert in_task(body) == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("requests.post(u, json={})", ["MP010"]),
        ("s = requests.Session()\ns.post(u)", ["MP010"]),
        ("httpx.post(u, headers={'Accept': 'x'})", ["MP010"]),
        ("requests.post(u, headers={'Idempotency-Key': order_id})", []),
        ("requests.post(u, headers=h)", []),
        ("requests.post(u, **options)", []),
        ("requests.post(u, headers={**h})", []),
        ("requests.post(u, json={'idempotency_key': order_id})", []),
        ("requests.get(u)", []),
        ("client.post(u)", []),
    ],
)
def test_a_post_without_a_key_is_told(body, found):
    assert in_task(body) == found


@pytest.mark.parametrize(
    ("text", "is_task"),
    [
        ("from celery import shared_task as job\n@job\ndef f(): {}", True),
        ("import celery\n@celery.shared_task()\ndef f(): {}", True),
        ("from celery import Celery\nkitchen = Celery('x')\n@kitchen.task\ndef f(): {}", True),
        ("from shop.celery import app\n@app.task(queue='x')\nasync def f(): {}", True),
        ("from celery import Task\nclass F(Task):\n    def run(self): {}", True),
        ("from invoke import task\n@task\ndef f(): {}", False),
        ("from huey import app\n@app.task\ndef f(): {}", False),
        ("from procrastinate import App\napp = App()\n@app.task\ndef f(): {}", False),
        ("def f(): {}", False),
    ],
)
def test_tasks_are_known_by_what_makes_them(text, is_task):
    found = inspect("import requests\n" + text.replace("{}", "requests.post(u)"))
    assert [one.code for one in found] == (["MP010"] if is_task else [])


SEND = "from django.db import transaction\nfrom shop import charge\ndef f():\n    with transaction.atomic():\n"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("charge.delay(1)  # noqa: MP002", []),
        ("charge.delay(1)  # noqa", []),
        ("charge.delay(1)  # NOQA: E501, mp002", []),
        ("charge.delay(\n  1,\n)  # noqa: MP002", []),
        ("charge.delay(1)  # noqa: MP001", ["MP002"]),
        ("charge.delay(1)  # a comment", ["MP002"]),
    ],
)
def test_a_noqa_silences_what_it_names_on_its_line(line, found):
    assert [one.code for one in inspect(SEND + "        " + line)] == found

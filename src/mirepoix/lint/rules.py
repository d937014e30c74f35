"""What is looked for, why, and how it is done better; the page docs/reference/lint.md is made of this."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How sure and how grave. An info does not change the exit code."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. *bad* and *good* are whole modules: tests lint them."""

    code: str
    name: str
    level: Level
    reason: str
    bad: str
    good: str


RULES = {
    rule.code: rule
    for rule in (
        Rule(
            "MP001",
            "a model's instance as argument",
            Level.ERROR,
            "The message would carry a copy of the row as it was when the task was sent: JSON refuses it, "
            "and with pickle "
            "the task works on old data and breaks when the model changes. Seen are variables that are only ever given "
            "what Django's managers, get_object_or_404() or the model's own self return.",
            "from shop.tasks import charge\n\n"
            "def pay(number):\n    order = Order.objects.get(number=number)\n    charge.delay(order)\n",
            "from shop.tasks import charge\n\n"
            "def pay(number):\n    order = Order.objects.get(number=number)\n    charge.delay(order.pk)\n",
        ),
        Rule(
            "MP002",
            "sent inside a transaction that may roll back",
            Level.ERROR,
            "A worker can begin before the commit and not find the row; after a rollback the task runs all "
            "the same. With "
            "Mirepoix it is right to send there, because the task is part of the transaction: the rule is "
            "off where the "
            "project depends on mirepoix (see the setting ledger). Seen are Django's atomic() and begin() of a "
            "session, sessionmaker, engine or connection, in the function that sends.",
            "from django.db import transaction\nfrom shop.tasks import charge\n\n"
            "def pay(order):\n    with transaction.atomic():\n        order.save()\n        charge.delay(order.pk)\n",
            "from functools import partial\nfrom django.db import transaction\nfrom shop.tasks import charge\n\n"
            "def pay(order):\n    with transaction.atomic():\n        order.save()\n"
            "        transaction.on_commit(partial(charge.delay, order.pk))\n",
        ),
        Rule(
            "MP003",
            "a broad except swallows a retry",
            Level.ERROR,
            "self.retry() raises Retry, which is an Exception. Caught and not raised again, the task is recorded as "
            "successful, while its retry was sent already.",
            "from celery import shared_task\n\n@shared_task(bind=True)\n"
            "def charge(self, order_id):\n    try:\n        if not bank_is_open():\n"
            "            self.retry(countdown=60)\n"
            "    except Exception:\n        logger.exception('no charge')\n",
            "from celery import shared_task\n\n@shared_task(bind=True)\n"
            "def charge(self, order_id):\n    if not bank_is_open():\n        raise self.retry(countdown=60)\n"
            "    try:\n        bank_charge(order_id)\n    except BankError:\n        logger.exception('no charge')\n",
        ),
        Rule(
            "MP004",
            "a broad except swallows the soft time limit",
            Level.WARNING,
            "SoftTimeLimitExceeded is an Exception. Caught like any other, the task goes on until the hard "
            "limit kills it, "
            "or ends in the middle and is recorded as successful. Looked for in tasks with a "
            "soft_time_limit of their own.",
            "from celery import shared_task\n\n@shared_task(soft_time_limit=60)\n"
            "def index(ids):\n    for id in ids:\n        try:\n            index_one(id)\n"
            "        except Exception:\n            logger.exception('not indexed')\n",
            "from celery import shared_task\nfrom celery.exceptions import SoftTimeLimitExceeded\n\n"
            "@shared_task(soft_time_limit=60)\n"
            "def index(ids):\n    for id in ids:\n        try:\n            index_one(id)\n"
            "        except SoftTimeLimitExceeded:\n            raise\n"
            "        except Exception:\n            logger.exception('not indexed')\n",
        ),
        Rule(
            "MP005",
            "a task that waits for another",
            Level.ERROR,
            "It holds a place in the pool while it waits; when all places wait nothing runs any more. Celery raises a "
            "RuntimeError for it unless it is told otherwise, as disable_sync_subtasks=False and "
            "allow_join_result() do, which "
            "this rule respects.",
            "from celery import shared_task\nfrom shop.tasks import price\n\n@shared_task\n"
            "def charge(order_id):\n    amount = price.delay(order_id).get()\n    bank_charge(amount)\n",
            "from celery import chain, shared_task\nfrom shop.tasks import bank_charge, price\n\n@shared_task\n"
            "def charge(order_id):\n    chain(price.s(order_id), bank_charge.s()).delay()\n",
        ),
        Rule(
            "MP006",
            "an idempotency key that changes",
            Level.ERROR,
            "A key that is random, or of the clock, is another one in each attempt: the other side takes "
            "the repetition for "
            "a new request, and charges twice. Looked for in the headers Idempotency-Key and PayPal-Request-Id, in "
            "idempotency_key= arguments, and in the names of mirepoix.step() and mirepoix.idempotency_key().",
            "import uuid\nimport requests\nfrom celery import shared_task\n\n@shared_task\n"
            "def charge(order_id):\n    key = str(uuid.uuid4())\n"
            "    requests.post(URL, json={'order': order_id}, headers={'Idempotency-Key': key})\n",
            "import mirepoix\nimport requests\nfrom celery import shared_task\n\n@shared_task\n"
            "def charge(order_id):\n    key = mirepoix.idempotency_key('charge')\n"
            "    requests.post(URL, json={'order': order_id}, headers={'Idempotency-Key': key})\n",
        ),
        Rule(
            "MP010",
            "a POST without an idempotency key",
            Level.INFO,
            "When the worker dies after the request, the next attempt sends it again. Nothing is wrong if "
            "the other side "
            "knows repetitions in another way, or bears them. Looked for in requests and httpx, where all "
            "headers can be seen.",
            "import requests\nfrom celery import shared_task\n\n@shared_task\n"
            "def charge(order_id):\n    requests.post(URL, json={'order': order_id})\n",
            "import mirepoix\nimport requests\nfrom celery import shared_task\n\n@shared_task\n"
            "def charge(order_id):\n    mirepoix.step('charge', requests.post, URL, json={'order': order_id})\n",
        ),
    )
}


def explained(rule: Rule) -> str:
    """A rule as Markdown, for the page and for ``--explain``."""
    return (
        f"## {rule.code}: {rule.name}\n\nLevel: {rule.level}. {rule.reason}\n\n"
        f"Bad:\n\n```python\n{rule.bad}```\n\nGood:\n\n```python\n{rule.good}```\n\n"
        f'Silence it in one line with `# noqa: {rule.code}`, everywhere with `ignore = ["{rule.code}"]`.\n'
    )

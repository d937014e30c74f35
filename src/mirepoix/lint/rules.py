"""The rules of the lint, with reasons and examples. A test compares docs/reference/lint.md with them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The certainty and severity of a rule. An info does not change the exit code."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule. *bad* and *good* are whole modules, and tests lint them."""

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
            "The message carries a copy of the row from when the task was sent. JSON refuses such an argument. "
            "With pickle the task works on old data, and breaks when the model changes. The rule finds variables "
            "that only ever hold an object from Django's managers or get_object_or_404(), or a model's self.",
            "from shop.tasks import charge\n\n"
            "def pay(number):\n    order = Order.objects.get(number=number)\n    charge.delay(order)\n",
            "from shop.tasks import charge\n\n"
            "def pay(number):\n    order = Order.objects.get(number=number)\n    charge.delay(order.pk)\n",
        ),
        Rule(
            "MP002",
            "sent inside a transaction that may roll back",
            Level.ERROR,
            "A worker can start before the commit and not find the row. After a rollback the task still runs. "
            "With Mirepoix a task may be sent there, because it is part of the transaction. So the rule is off if "
            "the project depends on mirepoix (see the setting ledger). The rule finds Django's atomic() and "
            "begin() of a session, sessionmaker, engine or connection, in the function that sends.",
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
            "self.retry() raises Retry, which is an Exception. If the task catches it and does not raise it "
            "again, the task is recorded as successful, although its retry has already been sent.",
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
            "SoftTimeLimitExceeded is an Exception. If the task catches it like any other, it continues until the "
            "hard limit kills it, or it ends too early and is recorded as successful. The rule checks tasks with "
            "a soft_time_limit of their own.",
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
            "The task occupies a place in the pool while it waits. When all places wait, nothing runs. Celery "
            "raises a RuntimeError, unless disable_sync_subtasks=False or allow_join_result() permits it, which "
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
            "A key that is random or made from the clock differs in each attempt. The other side takes the "
            "repetition for a new request, and charges twice. The rule checks the headers Idempotency-Key and "
            "PayPal-Request-Id, idempotency_key= arguments, and the names of mirepoix.step() and "
            "mirepoix.idempotency_key().",
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
            "If the worker dies after the request, the next attempt sends it again. That is fine if the other "
            "side detects repetitions in another way, or tolerates them. The rule checks requests and httpx, if "
            "it can see all headers.",
            "import requests\nfrom celery import shared_task\n\n@shared_task\n"
            "def charge(order_id):\n    requests.post(URL, json={'order': order_id})\n",
            "import mirepoix\nimport requests\nfrom celery import shared_task\n\n@shared_task\n"
            "def charge(order_id):\n    mirepoix.step('charge', requests.post, URL, json={'order': order_id})\n",
        ),
    )
}


def explained(rule: Rule) -> str:
    """Format a rule as Markdown, for the page and for ``--explain``."""
    return (
        f"## {rule.code}: {rule.name}\n\nLevel: {rule.level}. {rule.reason}\n\n"
        f"Bad:\n\n```python\n{rule.bad}```\n\nGood:\n\n```python\n{rule.good}```\n\n"
        f'Silence it in one line with `# noqa: {rule.code}`, everywhere with `ignore = ["{rule.code}"]`.\n'
    )

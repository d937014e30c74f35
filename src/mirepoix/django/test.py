"""Run tasks in the tests of a Django project, in this thread and with real serialisation.

::

    class OrderTest(TestCase):
        def test_a_receipt_is_sent(self):
            with running_tasks():
                self.client.post("/orders/", {"item": 7})
            self.assertEqual(len(mail.outbox), 1)

It works in ``TransactionTestCase`` and in ``TestCase``, which never commits its transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Any

from django.db import connections
from django.test import TestCase

from mirepoix.celery.inline import Ran, working
from mirepoix.connect.django import DjangoSource
from mirepoix.django import project
from mirepoix.errors import ConfigurationError
from mirepoix.ledger.query.tasks import states_of
from mirepoix.ledger.tx import Tx
from mirepoix.states import State

MOST = 1_000
"""After so many tasks `run_tasks` assumes that a task sends itself for ever."""

_GOOD = frozenset({State.SUCCEEDED, State.PENDING})


def run_tasks(*, run_now: bool = False, raises: bool = True, most: int = MOST) -> list[Ran]:
    """Run the waiting tasks, and the tasks that they send, until none waits. Return them in the order of their runs.

    Tasks that wait for an eta, a countdown or a retry run only with *run_now*. The error of a task is recorded as in a
    worker, and then raised here with its own traceback; without *raises* it is only recorded. A retry is not an error.
    Functions that a task gives to ``on_commit()`` are called when the task has ended, as outside of a ``TestCase``.
    Raises ConfigurationError after *most* tasks.
    """
    installation = project.installation()
    if not project.has_ledger_of(installation):
        raise ConfigurationError(
            f"run_tasks() works on Django's database, and the ledger is in {installation.source.label}. Call "
            "mirepoix.install(app) without a URL."
        )
    source = _OneConnection(project.ledger().alias)
    ran: list[Ran] = []
    with closing(source), working(installation, source) as run_next:
        while True:
            with _on_commit(source):
                task = run_next(run_now)
            if task is None:
                return ran
            ran.append(task)
            if raises and task.error is not None and not _is_good(source, task):
                raise task.error
            if len(ran) >= most:
                raise ConfigurationError(
                    f"{most} tasks have run and more wait; the last was {task.name}. If that is intended, use "
                    "run_tasks(most=...)."
                )


@contextmanager
def running_tasks(*, run_now: bool = False, raises: bool = True, most: int = MOST) -> Iterator[list[Ran]]:
    """Call the block's ``on_commit()`` functions and then `run_tasks`, when the block ends. That fills the list."""
    ran: list[Ran] = []
    with _on_commit(project.ledger()):
        yield ran
    ran += run_tasks(run_now=run_now, raises=raises, most=most)


class _OneConnection(DjangoSource):
    """The ledger on Django's connection only: another connection does not see what a test has not committed."""

    def independent_transaction(self) -> AbstractContextManager[Tx]:
        """Begin a part of the open transaction: a test has no other."""
        return self.transaction()


def _on_commit(source: DjangoSource) -> AbstractContextManager[Any]:
    """In a test's transaction, which is never committed, call ``on_commit()`` functions at the end of the block."""
    if not connections[source.alias].in_atomic_block:
        return nullcontext()
    capturing: AbstractContextManager[Any] = TestCase.captureOnCommitCallbacks(using=source.alias, execute=True)
    return capturing


def _is_good(source: DjangoSource, ran: Ran) -> bool:
    with source.reading() as tx:
        found = states_of(tx, [ran.id])
    return not found or found[ran.id][0] in _GOOD

"""For the tests of a Django project: run what was sent, in this thread and through real serialisation.

::

    class OrderTest(TestCase):
        def test_a_receipt_is_sent(self):
            with running_tasks():
                self.client.post("/orders/", {"item": 7})
            self.assertEqual(len(mail.outbox), 1)

Works in ``TestCase``, whose transaction is never committed, as in ``TransactionTestCase``.
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
"""More tasks than that are taken for one that sends itself for ever."""

_GOOD = frozenset({State.SUCCEEDED, State.PENDING})


def run_tasks(*, run_now: bool = False, raises: bool = True, most: int = MOST) -> list[Ran]:
    """Run what waits, and what that sends, until nothing waits; return what was run, in that order.

    With *run_now* also what waits for an eta, a countdown or a retry; otherwise it goes on waiting. What a task raises
    is raised here, with its own traceback, once it is recorded as it would be in a worker; without *raises* it is only
    recorded. A retry is no failure. Functions that a task gives to ``on_commit()`` are called when it has ended, as
    they would be outside of a ``TestCase``. Raises ConfigurationError if *most* is not enough.
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
                one = run_next(run_now)
            if one is None:
                return ran
            ran.append(one)
            if raises and one.error is not None and not _is_good(source, one):
                raise one.error
            if len(ran) >= most:
                raise ConfigurationError(
                    f"{most} tasks were run and there is no end: {one.name} was the last. If there are that many, say "
                    "run_tasks(most=...)."
                )


@contextmanager
def running_tasks(*, run_now: bool = False, raises: bool = True, most: int = MOST) -> Iterator[list[Ran]]:
    """Call the ``on_commit()`` functions that the block registered, then `run_tasks`. The list is filled at its end."""
    ran: list[Ran] = []
    with _on_commit(project.ledger()):
        yield ran
    ran += run_tasks(run_now=run_now, raises=raises, most=most)


class _OneConnection(DjangoSource):
    """The ledger where nothing can be done apart: what a test has not committed, another connection cannot see."""

    def independent_transaction(self) -> AbstractContextManager[Tx]:
        """Part of what is open."""
        return self.transaction()


def _on_commit(source: DjangoSource) -> AbstractContextManager[Any]:
    """In a test's transaction, which is never committed: what would be called after the commit is called at the end."""
    if not connections[source.alias].in_atomic_block:
        return nullcontext()
    capturing: AbstractContextManager[Any] = TestCase.captureOnCommitCallbacks(using=source.alias, execute=True)
    return capturing


def _is_good(source: DjangoSource, ran: Ran) -> bool:
    with source.reading() as tx:
        found = states_of(tx, [ran.id])
    return not found or found[ran.id][0] in _GOOD

"""A pytest plugin: every app that Celery's suite makes has the ledger as its broker and its result backend.

The suite is told of Redis by TEST_BROKER and TEST_BACKEND, so that it skips nothing; here those two URLs come to mean
the ledger. An app to which a test gives another result backend (``db+sqlite://``) keeps that one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import wraps
from typing import Any

import kombu.pools
import pytest
from celery import Celery
from celery.contrib.testing import app as testing

import mirepoix
from conformance.deviations import reason_for
from mirepoix.celery.backend import LedgerBackend
from mirepoix.connect.url import source_for

LEDGER = os.environ["LEDGER"]
BACKEND = os.environ["TEST_BACKEND"]
KEEPS_RESULTS = os.environ["CONFORMANCE"] == "mirepoix"

_test_app = testing.TestApp


@wraps(_test_app)
def _on_the_ledger(*args: Any, **kwargs: Any) -> Celery:
    app = _test_app(*args, **kwargs)
    mirepoix.install(app, LEDGER)
    if KEEPS_RESULTS:
        _keep_results(app)
    return app


testing.TestApp = _on_the_ledger  # the fixtures of celery.contrib.pytest look it up with each app


def _keep_results(app: Celery) -> None:
    made_by_celery = app._get_backend

    def get_backend() -> Any:
        if app.conf.result_backend.startswith(BACKEND):
            return LedgerBackend(app=app)
        return made_by_celery()

    app._get_backend = get_backend


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With ``--expected``: what is known not to pass, and why, does not fail the run."""
    for item in items if os.environ.get("CONFORMANCE_EXPECTED") else ():
        reason = reason_for(item.nodeid)
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=False))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """A test whose app is not on the ledger is an error, not a pass. Afterwards free what its app holds open."""
    fixtures = getattr(item, "funcargs", {})
    for app in filter(None, map(fixtures.get, ("celery_app", "celery_session_app"))):
        _check(app)
    app = fixtures.get("celery_app")
    backend = app and app._backend  # the fixture lets go of it
    result = yield
    if app is not None:
        _free(app, backend)
    return result


def _check(app: Celery) -> None:
    assert app.conf.broker_write_url == app.conf.broker_read_url == "mirepoix://"
    assert app.connection_for_write().transport_cls == "mirepoix"
    if KEEPS_RESULTS and app.conf.result_backend.startswith(BACKEND):
        assert isinstance(app.backend, LedgerBackend), app.backend


def _free(app: Celery, backend: Any) -> None:
    """Close the app's connections: each of the suite's tests makes an app, and a server lets in a hundred sessions."""
    for group in (kombu.pools.producers, kombu.pools.connections):
        for key, pool in list(group.items()):
            connection = pool.connection if group is kombu.pools.connections else pool.connections.connection
            if (connection.transport_options or {}).get("ledger") == app.mirepoix.token:
                dict.pop(group, key)
                pool.force_close_all()
    waiters = getattr(backend, "_waiters", None)
    while waiters and waiters._idle:
        waiters._idle.pop().close()
    app.mirepoix.source.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the ledger holds now: the tasks did pass through it."""
    source = source_for(LEDGER)
    connection = source.open()
    with connection.reading() as tx:
        states = tx.query("SELECT state, count(*) FROM mirepoix_task GROUP BY state ORDER BY state")
    connection.close()
    held = ", ".join(f"{count} {state}" for state, count in states) or "none"
    terminalreporter.write_line(f"tasks in the ledger ({source.label}): {held}")

"""Durations are by the ledger's clock, however wrong that of a sender or a worker is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery, group

import mirepoix
from driver import OOPS, Ledger, moment
from mirepoix.celery import context
from mirepoix.celery.context import Attempt
from mirepoix.ledger import finish
from mirepoix.protocol.delivered import as_message
from mirepoix.records import Lease
from pace import DEADLINE_S

WRONG_BY = timedelta(hours=1)


@pytest.fixture(params=[WRONG_BY, -WRONG_BY], ids=["fast", "slow"])
def app(request: pytest.FixtureRequest, ledger: Ledger, ledger_url: str) -> Any:
    """An app on a host with a wrong clock."""
    app = Celery("clocks", set_as_current=False)
    mirepoix.install(app, ledger_url)
    app.now = lambda: datetime.now(UTC) + request.param
    yield app
    app.mirepoix.source.close()


def seconds_after_creation(ledger: Ledger, task_id: str, column: str) -> float:
    """How long after the row was made a moment of it comes."""
    row = ledger.row(task_id)
    return (moment(row[column]) - moment(row["created_at"])).total_seconds()


def test_a_countdown_begins_with_the_call(app: Celery, ledger: Ledger):
    id = app.send_task("t", countdown=1800).id
    assert 1800 - DEADLINE_S < seconds_after_creation(ledger, id, "due_at") <= 1800
    assert ledger.row(id)["eta"] == ledger.row(id)["due_at"]


def test_a_task_expires_so_many_seconds_after_the_call(app: Celery, ledger: Ledger):
    id = app.send_task("t", expires=600).id
    assert 600 - DEADLINE_S < seconds_after_creation(ledger, id, "expires_at") <= 600
    by_broker = app.send_task("t", expiration=600).id
    assert 600 - DEADLINE_S < seconds_after_creation(ledger, by_broker, "expires_at") <= 600


def test_many_that_are_sent_together_have_one_clock(app: Celery, ledger: Ledger):
    together = group(app.signature("t", options={"countdown": 1800}) for _ in range(3)).apply_async()
    for id in (one.id for one in together):
        assert 1800 - DEADLINE_S < seconds_after_creation(ledger, id, "due_at") <= 1800


def test_a_moment_that_the_caller_names_is_that_moment(app: Celery, ledger: Ledger):
    eta, expires = datetime(2037, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
    id = app.send_task("t", eta=eta, expires=expires).id
    row = ledger.row(id)
    assert (moment(row["eta"]), moment(row["due_at"]), moment(row["expires_at"])) == (eta, eta, expires)


def test_a_worker_is_told_by_its_own_clock_when_a_task_expires(app: Celery, ledger: Ledger):
    id = app.send_task("t", expires=600).id
    app.send_task("t")
    ledger.worker("w1")
    expiring, other = ledger.take("w1")
    assert (expiring.lease.task_id, other.expires) == (id, None)
    left = datetime.fromisoformat(
        as_message(expiring, app, app.mirepoix.catalog.current_name)["headers"]["expires"]
    ) - datetime.now(UTC)
    assert 600 - DEADLINE_S < left.total_seconds() <= 600.1
    assert as_message(other, app, app.mirepoix.catalog.current_name)["headers"]["expires"] is None


def test_a_retry_expires_when_its_task_does(app: Celery, ledger: Ledger):
    """It is sent with what the worker was told."""
    told = (datetime.now(UTC) + timedelta(seconds=600)).isoformat()
    attempt = Attempt(Lease("t1", 1, "w1"), "t", expires=told)
    with context.running(attempt):
        app.send_task("t", task_id="t1", expires=told, countdown=5)
    assert attempt.again is not None
    ledger.worker("w1")
    ledger.send("t1")
    lease = ledger.lease("w1")
    assert ledger.do(finish.retry, lease, attempt.again, OOPS)
    assert 600 - DEADLINE_S < seconds_after_creation(ledger, "t1", "expires_at") <= 600.1
    assert 5 - DEADLINE_S < seconds_after_creation(ledger, "t1", "due_at") < 5 + DEADLINE_S

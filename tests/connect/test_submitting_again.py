"""``mirepoix.submit_once`` tries its own transaction again when the database ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery

import mirepoix
from driver import Ledger
from mirepoix.celery import submit
from mirepoix.celery.capture import MOST_TRIES
from mirepoix.connect.url import source_for
from mirepoix.crashpoints import Crashpoint

OTHERS = {
    "postgresql": "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()",
}
END = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL CONNECTION {}"}


@pytest.fixture(params=["postgresql", "mariadb"])
def books(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    source = source_for(request.getfixturevalue(f"{request.param}_url"))
    with Ledger(source) as ledger:
        ledger.url = request.getfixturevalue(f"{request.param}_url")
        yield ledger
    source.close()


@pytest.fixture
def app(books: Ledger) -> Iterator[Any]:
    app = Celery("shop", set_as_current=False, broker="amqp://nobody@127.0.0.1:1//")
    mirepoix.install(app, books.url, look_at_broker=False)

    @app.task(name="shop.add", shared=False)
    def add(*numbers: int) -> int:
        return sum(numbers)

    app.add = add
    yield app
    app.mirepoix.source.close()


def end_sessions(books: Ledger) -> None:
    dialect = books.source.dialect
    for (session,) in books.query(OTHERS[dialect]):
        books.write(END[dialect].format(session))


def at(point: Crashpoint, times: int, act: Callable[[], None]) -> tuple[Callable[[Crashpoint], None], list[Crashpoint]]:
    """Return what stands in for `reached`, and the list of the times that it has acted."""
    done: list[Crashpoint] = []

    def reached(now: Crashpoint) -> None:
        if now is point and len(done) < times:
            done.append(now)
            act()

    return reached, done


def test_a_session_that_ends_before_the_commit_is_replaced(books: Ledger, app: Any, monkeypatch: pytest.MonkeyPatch):
    reached, done = at(Crashpoint.SUBMIT_BEFORE_COMMIT, MOST_TRIES - 1, lambda: end_sessions(books))
    monkeypatch.setattr(submit, "reached", reached)
    handle = mirepoix.submit_once(app.add, "order-7", (1, 2))
    assert len(done) == MOST_TRIES - 1
    assert handle.is_new
    assert books.states() == {handle.id: "pending"}
    assert books.query("SELECT id, task_id FROM mirepoix_key") == [("order-7", handle.id)]


def test_after_the_last_try_the_error_is_raised_and_nothing_is_written(
    books: Ledger, app: Any, monkeypatch: pytest.MonkeyPatch
):
    reached, done = at(Crashpoint.SUBMIT_BEFORE_COMMIT, MOST_TRIES, lambda: end_sessions(books))
    monkeypatch.setattr(submit, "reached", reached)
    with pytest.raises(books.source.disconnects):
        mirepoix.submit_once(app.add, "order-7", (1, 2))
    assert len(done) == MOST_TRIES
    assert books.states() == {}
    assert mirepoix.submit_once(app.add, "order-7", (1, 2)).is_new


def test_if_the_answer_to_the_commit_is_lost_the_task_is_still_this_callers(
    books: Ledger, app: Any, monkeypatch: pytest.MonkeyPatch
):
    def lose_the_answer() -> None:
        raise books.source.disconnects[0]("the connection ended after the COMMIT")

    reached, done = at(Crashpoint.SUBMIT_AFTER_COMMIT, 1, lose_the_answer)
    monkeypatch.setattr(submit, "reached", reached)
    handle = mirepoix.submit_once(app.add, "order-7", (1, 2))
    assert done == [Crashpoint.SUBMIT_AFTER_COMMIT]
    assert handle.is_new, "this call has sent it"
    assert books.states() == {handle.id: "pending"}

"""`mirepoix.step` and `mirepoix.idempotency_key`, called as a task calls them, without a worker around it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import pickle
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from celery import Celery

import mirepoix
from driver import Ledger
from mirepoix.celery import context
from mirepoix.celery.context import Attempt
from mirepoix.connect import sqlite3 as our_sqlite3
from mirepoix.connect.url import source_for
from mirepoix.errors import ConfigurationError, LeaseLost, StepNotStored
from mirepoix.records import Lease
from pace import until
from servers import Served


class Task:
    """Task ``t`` of worker ``w1``, whose code is what a test runs ``with task.attempt():``."""

    def __init__(self, ledger: Ledger, url: str) -> None:
        self.ledger = ledger
        self.app = Celery("shop", set_as_current=False)
        self.installation = mirepoix.install(self.app, url, payload_limit_bytes=1_000)
        self.calls: list[Any] = []
        ledger.worker("w1")
        ledger.send("t")

    @contextmanager
    def attempt(self) -> Iterator[Lease]:
        """The next attempt; what ran before lost its lease."""
        self.ledger.write("UPDATE mirepoix_task SET state = 'pending', deaths = 0 WHERE id = 't'")
        lease = self.ledger.lease("w1")
        with context.running(Attempt(lease, "shop.pay", installation=self.installation)), context.user_code():
            yield lease

    def work(self, *args: Any, **kwargs: Any) -> Any:
        """What steps do: it notes the call and returns its first argument."""
        self.calls.append((args, kwargs))
        return args[0] if args else None

    async def work_later(self, *args: Any, **kwargs: Any) -> Any:
        """The same, as a coroutine."""
        await asyncio.sleep(0)
        return self.work(*args, **kwargs)

    def kept(self) -> list[tuple]:
        return self.ledger.query("SELECT name, result, fence FROM mirepoix_step ORDER BY name")


@pytest.fixture
def task(ledger: Ledger, ledger_url: str) -> Iterator[Task]:
    task = Task(ledger, ledger_url)
    yield task
    task.installation.source.close()
    task.app.close()


def test_a_step_is_done_once_for_the_task(task: Task):
    for _ in range(3):
        with task.attempt():
            assert mirepoix.step("charge", task.work, {"id": 7}, currency="EUR") == {"id": 7}
            assert mirepoix.step("mail", task.work) is None
    assert task.calls == [(({"id": 7},), {"currency": "EUR"}), ((), {})]
    assert task.kept() == [("charge", '{"id": 7}', 1), ("mail", "null", 1)]
    ((run_time_s,),) = task.ledger.query("SELECT run_time_s FROM mirepoix_step WHERE name = 'charge'")
    assert 0 <= run_time_s < 5


def test_names_of_ours_are_free_for_the_arguments_of_the_function(task: Task):
    with task.attempt():
        mirepoix.step("charge", task.work, 1, name="a", fn="b")
    assert task.calls == [((1,), {"name": "a", "fn": "b"})]


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (date(2026, 3, 1), date(2026, 3, 1)),
        (uuid.UUID(int=7), uuid.UUID(int=7)),
        (Decimal("9.90"), Decimal("9.90")),
        (b"\xff\0", b"\xff\0"),
        ("\0 \ud800 é", "\0 \ud800 é"),
        ((1, (2, 3)), [1, [2, 3]]),
        ({1: Decimal(2)}, {"1": Decimal(2)}),
        (10**30, 10**30),
    ],
)
def test_every_attempt_sees_the_same_value_the_first_one_too(task: Task, value: Any, seen: Any):
    for _ in range(2):
        with task.attempt():
            result = mirepoix.step("charge", task.work, value)
            assert (result, type(result)) == (seen, type(seen))
    assert len(task.calls) == 1


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, 1j, {("a", "b"): 1}, {"__type__": "of theirs", "__value__": 1}, float],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_an_error_that_names_the_step_and_nothing_is_kept(task: Task, value: Any):
    for _ in range(2):
        with task.attempt(), pytest.raises(StepNotStored, match="'charge' of task t ran, but") as caught:
            mirepoix.step("charge", task.work, value)
        assert (caught.value.task_id, caught.value.step) == ("t", "charge")
    assert len(task.calls) == 2
    assert task.kept() == []


def test_a_result_without_end_is_such_an_error_too(task: Task):
    endless: list[Any] = []
    endless.append(endless)
    with task.attempt(), pytest.raises(StepNotStored):
        mirepoix.step("charge", task.work, endless)


def test_a_result_that_is_too_large_is_refused(task: Task):
    with task.attempt():
        assert mirepoix.step("fits", task.work, "x" * 998)
        with pytest.raises(StepNotStored, match="1,001 bytes and the limit is 1,000"):
            mirepoix.step("charge", task.work, "x" * 999)
    assert [row[0] for row in task.kept()] == ["fits"]


def test_a_transactional_task_that_fails_has_kept_its_steps_where_they_can_be_kept_apart(task: Task):
    with task.attempt():
        begun = task.installation.source.begin()
        with begun.as_current():
            mirepoix.step("charge", task.work, 1)
        begun.roll_back()
    # On SQLite nobody else could write before this transaction ended: the step was part of it.
    assert task.kept() == ([] if task.ledger.source.dialect == "sqlite" else [("charge", "1", 1)])


def test_a_name_is_used_once_in_an_attempt(task: Task):
    for _ in range(2):  # also where the first call is answered from the ledger
        with task.attempt():
            assert mirepoix.step("charge", task.work, 1) == 1
            with pytest.raises(ConfigurationError, match=r"called twice .* shop\.pay.* f\"charge-\{order\.id\}\""):
                mirepoix.step("charge", task.work, 2)
    assert task.kept() == [("charge", "1", 1)]
    assert len(task.calls) == 1


def test_a_name_is_used_once_also_inside_of_itself(task: Task):
    with task.attempt(), pytest.raises(ConfigurationError, match="twice"):
        mirepoix.step("charge", lambda: mirepoix.step("charge", task.work, 1))


def test_steps_nest(task: Task):
    for _ in range(2):
        with task.attempt():
            assert mirepoix.step("outer", lambda: [mirepoix.step("inner", task.work, 1)]) == [1]
    assert len(task.calls) == 1
    assert [row[0] for row in task.kept()] == ["inner", "outer"]


def test_a_step_that_raises_may_be_called_again_under_its_name(task: Task):
    def declined() -> None:
        raise TimeoutError("no answer")

    with task.attempt():
        with pytest.raises(TimeoutError, match="no answer"):
            mirepoix.step("charge", declined)
        assert task.kept() == []
        assert mirepoix.step("charge", task.work, 1) == 1


@pytest.mark.parametrize("name", ["", "n" * 256, "two\nlines", "nul\0", "\ud800", 7, None, b"charge"])
def test_a_name_is_a_printable_text(task: Task, name: Any):
    with task.attempt():
        for call in (lambda: mirepoix.step(name, task.work), lambda: mirepoix.idempotency_key(name)):
            with pytest.raises(ConfigurationError, match="no name for a step"):
                call()
    assert task.calls == []


def test_a_lost_attempt_is_stopped_before_the_work_if_that_is_known(task: Task):
    with task.attempt() as lost:
        with task.attempt():
            mirepoix.step("charge", task.work, 1)
        for name in ("charge", "mail"):
            with pytest.raises(LeaseLost) as caught:
                mirepoix.step(name, task.work, 2)
            assert (caught.value.task_id, caught.value.fence) == ("t", lost.fence)
    assert len(task.calls) == 1


def test_a_lease_lost_during_the_work_keeps_nothing(task: Task):
    def slow() -> int:
        with task.attempt():
            return mirepoix.step("charge", task.work, 1) + 1

    with task.attempt(), pytest.raises(LeaseLost):
        mirepoix.step("charge", slow)
    assert task.kept() == [("charge", "1", 2)]


def test_both_errors_come_whole_out_of_a_pool_process():
    for error in (LeaseLost("t", 3), StepNotStored("t", "charge", "too large.")):
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_a_coroutine_function_is_awaited(task: Task):
    async def run(value: int) -> None:
        assert await mirepoix.step("charge", task.work_later, value, currency="EUR") == 1
        assert await mirepoix.step("partial", functools.partial(task.work_later, value)) == 1

    for value in (1, 2):
        with task.attempt():
            asyncio.run(run(value))
    assert task.calls == [((1,), {"currency": "EUR"}), ((1,), {})]
    assert [row[0] for row in task.kept()] == ["charge", "partial"]


def test_an_object_whose_call_is_a_coroutine_function_is_awaited(task: Task):
    class Client:
        async def __call__(self, value: int) -> int:
            return await task.work_later(value)

    for value in (1, 2):
        with task.attempt():
            assert asyncio.run(mirepoix.step("charge", Client(), value)) == 1  # type: ignore[arg-type]


def test_coroutine_steps_run_beside_each_other_and_keep_the_rules(task: Task):
    async def run() -> list[Any]:
        three = (mirepoix.step(f"charge-{i}", task.work_later, i) for i in range(3))
        return await asyncio.gather(*three)

    async def twice() -> None:
        await asyncio.gather(mirepoix.step("mail", task.work_later), mirepoix.step("mail", task.work_later))

    with task.attempt():
        assert asyncio.run(run()) == [0, 1, 2]
        with pytest.raises(ConfigurationError, match="twice"):
            asyncio.run(twice())
    with task.attempt():
        with task.attempt():
            assert asyncio.run(run()) == [0, 1, 2]
        with pytest.raises(LeaseLost):
            asyncio.run(run())


def test_what_returns_an_awaitable_without_being_a_coroutine_function_is_refused(task: Task):
    # A later attempt would get the stored value, and could not await it.
    with task.attempt(), pytest.raises(ConfigurationError, match="Pass the coroutine function itself"):
        mirepoix.step("charge", lambda: task.work_later(1))
    with pytest.raises(ConfigurationError, match="Pass the coroutine function itself"):
        mirepoix.step("charge", lambda: task.work_later(1))
    assert task.calls == []
    assert task.kept() == []


def test_outside_of_a_task_the_function_is_called_and_nothing_is_kept(task: Task):
    for _ in range(2):
        assert mirepoix.step("charge", task.work, (1,)) == (1,)
        assert asyncio.run(mirepoix.step("charge", task.work_later, 2)) == 2
    assert len(task.calls) == 4
    assert task.kept() == []


def test_a_thread_is_of_the_task_if_it_runs_in_a_copied_context(task: Task):
    with task.attempt():
        for target in (lambda: mirepoix.step("no", task.work, 1), lambda: mirepoix.step("yes", task.work, 1)):
            run = functools.partial(contextvars.copy_context().run, target) if len(task.calls) else target
            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
    assert [row[0] for row in task.kept()] == ["yes"]


def test_a_key_is_the_same_in_every_attempt_and_of_one_task_and_name(task: Task):
    keys = set()
    for _ in range(2):
        with task.attempt():
            keys |= {mirepoix.idempotency_key("charge") for _ in range(2)}
            keys.add(mirepoix.step("charge", mirepoix.idempotency_key, "charge"))
            other = mirepoix.idempotency_key("mail")
    # Changing this value would charge every waiting task's customer twice.
    assert keys == {"b2d16887-68cf-5867-930d-bde74ecf68de"}
    assert other not in keys
    assert uuid.UUID(other).version == 5


def test_outside_of_a_task_there_is_no_key():
    with pytest.raises(ConfigurationError, match=r"'charge'.* outside of a task"):
        mirepoix.idempotency_key("charge")


def test_an_eager_task_has_its_own_id_and_keeps_nothing(task: Task):
    @task.app.task(shared=False)
    def pay() -> tuple[str, Any]:
        return mirepoix.idempotency_key("charge"), mirepoix.step("charge", task.work, (1,))

    expected = str(uuid.uuid5(mirepoix.celery.step.NAMESPACE, "eager-1\ncharge"))
    assert pay.apply(task_id="eager-1").get() == (expected, (1,))
    with task.attempt():
        assert pay.apply(task_id="eager-1").get() == (expected, (1,))
        key, value = pay()  # an ordinary call: part of the task that runs
        assert (key, value) == (mirepoix.idempotency_key("charge"), [1])
    assert task.kept() == [("charge", "[1]", 1)]


def test_a_ledger_that_is_away_is_waited_for_and_no_result_is_forgotten(
    served: Served, caplog: pytest.LogCaptureFixture
):
    with Ledger(source_for(served.url)) as ledger:
        _ends_and_begins(Task(ledger, served.url), served, caplog)
        with Ledger(ledger.source) as books:
            assert books.query("SELECT name, result FROM mirepoix_step") == [("charge", "1")]


def _ends_and_begins(task: Task, served: Served, caplog: pytest.LogCaptureFixture) -> None:
    def work() -> int:
        served.server.kill()
        return task.work(1)

    with ThreadPoolExecutor(1) as thread, task.attempt(), caplog.at_level(logging.WARNING):
        result = thread.submit(contextvars.copy_context().run, mirepoix.step, "charge", work)
        until(lambda: "'charge' of task shop.pay[t] waits for the ledger" in caplog.text, "it says that it waits")
        served.server.start()
        assert result.result(20) == 1
    assert len(task.calls) == 1
    task.installation.source.close()


class TestOnSqlite:
    """One transaction writes at a time: what the task itself has open must not be waited for."""

    @pytest.fixture
    def task(self, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Task]:
        monkeypatch.setattr(our_sqlite3, "BUSY_TIMEOUT_S", 0.2)
        with Ledger(source_for(sqlite_url)) as ledger:
            yield Task(ledger, sqlite_url)

    @pytest.fixture
    def theirs(self, sqlite_url: str) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
        yield connection
        connection.close()

    def test_a_transaction_that_is_joined_carries_the_step(self, task: Task, theirs: sqlite3.Connection):
        with task.attempt():
            for end in (theirs.rollback, theirs.commit):
                theirs.execute("CREATE TABLE IF NOT EXISTS mine (x)")
                theirs.execute("INSERT INTO mine VALUES (1)")
                with mirepoix.using(theirs):
                    mirepoix.step(f"charge-{end.__name__}", task.work, 1)
                end()
        assert [row[0] for row in task.kept()] == ["charge-commit"]

    def test_coroutines_join_it_in_the_thread_it_belongs_to(self, task: Task, theirs: sqlite3.Connection):
        async def run() -> None:
            theirs.execute("CREATE TABLE mine (x)")
            theirs.execute("INSERT INTO mine VALUES (1)")
            with mirepoix.using(theirs):
                await asyncio.gather(*(mirepoix.step(name, task.work_later, name) for name in "ab"))

        with task.attempt():
            asyncio.run(run())
            theirs.commit()
        assert [row[0] for row in task.kept()] == ["a", "b"]

    def test_another_is_an_error_before_the_work(self, task: Task, theirs: sqlite3.Connection):
        with task.attempt():
            theirs.execute("BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.OperationalError, match="locked") as caught:
                mirepoix.step("charge", task.work, 1)
            assert caught.value.__notes__[0].startswith("The step 'charge' did not run. SQLite lets one")
            theirs.rollback()
            assert mirepoix.step("charge", task.work, 1) == 1
        assert len(task.calls) == 1

    def test_one_that_the_step_opened_is_an_error_that_says_that_it_ran(self, task: Task, theirs: sqlite3.Connection):
        def write() -> None:
            theirs.execute("BEGIN IMMEDIATE")

        with task.attempt(), pytest.raises(StepNotStored, match=r"locked\. SQLite lets one"):
            mirepoix.step("charge", write)
        theirs.rollback()
        assert task.kept() == []

"""Handles of tasks that were submitted under a key: waited for, awaited, watched and cancelled, on real workers."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import traceback
from typing import Any

import pytest
from celery.exceptions import TaskRevokedError
from celery.exceptions import TimeoutError as CeleryTimeoutError
from workers import Shop, until

import mirepoix
from mirepoix.celery import result_futures
from mirepoix.crashpoints import Crashpoint
from mirepoix.errors import ResultGone
from mirepoix.ledger import operate

pytestmark = pytest.mark.slow


def submit(shop: Shop, key: str, name: str, *args: Any, **options: Any) -> mirepoix.Handle:
    return mirepoix.submit_once(shop.app.signature(f"shop.{name}"), key, args, **options)


def test_the_same_key_is_the_same_result_before_and_after_the_end(shop: Shop) -> None:
    early = submit(shop, "sum", "add", 1, 2)
    shop.worker()
    assert early.wait(30) == 3
    late = submit(shop, "sum", "add", 1, 2)
    assert (late.id, late.is_new, late.state, late.wait(30)) == (early.id, False, "succeeded", 3)
    assert shop.runs(early.id) == 1


def test_what_it_raised_is_raised_to_all_who_wait(shop: Shop) -> None:
    shop.worker()
    handle = submit(shop, "k", "fail", "sold out")
    for one in (handle, submit(shop, "k", "fail", "sold out")):
        with pytest.raises(ValueError, match="sold out"):
            one.wait(30)
    assert shop.runs(handle.id) == 1


def test_many_are_awaited_at_once_by_one_thread(shop: Shop) -> None:
    shop.worker(concurrency=1)

    async def all_of_them() -> list[float]:
        handles = [await asyncio.to_thread(submit, shop, f"k{n}", "add", n, n) for n in range(50)]
        return await asyncio.gather(*handles, *handles)

    assert asyncio.run(all_of_them()) == [n + n for n in range(50)] * 2


def test_who_stops_waiting_leaves_the_task_alone(shop: Shop) -> None:
    handle = submit(shop, "k", "gate", "open")
    with pytest.raises(CeleryTimeoutError):
        handle.wait(0.1)

    async def impatient() -> None:
        await asyncio.wait_for(handle, 0.1)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    shop.worker()
    shop.make("open")
    assert handle.wait(30) == "open"


class Interrupted(Exception):
    """What the signal's handler raises."""


def test_a_signal_that_comes_just_before_the_wait_ends_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing wakes the waiting thread then. It is the same if the system gives the signal to another thread."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    def waits() -> bool:
        frames = traceback.walk_stack(sys._current_frames()[threading.main_thread().ident])
        files = [frame.f_code.co_filename for frame, _ in frames]
        return files[0] == threading.__file__ and result_futures.__file__ in files

    def give_it_to_this_thread() -> None:
        until(waits, "the main thread waits for the task")
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, interrupt)
    monkeypatch.setattr(result_futures, "SIGNAL_S", 0.05)
    try:
        handle = submit(shop, "k", "add", 1, 2)
        threading.Thread(target=give_it_to_this_thread).start()
        with pytest.raises(Interrupted):
            handle.wait()
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_one_that_waits_is_cancelled_for_good(shop: Shop) -> None:
    handle = submit(shop, "k", "note")
    handle.cancel()
    assert handle.state == "cancelled"
    shop.worker()
    again = submit(shop, "k", "note")
    assert (again.id, again.state) == (handle.id, "cancelled")
    with pytest.raises(TaskRevokedError):
        again.wait(30)
    assert shop.runs(handle.id) == 0


def test_one_that_runs_is_ended_if_it_is_to_be(shop: Shop) -> None:
    shop.worker()
    handle = submit(shop, "k", "gate", "never")
    shop.begun(handle.id)
    until(lambda: handle.state == "running", "it runs")
    handle.cancel(terminate=True)
    with pytest.raises(TaskRevokedError):
        handle.wait(30)
    assert handle.state == "cancelled"


def test_progress_is_what_the_task_reports_while_it_runs(shop: Shop) -> None:
    shop.worker("w1", "--include", "canvas")
    handle = submit(shop, "k", "progress", "open")
    until(lambda: handle.progress, "it reports")
    assert handle.progress == {"done": 1, "of": 2}
    shop.make("open")
    assert handle.wait(30) == "done"
    assert handle.progress is None


def test_a_result_that_is_not_kept_is_told_at_once(shop: Shop) -> None:
    shop.worker()
    handle = submit(shop, "k", "add", 1, 2)
    assert handle.wait(30) == 3
    handle.result.forget()
    with pytest.raises(ResultGone):
        submit(shop, "k", "add", 1, 2).wait(30)
    shop.ledger.passes(10)
    assert shop.ledger.do(operate.prune, 5.0, keys_kept_s=None) == 1
    with pytest.raises(ResultGone):
        submit(shop, "k", "add", 1, 2).wait(30)
    assert handle.state is None


@pytest.mark.parametrize("point", [Crashpoint.SUBMIT_BEFORE_COMMIT, Crashpoint.SUBMIT_AFTER_COMMIT], ids=str)
def test_who_dies_around_the_commit_and_asks_again_sends_once(shop: Shop, point: Crashpoint) -> None:
    command = ("-c", "import shop, submitting; submitting.submit(shop.app, 'order-7', 'hello')")
    victim = shop.start("victim", *command, env={"MIREPOIX_CRASHPOINT": str(point)})
    assert victim.ends().exit_code == -9
    assert len(shop.ledger.states()) == (1 if point is Crashpoint.SUBMIT_AFTER_COMMIT else 0)
    before = set(shop.ledger.states())
    for number in range(2):
        shop.start(f"client{number}", *command).says("submitted").ends()
    (task_id,) = shop.ledger.states()
    assert before <= {task_id}
    assert shop.ledger.query("SELECT id, task_id FROM mirepoix_key") == [("order-7", task_id)]

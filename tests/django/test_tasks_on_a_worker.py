"""``django.tasks`` run by a real worker's pool processes: what another process enqueues, and what it reads back."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from billiard.exceptions import WorkerLostError
from django.db import connections, transaction
from shop import Shop
from workers import QUICK, Process, until

from mirepoix.django.backend import TaskResultStatus

pytestmark = pytest.mark.slow


@pytest.fixture
def worker(shop: Shop, tmp_path: Path) -> Iterator[Process]:
    """A worker of two processes on the shop's database."""
    folder = tmp_path / "django_app"
    folder.mkdir()
    for module in ("django_app.py", "jobs.py"):
        shutil.copyfile(Path(__file__).with_name(module), folder / module)
    command = [sys.executable, "-m", "celery", "-A", "django_app", "worker", "-n", "w@test", "-l", "info", *QUICK]
    env = {
        "DJANGO_SETTINGS_MODULE": "django_app",
        "KITCHEN_DATABASE": shop.url,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore",
    }
    process = Process("w", [*command, "-P", "prefork", "-c", "2"], folder, env)
    try:
        yield process.says(" ready.")
    finally:
        process.remove()


def end_of(sent: Any, worker: Process) -> Any:
    """The result, when the task is over."""

    def result() -> Any:
        found = sent.task.get_result(sent.id)
        return found if found.is_finished else None

    return until(result, f"{sent.task.name} is over; the worker said:\n{worker.said}")


def test_each_kind_of_task_runs_and_its_result_is_read(shop: Shop, jobs: Any, worker: Process):
    asked = {
        "sync": jobs.add.enqueue(2, b=3),
        "async": async_to_sync(jobs.later.aenqueue)(1),
        "context": jobs.tell.enqueue(7),
        "transactional": jobs.transfer.enqueue(is_failing=False),
        "failing": jobs.fail.enqueue("nothing there"),
    }
    ends = {kind: end_of(sent, worker) for kind, sent in asked.items()}
    (error,) = ends.pop("failing").errors
    assert error.exception_class is LookupError
    assert "LookupError: nothing there" in error.traceback
    returned = {kind: (end.status, end.return_value, end.attempts) for kind, end in ends.items()}
    good = TaskResultStatus.SUCCESSFUL
    assert returned == {
        "sync": (good, 5, 1),
        "async": (good, 2, 1),
        "context": (good, [1, "RUNNING", [7], 7], 1),
        "transactional": (good, None, 1),
    }
    assert all(end.worker_ids == ["w@test"] and end.errors == [] for end in ends.values())
    assert jobs.ran == [], "none of it ran here"


def test_a_task_whose_process_is_killed_runs_again_and_tells_of_it(shop: Shop, jobs: Any, worker: Process):
    end = end_of(jobs.die.enqueue(times=1), worker)
    assert (end.status, end.return_value, end.attempts) == (TaskResultStatus.SUCCESSFUL, "alive", 2)
    (error,) = end.errors
    assert error.exception_class is WorkerLostError
    assert "signal 9" in error.traceback


def test_a_task_that_kills_each_process_has_failed_with_an_exception(shop: Shop, jobs: Any, worker: Process):
    end = end_of(jobs.die.enqueue(times=100), worker)
    assert (end.status, end.attempts) == (TaskResultStatus.FAILED, 3)
    assert [error.exception_class for error in end.errors] == [WorkerLostError] * 3


def test_remote_control_within_atomic_reaches_workers(shop: Shop, worker: Process):
    control = shop.app.control
    with transaction.atomic():
        assert [*control.ping(limit=1)[0]] == ["w@test"]
        assert list(control.inspect().ping()) == ["w@test"]
        transaction.set_rollback(True)


def test_remote_control_after_a_write_to_sqlite_is_part_of_the_transaction(
    shop: Shop, jobs: Any, worker: Process, caplog: pytest.LogCaptureFixture
):
    if not shop.url.startswith("sqlite"):
        pytest.skip("its writers do not wait for each other")
    with transaction.atomic():
        sent = jobs.add.enqueue(2, b=3)
        shop.app.control.revoke(sent.id)
    assert "after the COMMIT" in caplog.text
    assert end_of(sent, worker).status == TaskResultStatus.FAILED


def test_no_connection_of_djangos_stays_open_after_a_task(shop: Shop, jobs: Any, worker: Process):
    if not shop.url.startswith("postgresql"):
        pytest.skip("it does not tell whose a session is")

    def sessions() -> int:
        found = "pg_stat_activity WHERE datname = current_database() AND application_name = ''"
        return int(shop.books.query(f"SELECT count(*) FROM {found}")[0][0])

    connections.close_all()
    before = sessions()
    for sent in [jobs.fail.enqueue("nothing there"), jobs.look.enqueue()] * 3:
        end_of(sent, worker)
    connections.close_all()
    until(lambda: sessions() <= before, f"{before} sessions; the worker said:\n{worker.said}")

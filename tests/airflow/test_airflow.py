"""DAGs of Airflow that run Celery tasks: on its own scheduler, API server and triggerer, with workers as processes."""

from __future__ import annotations

import signal

import pytest
from airing import Airing

import mirepoix
from airflow_server import LONG_S
from pace import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("dag", ["one", "waiting"])
def test_a_task_is_run_once_and_its_result_is_the_xcom(airing: Airing, dag: str) -> None:
    airing.worker()
    run = airing.begin(dag, "add", 1, 2)
    run.ends()
    assert run.xcom() == 3
    ((key, task_id),) = airing.keys.items()
    assert key.startswith(f"airflow/{dag}/{run.run_id}/step/")
    assert airing.runs(task_id) == 1
    assert run.links() == {"Celery task": f"https://shop.example/admin/mirepoix/task/{task_id}/change/"}
    assert f"shop.add[{task_id}] is succeeded" in run.log()


def test_what_the_task_raised_fails_the_task_instance_at_once_and_is_in_its_log(airing: Airing) -> None:
    airing.worker()
    run = airing.begin("one", "fail", "sold out")
    run.ends("failed")
    assert run.instance()["try_number"] == 1
    assert airing.runs(airing.task_id) == 1
    log = run.log()
    assert "ValueError: sold out" in log
    assert "Traceback" in log
    assert "Attempt 1 failed" in log


@pytest.mark.parametrize(("dag", "tasks", "runs"), [("requeuing", 1, 3), ("replacing", 3, 1)])
def test_a_further_try_runs_a_failed_task_again_if_it_is_to(airing: Airing, dag: str, tasks: int, runs: int) -> None:
    airing.worker()
    run = airing.begin(dag, "fail", "no stock")
    run.ends("failed")
    assert len(airing.keys) == tasks
    assert {airing.runs(task_id) for task_id in airing.keys.values()} == {runs}
    assert set(airing.ledger.states().values()) == {"failed"}


def test_each_mapped_call_is_a_task(airing: Airing) -> None:
    airing.worker()
    run = airing.begin("mapped", "add", calls=[[1, 2], [1, 2], [3, 4]])
    run.ends()
    assert len(airing.keys) == 3
    assert set(airing.ledger.states().values()) == {"succeeded"}


@pytest.mark.parametrize("begins", [False, True], ids=["waits", "runs"])
@pytest.mark.parametrize("end", ["failed", "success", "cleared"])
def test_a_person_who_ends_a_deferred_task_instance_cancels_its_task(airing: Airing, begins: bool, end: str) -> None:
    if begins:
        airing.worker()
    run = airing.begin("one", "gate", "open")
    run.defers()
    task_id = airing.task_id
    if begins:
        airing.begun(task_id)
    run.clear() if end == "cleared" else run.mark(end)
    airing.wait(task_id, "cancelled")
    if end == "cleared":
        if not begins:
            airing.worker()
        airing.make("open")
        run.ends()
        assert len(airing.keys) == 2
        assert sorted(airing.ledger.states().values()) == ["cancelled", "succeeded"]


def test_a_person_who_ends_a_waiting_task_instance_cancels_its_task(airing: Airing) -> None:
    airing.worker()
    run = airing.begin("waiting", "gate", "never")
    until(lambda: airing.effects(what="begin"), "it began")
    run.mark("failed")
    airing.wait(airing.task_id, "cancelled")


def test_a_triggerer_that_is_restarted_or_killed_cancels_nothing(airing: Airing) -> None:
    airing.worker()
    run = airing.begin("one", "gate", "open")
    run.defers()
    airing.begun(airing.task_id)
    airing.airflow.processes["triggerer"].stop()
    airing.airflow.start_one("triggerer")
    airing.airflow.kill("triggerer")
    airing.airflow.start_one("triggerer")
    assert airing.state(airing.task_id) == "running"
    airing.make("open")
    run.ends()
    assert run.xcom() == "open"
    assert airing.runs(airing.task_id) == 1


def test_a_worker_that_ends_its_task_process_cancels_nothing(airing: Airing) -> None:
    airing.worker()
    run = airing.begin("waiting", "gate", "open")
    until(lambda: airing.effects(what="begin"), "it began")
    airing.airflow.signal_tasks(signal.SIGTERM)  # as a worker does that stops, and then
    until(lambda: "goes on" in run.log(), "the process has got the signal")
    airing.airflow.signal_tasks(signal.SIGKILL)
    until(lambda: run.instance()["try_number"] == 2, "Airflow tries again", deadline_s=LONG_S)
    assert airing.state(airing.task_id) == "running"
    airing.make("open")
    run.ends()
    assert airing.runs(airing.task_id) == 1


def test_a_wait_that_takes_too_long_cancels_the_task(airing: Airing) -> None:
    run = airing.begin("limited", "add", 1, 2)
    run.ends("failed")
    assert airing.state(airing.task_id) == "cancelled"


def test_a_sensor_waits_for_a_key_that_comes_later(airing: Airing) -> None:
    run = airing.begin("sensing", "", key="order-7")
    run.defers()
    mirepoix.submit_once(airing.task("add"), "order-7", (1, 2))
    airing.worker()
    run.ends()
    assert run.xcom() == 3


def test_airflow_shows_the_connection_and_tests_it(airing: Airing) -> None:
    asked = {"connection_id": "tried", "conn_type": "mirepoix", "password": airing.url, "extra": "{}"}
    answer = airing.airflow.ask("connections/test", asked)
    assert answer == {"status": True, "message": "The ledger answers."}
    wrong = airing.airflow.ask("connections/test", {**asked, "extra": '{"app": "shop:app"}'})
    assert wrong["status"] is False
    assert "must name either the ledger's URL" in wrong["message"]

"""Flows of Prefect that run Celery tasks: on its own server, with workers and flows as processes."""

from __future__ import annotations

import signal

import pytest
from flowing import Flowing, outcome

from mirepoix.crashpoints import Crashpoint
from pace import until

pytestmark = [pytest.mark.slow, pytest.mark.in_turn]


@pytest.mark.parametrize("flow", ["one", "one_async", "in_steps"])
def test_a_task_is_run_once_and_its_result_is_the_flows(flowing: Flowing, flow: str) -> None:
    flowing.worker()
    run_id = flowing.prefect.create(flow, {"name": "add", "args": [1, 2]})
    assert flowing.run(flow, run_id) == 3
    ((key, task_id),) = flowing.keys.items()
    assert key.startswith(f"prefect/{run_id}/")
    assert flowing.runs(task_id) == 1


def test_what_the_task_raised_fails_the_flow(flowing: Flowing) -> None:
    flowing.worker()
    run_id = flowing.prefect.create("one", {"name": "fail", "args": ["sold out"]})
    assert flowing.run("one", run_id) == ["ValueError", "sold out"]
    assert flowing.prefect.state(run_id) == "FAILED"


@pytest.mark.parametrize("flow", ["one", "one_async", "in_steps"])
def test_a_flow_that_crashed_and_is_run_again_joins_its_task(flowing: Flowing, flow: str) -> None:
    flowing.worker()
    run_id = flowing.prefect.create(flow, {"name": "gate", "args": ["open"]})
    victim = flowing.attempt(flow, run_id)
    until(lambda: flowing.effects(what="begin"), "it began")
    victim.kill()
    flowing.again(run_id)
    second = flowing.attempt(flow, run_id).says("is joined")
    flowing.make("open")
    assert outcome(second) == "open"
    ((_, task_id),) = flowing.keys.items()
    assert flowing.runs(task_id) == 1
    flowing.again(run_id)  # after it has finished as well
    assert flowing.run(flow, run_id) == "open"
    assert list(flowing.ledger.states().values()) == ["succeeded"]


@pytest.mark.parametrize("point", [Crashpoint.SUBMIT_BEFORE_COMMIT, Crashpoint.SUBMIT_AFTER_COMMIT], ids=str)
def test_a_flow_that_dies_around_its_submission_sends_one_task(flowing: Flowing, point: Crashpoint) -> None:
    run_id = flowing.prefect.create("in_steps", {"name": "add", "args": [1, 2]})
    victim = flowing.attempt("in_steps", run_id, env={"MIREPOIX_CRASHPOINT": str(point)}).ends()
    assert victim.exit_code == -signal.SIGKILL
    assert len(flowing.keys) == (point is Crashpoint.SUBMIT_AFTER_COMMIT)
    flowing.worker()
    flowing.again(run_id)
    assert flowing.run("in_steps", run_id) == 3
    assert list(flowing.ledger.states().values()) == ["succeeded"]


@pytest.mark.parametrize(("flow", "more"), [("in_steps", {"fails": 2}), ("tried_twice", {})])
def test_prefects_retries_join_the_task(flowing: Flowing, flow: str, more: dict[str, int]) -> None:
    flowing.worker()
    assert flowing.run(flow, name="add", args=[1, 2], **more) == 3
    ((_, task_id),) = flowing.keys.items()
    assert flowing.runs(task_id) == 1


@pytest.mark.parametrize(("reruns", "runs"), [(False, 1), (True, 3)])
def test_a_retry_runs_a_failed_task_again_if_it_is_to(flowing: Flowing, reruns: bool, runs: int) -> None:
    flowing.worker()
    ended = flowing.run("in_steps", name="fail", args=[], more={"rerun_failed": reruns})
    assert ended == ["ValueError", "no stock"]
    ((_, task_id),) = flowing.keys.items()
    assert flowing.runs(task_id) == runs
    assert list(flowing.ledger.states()) == [task_id]


def test_many_at_once_are_joined_in_any_order(flowing: Flowing) -> None:
    flowing.worker()
    run_id = flowing.prefect.create("mapped", {"numbers": [*range(6), 5, 5], "gate": "open"})
    victim = flowing.attempt("mapped", run_id)
    until(lambda: len(flowing.keys) == 9, "all were submitted")
    victim.kill()
    flowing.make("open")
    flowing.again(run_id)
    assert flowing.run("mapped", run_id) == [1, 2, 3, 4, 5, 6, 6, 6, "open"]
    assert len(flowing.ledger.states()) == 9


def test_equal_calls_are_as_many_tasks(flowing: Flowing) -> None:
    flowing.worker()
    assert flowing.run("gathered", number=1, times=5) == 5
    assert len(flowing.ledger.states()) == 5


def test_equal_calls_in_processes_of_their_own_are_as_many_tasks(flowing: Flowing) -> None:
    flowing.worker()
    assert flowing.run("in_processes", number=1, times=3) == [2, 2, 2]
    assert len(flowing.ledger.states()) == 3


def test_subflows_of_a_crashed_flow_join_their_tasks(flowing: Flowing) -> None:
    flowing.worker()
    run_id = flowing.prefect.create("outer", {"name": "gate", "args": ["open"]})
    victim = flowing.attempt("outer", run_id)
    until(lambda: flowing.effects(what="begin"), "it began")
    victim.kill()
    flowing.make("open")
    flowing.again(run_id)
    assert flowing.run("outer", run_id) == ["open", "open"]
    assert len(flowing.ledger.states()) == 2


@pytest.mark.parametrize("flow", ["one", "one_async", "in_steps", "outer"])
@pytest.mark.parametrize("begins", [False, True], ids=["waits", "runs"])
def test_a_cancelled_flow_run_cancels_its_task(flowing: Flowing, flow: str, begins: bool) -> None:
    if begins:
        flowing.worker()
    run_id = flowing.prefect.create(flow, {"name": "gate", "args": ["never"]})
    process = flowing.attempt(flow, run_id).says("is submitted")
    ((_, task_id),) = flowing.keys.items()
    if begins:
        flowing.begun(task_id)
    cancel(flowing, run_id, task_id)
    assert outcome(process)[0] == "TaskRevokedError"


def cancel(flowing: Flowing, run_id: str, task_id: str) -> None:
    """Cancel a flow run; its task is cancelled while the flow still runs. `benchmarks.prefect` says how soon."""
    flowing.prefect.set_state(run_id, "CANCELLING")
    flowing.wait(task_id, "cancelled")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_flow_process_that_is_ended_leaves_its_task(flowing: Flowing, number: signal.Signals) -> None:
    run_id = flowing.prefect.create("one", {"name": "add", "args": [1, 2]})
    flowing.attempt("one", run_id).says("is submitted").send(number).ends()
    ((_, task_id),) = flowing.keys.items()
    assert flowing.state(task_id) == "pending"
    flowing.worker()
    flowing.again(run_id)
    assert flowing.run("one", run_id) == 3


@pytest.mark.parametrize(
    "flow",
    [
        "one",
        "submitted",
        pytest.param("one_async", marks=pytest.mark.thorough),  # the tests above cancel it without a runner
        pytest.param("leaves", marks=pytest.mark.thorough),
    ],
)
def test_prefects_runner_ends_a_cancelled_flow_run_and_its_task(flowing: Flowing, flow: str) -> None:
    flowing.worker()
    server = flowing.prefect
    polls = {"PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    runner = flowing.python("runner", "shop_flows.py", "serve", flow, env=polls, is_forked=False)
    deployment = until(lambda: deployed(flowing, flow), "it is deployed")
    call = {"parameters": {"name": "gate", "args": ["x"]}}
    run_id = server.ask(f"deployments/{deployment}/create_flow_run", call)["id"]
    until(lambda: flowing.effects(what="begin"), "it began")
    ((_, task_id),) = flowing.keys.items()
    cancel(flowing, run_id, task_id)
    until(lambda: server.state(run_id) == "CANCELLED", "the flow run is cancelled")
    runner.stop()


def deployed(flowing: Flowing, flow: str) -> str | None:
    """The id of the deployment that the test's runner has made."""
    name = f"{flow}-{flowing.folder.parent.name}"
    wanted = {"deployments": {"name": {"any_": [name]}}}
    found = flowing.prefect.ask("deployments/filter", wanted)
    return str(found[0]["id"]) if found else None


def test_prefect_knows_the_blocks(flowing: Flowing) -> None:
    """By the entry point, without an import."""
    command = "from prefect.plugins import load_prefect_collections as load; print([*load()])"
    process = flowing.python("collections", "-c", command, is_forked=False).ends()
    assert "mirepoix" in process.said
    register = ("-m", "prefect", "block", "register", "-m", "mirepoix.prefect")
    assert "Mirepoix Task" in flowing.python("register", *register).ends().said
    saved = (
        "from shop_flows import *; from prefect.blocks.core import Block\n"
        "job('add', 1, 2, key='order-7').save('sum', overwrite=True)\n"
        "loaded = Block.load('mirepoix-task/sum'); print('LOADED', loaded.trigger().handle.key)"
    )
    assert "LOADED order-7" in flowing.python("saved", "-c", saved).ends().said


def test_outside_of_a_run_a_task_needs_a_key(flowing: Flowing) -> None:
    command = "import shop_flows; shop_flows.job('add', 1, 2).trigger()"
    assert "has no key of its own" in flowing.python("outside", "-c", command).ends().said
    assert flowing.keys == {}

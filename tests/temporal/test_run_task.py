"""Activities of Temporal that are tasks of Celery: on its own server, with workers of both as processes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from bridged import Bridged
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.worker import Replayer

from pace import pace, until

pytestmark = [pytest.mark.slow, pytest.mark.in_turn]


def test_a_task_is_run_once_and_its_result_is_the_activitys(bridged: Bridged) -> None:
    bridged.worker()
    bridged.temporal_worker()
    assert bridged.run({"task": "shop.add", "args": [1, 2]}) == 3
    ((key, task_id),) = bridged.keys.items()
    assert bridged.id_of("order-7") in key
    assert bridged.runs(task_id) == 1
    until(lambda: bridged.callbacks == 0, "the end was noted as told")


def test_many_wait_in_one_slot(bridged: Bridged) -> None:
    bridged.temporal_worker(env={"TEMPORAL_SLOTS": "1"})

    async def act(client: Client) -> Any:
        handle = await client.start_workflow(
            "RunMany", [*range(30)], id=bridged.id_of("many"), task_queue=bridged.queue
        )
        await bridged.until(lambda: len(bridged.ledger.states()) == 30, "all were submitted")
        bridged.worker()
        return await handle.result()

    assert bridged.asked(act) == [n + 1 for n in range(30)]


def test_what_the_task_raised_fails_the_activity_with_its_type(bridged: Bridged) -> None:
    bridged.worker()
    bridged.temporal_worker()
    with pytest.raises(WorkflowFailureError) as caught:
        bridged.run({"task": "shop.fail", "args": ["sold out"]})
    activity = caught.value.cause
    assert isinstance(activity, ActivityError)
    assert isinstance(activity.cause, ApplicationError)
    assert (activity.cause.type, activity.cause.message) == ("ValueError", "sold out")
    assert len(bridged.keys) == 1
    assert bridged.runs(*bridged.keys.values()) == 1


def test_temporals_retries_run_a_failed_task_again_if_they_are_to(bridged: Bridged) -> None:
    bridged.worker()
    bridged.temporal_worker()
    with pytest.raises(WorkflowFailureError):
        bridged.run({"task": "shop.fail", "rerun_failed": True, "tries": 3})
    ((_, task_id),) = bridged.keys.items()
    assert bridged.runs(task_id) == 3
    assert list(bridged.ledger.states()) == [task_id]


def test_a_call_that_cannot_be_sent_fails_at_once(bridged: Bridged) -> None:
    bridged.temporal_worker()
    with pytest.raises(WorkflowFailureError) as caught:
        bridged.run({"task": "shop.add", "key": " "})
    assert isinstance(caught.value.cause.cause, ApplicationError)
    assert caught.value.cause.cause.non_retryable
    assert run_with_key(bridged, "k", [1]) == "sent"
    with pytest.raises(WorkflowFailureError) as caught:
        bridged.run({"task": "shop.add", "args": [2], "key": "k"}, "other")
    assert caught.value.cause.cause.type == "KeyTaken"


def run_with_key(shop: Bridged, key: str, args: list[Any]) -> str:
    """Submit under a key in this process."""
    import mirepoix

    mirepoix.submit_once(shop.app.signature("shop.add"), key, args)
    return "sent"


@pytest.mark.parametrize("begins", [False, True], ids=["waits", "runs"])
def test_a_cancelled_workflow_cancels_its_task(bridged: Bridged, begins: bool) -> None:
    if begins:
        bridged.worker()
    bridged.temporal_worker()

    async def act(client: Client) -> None:
        handle = await bridged.begin(client, {"task": "shop.gate", "args": ["never"]})
        await bridged.until(lambda: bridged.keys, "it was submitted")
        ((_, task_id),) = bridged.keys.items()
        if begins:
            await bridged.until(lambda: bridged.state(task_id) == "running", "it runs")
        await handle.cancel()
        await bridged.until(lambda: bridged.state(task_id) == "cancelled", "it is cancelled")
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, CancelledError)

    bridged.asked(act)  # `benchmarks.temporal` says how soon it is cancelled


def test_the_task_of_a_terminated_workflow_is_cancelled(bridged: Bridged) -> None:
    bridged.worker()
    bridged.temporal_worker()

    async def act(client: Client) -> None:
        handle = await bridged.begin(client, {"task": "shop.gate", "args": ["never"]})
        await bridged.until(lambda: bridged.effects(what="begin"), "it began")
        await handle.terminate()

    bridged.asked(act)
    ((_, task_id),) = bridged.keys.items()
    bridged.wait(task_id, "cancelled")
    until(lambda: bridged.callbacks == 0, "nobody is to be told")


def test_a_worker_that_dies_leaves_the_task_to_the_next(bridged: Bridged) -> None:
    bridged.worker()
    victim = bridged.temporal_worker("victim")

    async def act(client: Client) -> Any:
        handle = await bridged.begin(client, {"task": "shop.gate", "args": ["open"], "heartbeat_s": 1})
        await bridged.until(lambda: bridged.effects(what="begin"), "it began")
        victim.kill()
        before = bridged.ledger.query("SELECT callback FROM mirepoix_key")
        bridged.temporal_worker("next")
        await bridged.until(
            lambda: bridged.ledger.query("SELECT callback FROM mirepoix_key") != before, "the next has joined it"
        )
        bridged.make("open")
        return await handle.result()

    assert bridged.asked(act) == "open"
    ((_, task_id),) = bridged.keys.items()
    assert bridged.runs(task_id) == 1


def test_an_activity_is_completed_by_any_worker_when_its_own_is_dead(bridged: Bridged) -> None:
    bridged.worker()
    victim = bridged.temporal_worker("victim")

    async def act(client: Client) -> Any:
        handle = await bridged.begin(client, {"task": "shop.gate", "args": ["open"]})
        await bridged.until(lambda: bridged.effects(what="begin"), "it began")
        victim.kill()
        bridged.make("open")
        bridged.temporal_worker("next")
        return await handle.result()

    began_at = time.monotonic()
    assert bridged.asked(act) == "open"
    assert time.monotonic() - began_at < 25 * pace()  # the heartbeat timeout, 30 s, was not waited for


def test_a_server_that_is_away_for_a_while_is_told_later(bridged: Bridged) -> None:
    bridged.worker()
    bridged.temporal_worker()

    async def act(client: Client) -> Any:
        handle = await bridged.begin(client, {"task": "shop.gate", "args": ["open"]})
        await bridged.until(lambda: bridged.effects(what="begin"), "it began")
        bridged.temporal.kill()
        bridged.make("open")
        ((_, task_id),) = bridged.keys.items()
        await asyncio.to_thread(bridged.wait, task_id, "succeeded")
        await asyncio.to_thread(bridged.temporal.start)
        fresh = await Client.connect(bridged.temporal.address)
        return await fresh.get_workflow_handle(handle.id).result()

    assert bridged.asked(act) == "open"
    assert len(bridged.keys) == 1


def test_its_history_replays_and_the_sandbox_takes_our_imports(bridged: Bridged) -> None:
    bridged.worker()
    bridged.temporal_worker()
    bridged.run({"task": "shop.add", "args": [1, 2]})

    async def act(client: Client) -> None:
        import flows

        history = await client.get_workflow_handle(bridged.id_of("order-7")).fetch_history()
        await Replayer(workflows=flows.WORKFLOWS).replay_workflow(history)

    bridged.asked(act)

"""Kill a worker of Temporal or of Celery at every point between Temporal's decision and its record of the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bridged import OF_CELERY, OF_TEMPORAL, Bridged
from temporalio.client import Client
from workers import Process

import mirepoix.temporal
from mirepoix.crashpoints import Crashpoint
from mirepoix.temporal import start_workflow
from pace import until

pytestmark = [pytest.mark.slow, pytest.mark.in_turn, pytest.mark.timeout(300)]


def armed(shop: Bridged, point: Crashpoint) -> dict[str, str]:
    """The environment in which one process dies at *point*, once."""
    shop.make("token")
    return {"MIREPOIX_CRASHPOINT": str(point), "MIREPOIX_CRASHPOINT_TOKEN": str(shop.folder / "token")}


def dies(shop: Bridged, process: Process) -> None:
    """Wait until the process has killed itself."""
    until(lambda: not (shop.folder / "token").exists(), f"{process.name} reached its crash point")


def check(shop: Bridged, runs: tuple[int, ...]) -> None:
    """One key, one task and one success; its code ran as often as one of *runs*."""
    ((_, task_id),) = shop.keys.items()
    assert shop.ledger.states() == {task_id: "succeeded"}
    assert shop.runs(task_id) in runs
    until(lambda: shop.callbacks == 0, "the end was noted as told")


@pytest.mark.parametrize("point", OF_TEMPORAL, ids=str)
def test_a_temporal_worker_dies(bridged: Bridged, point: Crashpoint) -> None:
    bridged.worker()
    victim = bridged.temporal_worker("victim", env=armed(bridged, point))

    async def act(client: Client) -> Any:
        handle = await bridged.begin(client, {"task": "shop.add", "args": [1, 2], "heartbeat_s": 1})
        await asyncio.to_thread(dies, bridged, victim)
        assert victim.ends().exit_code == -9
        bridged.temporal_worker("next")
        return await handle.result()

    assert bridged.asked(act) == 3
    check(bridged, (1,))


@pytest.mark.parametrize("point", OF_CELERY, ids=str)
def test_a_celery_worker_dies(bridged: Bridged, point: Crashpoint) -> None:
    bridged.temporal_worker()
    victim = bridged.worker("victim", concurrency=1, env=armed(bridged, point), is_awaited=False)

    async def act(client: Client) -> Any:
        handle = await bridged.begin(client, {"task": "shop.spin", "args": [0.3], "heartbeat_s": 1})
        await asyncio.to_thread(dies, bridged, victim)
        bridged.worker("next")
        return await handle.result()

    assert bridged.asked(act) is None
    check(bridged, (1, 2))


@pytest.mark.parametrize("point", [Crashpoint.WORKFLOW_BEFORE_SEND, Crashpoint.WORKFLOW_AFTER_SEND], ids=str)
def test_who_delivers_a_start_dies(bridged: Bridged, point: Crashpoint) -> None:
    app = bridged.client()
    mirepoix.temporal.install(app, bridged.temporal.address)
    bridged.temporal_worker()
    own = {"TEMPORAL_ADDRESS": bridged.temporal.address}
    victim = bridged.worker("victim", "--include", "delivering", env={**own, **armed(bridged, point)})
    call = {"task": "shop.add", "args": [1, 2]}
    started = start_workflow(app, "RunOne", args=[call], id=bridged.id_of("order"), task_queue=bridged.queue)
    dies(bridged, victim)
    bridged.wait(started.id, "succeeded")  # the pool of the same worker goes on

    async def act(client: Client) -> Any:
        handle = client.get_workflow_handle(bridged.id_of("order"))
        return await handle.result(), (await handle.describe()).run_id

    assert bridged.asked(act) == (3, started.get(30))
    assert len(bridged.keys) == 1

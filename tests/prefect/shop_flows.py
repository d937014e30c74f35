"""Flows that run tasks of the shop: ``python shop_flows.py FLOW RUN_ID`` runs one, ``serve FLOW`` waits for runs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner

from mirepoix.prefect import MirepoixCredentials, MirepoixTask

CREDENTIALS = MirepoixCredentials(ledger_url=os.environ["SHOP_LEDGER"])


def job(name: str, *args: Any, **more: Any) -> MirepoixTask:
    """The block of a task of the shop."""
    return MirepoixTask(credentials=CREDENTIALS, task=f"shop.{name}", args=list(args), **more)


def done(block: MirepoixTask) -> Any:
    """Run it."""
    run = block.trigger()
    run.wait_for_completion()
    return run.fetch_result()


@flow
def one(name: str, args: list[Any], more: dict[str, Any] | None = None) -> Any:
    """Runs one task."""
    return done(job(name, *args, **(more or {})))


@flow
async def one_async(name: str, args: list[Any]) -> Any:
    """Runs one task, without blocking the loop."""
    run = await job(name, *args).trigger()
    await run.wait_for_completion()
    return await run.fetch_result()


@task(name="step", retries=2, retry_delay_seconds=0)
def step(name: str, args: list[Any], fails: int = 0, **more: Any) -> Any:
    """Runs one task, and fails itself so often before that counts."""
    result = done(job(name, *args, **more))
    from prefect.context import TaskRunContext

    if TaskRunContext.get().task_run.run_count <= fails:
        raise RuntimeError("not yet")
    return result


@flow
def in_steps(name: str, args: list[Any], fails: int = 0, more: dict[str, Any] | None = None) -> Any:
    """Runs one task in a Prefect task."""
    return step(name, args, fails, **(more or {}))


@flow(retries=1)
def tried_twice(name: str, args: list[Any]) -> Any:
    """Fails in its first attempt."""
    from prefect.context import FlowRunContext

    result = done(job(name, *args))
    if FlowRunContext.get().flow_run.run_count < 2:
        raise RuntimeError("not yet")
    return result


@flow
def mapped(numbers: list[int], gate: str) -> Any:
    """Runs a task for each number, all at once, and then one that waits for the test."""
    sums = [future.result() for future in [step.submit("add", [number, 1]) for number in numbers]]
    return [*sums, done(job("gate", gate))]


@flow
async def gathered(number: int, times: int) -> Any:
    """Runs so many equal tasks at once."""
    runs = await asyncio.gather(*(job("add", number, 1).trigger() for _ in range(times)))
    await asyncio.gather(*(run.wait_for_completion() for run in runs))
    return len({run.handle.id for run in runs})


@flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
def in_processes(number: int, times: int) -> list[Any]:
    """Runs so many equal tasks at once, each in a process of its own."""
    return [future.result() for future in [step.submit("add", [number, 1]) for _ in range(times)]]


@flow
def submitted(name: str, args: list[Any]) -> Any:
    """Runs one task in a thread."""
    return step.submit(name, args).result()


@flow
def leaves(name: str, args: list[Any]) -> None:
    """Triggers one task, and does something else."""
    job(name, *args).trigger()
    while True:
        time.sleep(0.1)


@flow
def spins(seconds: list[float]) -> int:
    """Runs a task of each length, one after the other."""
    return len([done(job("spin", one)) for one in seconds])


@flow
def inner(name: str, args: list[Any]) -> Any:
    """Runs one task."""
    return done(job(name, *args))


@flow
def outer(name: str, args: list[Any]) -> Any:
    """Calls a flow twice with the same arguments."""
    return [inner(name, args), inner(name, args)]


FLOWS = {
    one.fn.__name__: one
    for one in (in_processes, one, one_async, in_steps, tried_twice, mapped, gathered, submitted, leaves, spins, outer)
}


def run(name: str, run_id: str) -> Any:
    """Run a flow run in this process, as Prefect's engine does."""
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(run_id)
    # The thread of the heartbeats would delay the end by a second.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        returned = run_flow(FLOWS[name], flow_run=flow_run, parameters=flow_run.parameters)
        return asyncio.run(returned) if asyncio.iscoroutine(returned) else returned


if __name__ == "__main__":
    first, second = sys.argv[1:]
    if first == "serve":
        FLOWS[second].serve(name=f"{second}-{Path.cwd().parent.name}", print_starting_message=False)
    else:
        try:
            told = run(first, second)
        except Exception as error:  # noqa: BLE001 (whatever the task raised)
            told = [type(error).__name__, str(error)]
        print("OUTCOME", json.dumps(told), flush=True)

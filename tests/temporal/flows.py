"""Workflows that run tasks of the shop, and a worker of Temporal for them: ``python flows.py``."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.worker import Worker

from mirepoix.temporal import run_task


@workflow.defn(name="RunOne")
class RunOne:
    """Runs one task; its result is the workflow's."""

    @workflow.run
    async def run(self, call: dict[str, Any]) -> Any:
        options = dict(call)
        if "heartbeat_s" in options:
            options["heartbeat_timeout"] = timedelta(seconds=options.pop("heartbeat_s"))
        if "tries" in options:
            tries = options.pop("tries")
            options["retry_policy"] = RetryPolicy(maximum_attempts=tries, initial_interval=timedelta(milliseconds=50))
        return await run_task(options.pop("task"), options.pop("args", ()), **options)


@workflow.defn(name="RunMany")
class RunMany:
    """Runs a task for each number, all at once."""

    @workflow.run
    async def run(self, numbers: list[int]) -> list[Any]:
        return list(await asyncio.gather(*(run_task("shop.add", (number, 1)) for number in numbers)))


@workflow.defn(name="RunSteps")
class RunSteps:
    """Runs tasks of some seconds one after another; its result is their number."""

    @workflow.run
    async def run(self, seconds: list[float]) -> int:
        for each in seconds:
            await run_task("shop.spin", [each], heartbeat_timeout=timedelta(seconds=2))
        return len(seconds)


@workflow.defn(name="Collect")
class Collect:
    """Collects what it is signalled, until it is told to end."""

    def __init__(self) -> None:
        self.found: list[Any] = []
        self.is_over = False
        self.enough: int | None = None

    @workflow.run
    async def run(self, first: Any = None) -> list[Any]:
        if first is not None:
            self.found.insert(0, first)
        await workflow.wait_condition(lambda: self.is_over or len(self.found) == self.enough)
        return self.found

    @workflow.signal
    def add(self, what: Any) -> None:
        self.found.append(what)

    @workflow.signal
    def end_after(self, number: int) -> None:
        self.enough = number

    @workflow.signal
    def end(self) -> None:
        self.is_over = True


WORKFLOWS = [RunOne, RunMany, RunSteps, Collect]


async def main() -> None:
    import celery

    import mirepoix
    from mirepoix.temporal import MirepoixPlugin

    app = celery.Celery("flows", set_as_current=False, broker="amqp://nobody@127.0.0.1:1//")
    mirepoix.install(app, os.environ["SHOP_LEDGER"], look_at_broker=False)
    client = await Client.connect(os.environ["TEMPORAL_ADDRESS"])
    slots = int(os.environ.get("TEMPORAL_SLOTS", "100"))
    worker = Worker(
        client,
        task_queue=os.environ["TEMPORAL_QUEUE"],
        workflows=WORKFLOWS,
        plugins=[MirepoixPlugin(app)],
        max_concurrent_activities=slots,
        # Who continues a workflow of a dead worker waits no longer for it: Temporal's default is 10 s.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
    )
    async with worker:
        print("polling", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

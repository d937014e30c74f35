"""A shop whose tasks are run by workflows of Temporal, and how its server is asked."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

if not os.environ.get("CI"):
    pytest.importorskip("temporalio", reason="Temporal's SDK is not installed. Run: pip install 'mirepoix[temporal]'")

from temporalio.client import Client, WorkflowHandle
from workers import Process, Shop

from fork_server import ForkServer
from mirepoix.crashpoints import Crashpoint
from pace import DEADLINE_S, until
from temporal_server import TemporalServer

T = TypeVar("T")

OF_TEMPORAL = (
    Crashpoint.SUBMIT_BEFORE_COMMIT,
    Crashpoint.SUBMIT_AFTER_COMMIT,
    Crashpoint.ACTIVITY_BEFORE_COMPLETE,
    Crashpoint.ACTIVITY_AFTER_COMPLETE,
    Crashpoint.ACTIVITY_AFTER_COMMIT,
)
"""The points at which a worker of Temporal may die between Temporal's decision and its record of the end."""

OF_CELERY = (
    Crashpoint.TAKE_BEFORE_COMMIT,
    Crashpoint.TAKE_AFTER_COMMIT,
    Crashpoint.START_BEFORE_COMMIT,
    Crashpoint.START_AFTER_COMMIT,
    Crashpoint.COMPLETE_BEFORE_COMMIT,
    Crashpoint.COMPLETE_AFTER_COMMIT,
)
"""The points at which a worker of Celery may die meanwhile."""


class Bridged(Shop):
    """A shop with workers of Temporal beside those of Celery."""

    def __init__(self, folder: Path, url: str, temporal: TemporalServer) -> None:
        super().__init__(folder, url)
        self.temporal = temporal
        for module in ("flows.py", "delivering.py"):
            shutil.copyfile(Path(__file__).with_name(module), folder / module)

    def temporal_worker(self, name: str = "t1", env: dict[str, str] | None = None) -> Process:
        """A process that polls Temporal; it does when this returns."""
        own = {"TEMPORAL_ADDRESS": self.temporal.address, "TEMPORAL_QUEUE": self.queue}
        return self.start(name, "flows.py", env={**own, **(env or {})}).says("polling")

    def fork_server(self) -> ForkServer:
        """One that has imported Temporal's SDK."""
        return ForkServer.of("temporalio.client", "temporalio.worker", "mirepoix.temporal")

    @property
    def queue(self) -> str:
        """Temporal's task queue: each test has its own."""
        return f"queue-{self.folder.parent.name}"

    @property
    def keys(self) -> dict[str, str]:
        """Tasks by their keys."""
        return dict(self.ledger.query("SELECT id, task_id FROM mirepoix_key"))

    @property
    def callbacks(self) -> int:
        """Of how many tasks Temporal is still to be told."""
        return self.ledger.query("SELECT count(*) FROM mirepoix_key WHERE callback_to IS NOT NULL")[0][0]

    def asked(self, act: Callable[[Client], Awaitable[T]]) -> T:
        """What *act* makes of a client of the server."""

        async def ask() -> T:
            return await asyncio.wait_for(act(await Client.connect(self.temporal.address)), DEADLINE_S)

        return asyncio.run(ask())

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """`pace.until` beside an event loop."""
        await asyncio.to_thread(until, condition, what)

    def id_of(self, name: str) -> str:
        """A workflow's id: each test has its own."""
        return f"{self.queue}-{name}"

    async def begin(self, client: Client, call: dict[str, Any], name: str = "order-7") -> WorkflowHandle[Any, Any]:
        """Start a workflow that runs one task."""
        return await client.start_workflow("RunOne", call, id=self.id_of(name), task_queue=self.queue)

    def run(self, call: dict[str, Any], name: str = "order-7") -> Any:
        """Start it, and wait for its result."""

        async def act(client: Client) -> Any:
            return await (await self.begin(client, call, name)).result()

        return self.asked(act)

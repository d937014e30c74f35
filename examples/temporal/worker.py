"""Temporal's worker: runs the workflow, and hands its steps to Celery."""

import asyncio
import os

from tasks import app
from temporalio.client import Client
from temporalio.worker import Worker
from workflow import PlaceOrder

from mirepoix.temporal import MirepoixPlugin


async def main() -> None:
    client = await Client.connect(os.environ.get("TEMPORAL_ADDRESS", "localhost:7233"))
    await Worker(client, task_queue="orders", workflows=[PlaceOrder], plugins=[MirepoixPlugin(app)]).run()


if __name__ == "__main__":
    asyncio.run(main())

"""PgQueuer's side of ``benchmarks.peers``, in an environment of its own: ``python -m benchmarks.peer_pgqueuer DO``."""

from __future__ import annotations

import os
import sys
import time

import asyncpg
import uvloop
from benchmarks.slots import add
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

URL = os.environ["BENCHMARK_URL"]
BATCH = int(os.environ.get("BENCHMARK_BATCH", "10"))
"""How many jobs it takes at once. 10 is its default."""


async def main(do: str, count: int) -> None:
    driver = AsyncpgDriver(await asyncpg.connect(URL))
    queries = Queries(driver)
    if do == "install":
        await queries.install()
        return
    if do == "work":
        queue = PgQueuer(driver)

        @queue.entrypoint("noop")
        async def noop(_: object) -> None:
            add()

        await queue.run(batch_size=BATCH)
        return
    began_at = time.perf_counter()
    if do == "single":
        for _ in range(count):
            await queries.enqueue("noop", None)
    for first in range(0, count if do == "bulk" else 0, 500):
        size = min(500, count - first)
        await queries.enqueue(["noop"] * size, [None] * size, [0] * size)
    print(time.perf_counter() - began_at)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))

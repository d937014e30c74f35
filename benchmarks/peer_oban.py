"""Oban's side of ``benchmarks.peers``, in an environment of its own: ``python -m benchmarks.peer_oban DO``."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from benchmarks.slots import add
from oban import Oban, worker
from oban.schema import install

URL = os.environ["BENCHMARK_URL"]
LIMIT = 10
"""How many jobs a process runs at once: that of Oban's own examples."""


@worker(queue="default")
class Noop:
    async def process(self, _: object) -> None:
        add()


async def main(do: str, count: int) -> None:
    pool = await Oban.create_pool(URL)
    if do == "install":
        await install(pool)
        return
    if do == "work":
        async with Oban(pool=pool, queues={"default": LIMIT}):
            await asyncio.Event().wait()
    async with Oban(pool=pool) as client:
        began_at = time.perf_counter()
        if do == "single":
            for number in range(count):
                await client.enqueue(Noop.new({"number": number}))
        for first in range(0, count if do == "bulk" else 0, 500):
            await client.enqueue_many([Noop.new({"number": n}) for n in range(first, min(first + 500, count))])
        print(time.perf_counter() - began_at)


if __name__ == "__main__":
    try:
        import uvloop  # as Oban's own command does

        run = uvloop.run
    except ImportError:
        run = asyncio.run
    run(main(sys.argv[1], int(sys.argv[2])))

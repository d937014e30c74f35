"""What it costs to submit tasks under keys and to await all of them in one process: ``python -m benchmarks.awaits``."""

from __future__ import annotations

import argparse
import asyncio
import threading
import time

from benchmarks.app import make_app
from benchmarks.machine import load, print_header
from benchmarks.servers import LEDGERS, Server, servers
from benchmarks.worker import Worker

import mirepoix


async def wait_for_all(handles: list, server: Server, idle_s: float) -> tuple[float, int, float]:
    """The share of a core that waiting takes, the threads, and the seconds until all results are there."""
    waits = [asyncio.ensure_future(_result(handle)) for handle in handles]
    await asyncio.sleep(3.0)  # the waits have begun
    cpu_s, began_at = time.process_time(), time.monotonic()
    await asyncio.sleep(idle_s)
    share = (time.process_time() - cpu_s) / (time.monotonic() - began_at)
    threads = threading.active_count()
    with Worker(server, BENCHMARK_RESULTS_URL="mirepoix://"):
        began_at = time.monotonic()
        results = await asyncio.gather(*waits)
        took_s = time.monotonic() - began_at
    assert results == [42] * len(handles)
    return share, threads, took_s


async def _result(handle):
    return await handle


def run(server: Server, number: int, idle_s: float) -> None:
    server.reset()
    app = make_app(server.url, "mirepoix://")
    task = app.tasks["answer"]
    took = {}
    for words in ("new keys", "the same keys"):
        began_at = time.monotonic()
        handles = [mirepoix.submit_once(task, f"key-{n}") for n in range(number)]
        took[words] = 1000 * (time.monotonic() - began_at) / number
    print(f"  {server.label}: " + ", ".join(f"{words}: {ms:.2f} ms each" for words, ms in took.items()))
    share, threads, took_s = asyncio.run(wait_for_all(handles, server, idle_s))
    print(
        f"    {number} awaited at once: {100 * share:.1f} % of a core while nothing ends, {threads} threads; "
        f"all results {took_s:.1f} s after their worker was started",
        flush=True,
    )
    app.mirepoix.source.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=[*LEDGERS])
    parser.add_argument("--tasks", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    with servers(*given.systems) as systems:
        print_header("Tasks under keys, and waits for them", systems, f"{given.tasks} tasks, one sender")
        for server in systems:
            run(server, given.tasks, given.seconds)
    print(f"load after: {load()}")


if __name__ == "__main__":
    main()

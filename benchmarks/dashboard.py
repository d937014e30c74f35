"""What the dashboard's pages cost on a big ledger: ``python -m benchmarks.dashboard --finished 10000000``.

The ledger is that of `benchmarks.looks`: finished tasks, waiting ones, failed, quarantined and parked ones, workers
alive and dead. Each page is asked for many times in this process, without a network. Printed are the median and the
95th percentile of the server's time (the gate, the statements and the template), and the processor's time of the
database's sessions and this process together. The overview is measured twice: as who looks first gets it and waits for
the ledger, and as everybody gets it in the next seconds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from benchmarks.looks import fill
from benchmarks.machine import load, print_header
from benchmarks.servers import LEDGERS, Server, servers

WAITING = 100_000
PAGES = (
    "/",
    "/tasks",
    "/tasks?state=failed",
    "/tasks?state=succeeded",
    "/tasks?state=pending",
    "/tasks?state=running",
    "/tasks?state=failed&name=*oop*",
    "/tasks?name=*oop*",
    "/tasks?name=*nothing*",
    "/tasks?queue=q3",
    "/tasks/done0-1000500000",
    "/tasks/failed-1000000005",
    "/tasks/wait-1000050000",
    "/failures",
    "/queues",
    "/workers",
    "/schedules",
    "/limits",
    "/tuning",
    "/waiting",
    "/audit",
    "/search?q=failed-1000000005",
)


def measure(server: Server, rounds: int) -> None:
    """Print what each page took."""
    from celery import Celery
    from starlette.testclient import TestClient

    import mirepoix
    from mirepoix.dashboard import Role, User, asgi

    app = Celery("bench", set_as_current=False)
    mirepoix.install(app, server.url)
    dashboard: Any = asgi(app, authorize=lambda _: User("bench", frozenset(Role)))
    site = dashboard._app.state.site
    client = TestClient(dashboard)
    for path in PAGES:
        for is_first in (True, False) if path == "/" else (False,):
            times = []
            client.get(path)
            cpu = server.sessions_cpu_s() + time.process_time()
            for _ in range(rounds):
                if is_first:
                    site.snapshot.forget()
                began = time.perf_counter()
                answer = client.get(path, follow_redirects=False)
                times.append(1000 * (time.perf_counter() - began))
                assert answer.status_code in (200, 303, 404), (path, answer.status_code)
                if sum(times) > 30_000:
                    break
            cpu_ms = 1000 * (server.sessions_cpu_s() + time.process_time() - cpu) / len(times)
            times.sort()
            label = f"{path} (read the ledger)" if is_first else path
            p95 = times[min(len(times) - 1, int(0.95 * len(times)))]
            took = f"median {statistics.median(times):7.1f} ms, p95 {p95:7.1f} ms, CPU {cpu_ms:6.1f} ms"
            print(f"  {label:44} {took}, {len(times)} times", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=WAITING)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=["postgresql"])
    given = parser.parse_args()
    with servers(*given.systems) as systems:
        how = f"{given.finished:,} finished, {given.waiting:,} waiting"
        print_header(f"The dashboard's pages ({given.rounds} times each)", systems, how)
        for server in systems:
            began = time.perf_counter()
            fill(server, given.finished, given.waiting)
            print(f"{server.label}: filled in {time.perf_counter() - began:.0f} s", flush=True)
            measure(server, given.rounds)
        print(f"load after: {load()}")


if __name__ == "__main__":
    main()

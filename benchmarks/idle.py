"""What an idle worker costs beside stock Celery's, both idle at the same time: ``python -m benchmarks.idle``.

``python -m benchmarks.idle --workers 4 16``: what fleets of idle solo workers cost PostgreSQL.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from typing import Any

import psycopg
from benchmarks.app import make_app
from benchmarks.machine import Span, cpu_s, load, print_header, pss_mb
from benchmarks.servers import LEDGERS, NAMES, servers
from benchmarks.worker import Worker

from mirepoix.daemons.maintenance import CLOSE_UNUSED_S


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--systems", nargs="+", choices=NAMES, default=[*LEDGERS, "redis"])
    parser.add_argument("--workers", nargs="+", type=int, help="fleets of so many solo workers, on PostgreSQL")
    parser.add_argument("--pool", default="prefork", choices=["prefork", "mirepoix"])
    given = parser.parse_args()
    if given.workers:
        fleets(given.workers, given.seconds)
        return
    with servers(*given.systems) as systems, ExitStack() as stack:
        print_header(
            f"An idle worker, {given.pool} -c 2, {given.seconds:g} s", systems, "each worker has run 200 tasks"
        )
        workers = {}
        for server in systems:
            server.reset()
            task = make_app(server.url).tasks["noop"]
            worker = workers[server.label] = stack.enter_context(Worker(server, server.pool_beside(given.pool)))
            for _ in range(200):
                task.delay()
            worker.wait(lambda worker=worker: worker.done() >= 200)
        time.sleep(3.0)
        first = {label: worker.snapshot() for label, worker in workers.items()}
        time.sleep(given.seconds)
        last = {label: worker.snapshot() for label, worker in workers.items()}
        memory = {label: pss_mb(worker.pid) for label, worker in workers.items()}
        stock = memory.get("celery on redis", memory.get("celery on rabbitmq", 0.0))
        for label in workers:
            span = Span.between(first[label], last[label])
            share = {party: 100 * used / span.seconds for party, used in span.parties.items()}
            print(
                f"  {label:24} PSS {memory[label]:.1f} MB ({memory[label] - stock:+.1f}), CPU worker "
                f"{share['parent'] + share['children']:.2f} %, server {share['server'] + share['background']:.2f} %"
            )
        print(f"load after: {load()}")


def fleets(sizes: list[int], seconds: float) -> None:
    """Print what fleets of idle workers cost, one after the other."""
    with servers("postgresql") as (server,):
        print_header(f"Fleets of idle workers, solo, {seconds:g} s", [server], "no worker has run a task")
        for size in sizes:
            server.reset()
            make_app(server.url)
            with ExitStack() as stack:
                pids = [stack.enter_context(Worker(server, "solo", 1)).pid for _ in range(size)]
                with psycopg.connect(server.url, autocommit=True) as connection:
                    _until_alive(connection, size)
                    time.sleep(2 * CLOSE_UNUSED_S + 2.0)  # until they have closed what they used only at their start
                    before, cpu_before = _transactions(connection), sum(map(cpu_s, pids))
                    time.sleep(seconds)
                    done, used = _transactions(connection) - before, sum(map(cpu_s, pids)) - cpu_before
                    ours = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
                    sessions = connection.execute(ours, [connection.info.backend_pid]).fetchone()[0]
            print(
                f"  {size:4} workers: {sessions} sessions ({sessions / size:.1f} a worker), {done / seconds:.0f} "
                f"transactions/s, workers' CPU {100 * used / seconds:.1f} % of a core"
            )
    print(f"load after: {load()}")


def _until_alive(connection: psycopg.Connection[Any], size: int) -> None:
    alive = 0
    while alive < size:
        time.sleep(0.5)
        alive = connection.execute("SELECT count(*) FROM mirepoix_worker WHERE state = 'alive'").fetchone()[0]


def _transactions(connection: psycopg.Connection[Any]) -> int:
    time.sleep(1.1)  # sessions report what they did once a second at most
    asked = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    return int(connection.execute(asked).fetchone()[0])


if __name__ == "__main__":
    main()

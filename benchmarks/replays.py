"""Ten thousand failed tasks, replayed: ``python -m benchmarks.replays``.

They fail by one cause, recorded by four connections at once into one group. Then they are replayed at a bounded rate by
the command line, a few of them first, and the rest when those have succeeded; it is stopped by Ctrl-C half-way, while
somebody runs some of what comes; what has not begun is taken back; and the rest is replayed by two commands at once,
while all of it is run. In the end each task must have been run exactly once.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.machine import load, print_header
from benchmarks.servers import LEDGERS, Server, servers

from mirepoix.connect.url import source_for
from mirepoix.ledger import counting, enqueue, finish, take, workers
from mirepoix.ledger.migrate import migrate
from mirepoix.ledger.query import failures
from mirepoix.records import AttemptFailure, Completion, Envelope, Lease, Worker

TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/orders.py", line 12, in price
    price(order)
ValueError: order 12 has no price
"""
CONNECTIONS = 4
CANARIES = 100
POLL_S = 0.02


def fill(url: str, tasks: int) -> float:
    """Send them and let each fail, a transaction each; return the failures recorded in a second."""
    source = source_for(url)
    connection = source.open()
    migrate(connection)
    body = "[[1], {}, {}]"
    with connection.transaction() as tx:
        workers.register(tx, Worker(id="w", name="w@host", host="host", pid=1, queues=("celery",)), 1e6)
        enqueue.add(tx, [Envelope(f"t{n:05}", "shop.price", "celery", body, {}, {}) for n in range(tasks)])
    with connection.transaction() as tx:
        leases = [taken.lease for taken in take.take(tx, "w", ("celery",), tasks)]
    began = time.perf_counter()
    threads = [threading.Thread(target=_fail, args=(source, leases[n::CONNECTIONS])) for n in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(leases) / (time.perf_counter() - began)


def _fail(source: Any, leases: list[Lease]) -> None:
    connection = source.open()
    for number, lease in enumerate(leases):
        said = f"ValueError: order {number} has no price"
        with connection.transaction() as tx:
            assert finish.fail(tx, lease, AttemptFailure(said, "builtins.ValueError", TRACEBACK))
    connection.close()


@contextmanager
def running(url: str, runs: Counter[str], most: int) -> Iterator[None]:
    """Somebody who runs what waits, so many every `POLL_S`, until nothing is left."""
    source = source_for(url)
    connection = source.open()
    is_over = threading.Event()

    def work() -> None:
        while True:
            try:
                with connection.transaction() as tx:
                    taken = take.take(tx, "w", ("celery",), most)
                    done = finish.succeed(tx, "w", [Completion(one.lease) for one in taken])
            except source.disconnects:  # MariaDB had a deadlock: nothing was taken
                continue
            if not taken and is_over.is_set():
                return
            runs.update(done)
            time.sleep(POLL_S)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    is_over.set()
    thread.join()


def command(url: str, *words: str) -> subprocess.Popen[str]:
    """The command line, begun."""
    program = [sys.executable, "-m", "mirepoix.cli", "--ledger", url, "failures", *words, "--json"]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True)


def measure(server: Server, tasks: int, rate: int) -> None:
    """One ledger."""
    server.reset()
    recorded = fill(server.url, tasks)
    counting.count_all(source_for(server.url))
    with source_for(server.url).transaction() as tx:
        (group,) = failures.groups(tx)
    assert (group.failures, group.kept) == (tasks, tasks), group
    runs: Counter[str] = Counter()
    with running(server.url, runs, most=max(1, int(rate * POLL_S / 5))):  # a fifth of what comes
        replay = command(server.url, "replay", group.id, "--rate", f"{rate}/s", "--canary", str(CANARIES))
        time.sleep(tasks / rate / 2)
        replay.send_signal(signal.SIGINT)
        stopped = json.loads(replay.communicate()[0])
        undone = json.loads(command(server.url, "undo", stopped["replay"]).communicate()[0])
    begun = set(runs)
    assert begun.isdisjoint(undone["taken_back"]), "what was taken back was run"
    assert begun.union(undone["taken_back"]) == set(stopped["replayed"]), "what had not begun was not taken back"
    with running(server.url, runs, most=500):
        began = time.perf_counter()
        both = [command(server.url, "replay", group.id, "--rate", f"{rate}/s") for _ in range(2)]
        told = [json.loads(one.communicate()[0]) for one in both]
        took = time.perf_counter() - began
    once = sum(1 for count in runs.values() if count == 1)
    shares = " + ".join(f"{len(one['replayed']):,}" for one in told)
    print(
        f"{server.name:12}{recorded:>10,.0f}/s{len(stopped['replayed']):>12,}{len(begun):>9,}"
        f"{len(undone['taken_back']):>12,}{shares:>18}{took:>9.1f} s{once:>9,}{len(runs) - once:>8}",
        flush=True,
    )


def main() -> None:
    """Print a line for each ledger."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=1_000, help="tasks a second")
    parser.add_argument("--only", choices=LEDGERS)
    given = parser.parse_args()
    with servers(*([given.only] if given.only else LEDGERS)) as found:
        print_header(
            "Replays", found, f"{given.tasks:,} failed tasks of one cause, {given.rate:,}/s, the first {CANARIES} alone"
        )
        print("ledger        recorded until Ctrl-C    begun  taken back    by two at once     took     once   twice")
        for server in found:
            measure(server, given.tasks, given.rate)
        print(f"\nload after: {load()}")


if __name__ == "__main__":
    main()

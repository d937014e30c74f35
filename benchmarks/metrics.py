"""Counters through kills, and what scraping costs: ``python -m benchmarks.metrics``.

Part 1 kills workers and pool processes while tasks run, scrapes all the time, and compares the exported counters with
the rows. Part 2 drains a full queue, in turns with a process that scrapes every second and without one.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time

from benchmarks import client
from benchmarks.kills import Scene
from benchmarks.machine import children, load, print_header
from benchmarks.servers import LEDGERS, Server, servers
from benchmarks.worker import Worker

from mirepoix.ledger.totals import Kind
from mirepoix.metrics import exporter_of
from mirepoix.metrics.counters import Counters

SCRAPES = """
import sys, time
from mirepoix.metrics import exporter_of
exporter = exporter_of(sys.argv[1])
print("ready", flush=True)
while True:
    exporter.text()
    time.sleep(float(sys.argv[2]))
"""
ROWS = """
SELECT outcome, count(*) FROM (
    SELECT outcome FROM mirepoix_attempt
    UNION ALL SELECT 'succeeded' FROM mirepoix_task WHERE state = 'succeeded') AS ended
GROUP BY outcome
"""


def exported(url: str, counters: Counters) -> dict[str, int]:
    """The exported attempts by outcome."""
    exporter = exporter_of(url)
    exporter._counters = counters
    found: dict[str, int] = {}
    with exporter.source.reading() as tx:
        for key, attempts in counters.read(tx).attempts.items():
            if key.kind is Kind.RUN:
                found[key.outcome] = found.get(key.outcome, 0) + attempts
    exporter.source.close()
    return found


def through_kills(server: Server, kills: int) -> None:
    """Kill, scrape, compare."""
    scene = Scene(server, workers=3, concurrency=2, max_deaths="1000", max_handovers="1000")
    counters, falls, before = Counters(lag_s=2.0), 0, {}
    try:
        for number in range(kills):
            for part in range(4):
                scene.send(f"t{number}-{part}", 0.3 + 0.3 * random.random())
            scene.until(lambda: kill(scene, is_worker=number % 2 == 1), 60.0)  # noqa: B023
            now = exported(server.url, counters)
            falls += sum(now.get(outcome, 0) < count for outcome, count in before.items())
            before = now
        scene.until(lambda: scene.finished("t") >= 4 * kills, 120.0)
        scene.until(
            lambda: (
                server.execute("SELECT count(*) FROM mirepoix_task WHERE state <> 'succeeded'", rows=True)[0][0] == 0
            )
        )
        rows = {outcome: int(count) for outcome, count in server.execute(ROWS, rows=True)}
        found = exported(server.url, counters)
        print(f"  {server.label}: {kills} kills ({len(scene.killed)} processes died); counters that fell: {falls}")
        print(f"    exported {dict(sorted(found.items()))}")
        print(f"    rows     {dict(sorted(rows.items()))}  {'equal' if rows == found else 'DIFFERENT'}", flush=True)
    finally:
        scene.close()


def kill(scene: Scene, *, is_worker: bool) -> bool:
    """SIGKILL a process in the middle of a task, or its whole worker; return whether there was one."""
    before = len(scene.killed)
    if is_worker:
        running = {pid: kind for kind, _, pid, _ in scene.lines()}
        for place, worker in enumerate(scene.workers):
            if any(running.get(pid) == "start" for pid in children(worker.pid)):
                scene.workers.insert(0, scene.workers.pop(place))
                scene.kill_worker()
                break
    else:
        scene.kill_child()
    return len(scene.killed) > before


def drain(server: Server, count: int, every_s: float | None) -> float:
    """Tasks a second of one worker, with a process that scrapes or without."""
    server.reset()
    client.send(server, "bulk", count - 1)
    scraper = None
    if every_s is not None:
        command = [sys.executable, "-c", SCRAPES, server.url, str(every_s)]
        scraper = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert scraper.stdout is not None
        scraper.stdout.readline()
    try:
        with Worker(server, "prefork", 2) as worker:
            worker.wait(lambda: worker.done() >= count * 0.1)
            began, first = time.perf_counter(), worker.done()
            worker.wait(lambda: worker.done() >= count * 0.95)
            rate = (worker.done() - first) / (time.perf_counter() - began)
            worker.wait(lambda: worker.done() >= count)
            return rate
    finally:
        if scraper is not None:
            scraper.kill()
            scraper.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--count", type=int, default=4000, help="tasks a drain")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two scrapes")
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=["postgresql"])
    given = parser.parse_args()
    with servers(*given.systems) as systems:
        print_header(f"Metrics: {given.kills} kills; {given.rounds} drains of {given.count}", systems, "as installed")
        for server in systems:
            if given.kills:
                through_kills(server, given.kills)
        for server in systems if given.rounds else ():
            rates: dict[bool, list[float]] = {False: [], True: []}
            for number in range(2 * given.rounds):
                is_on = number % 4 in {1, 2}  # on and off take turns, and each is first as often
                rates[is_on].append(drain(server, given.count, given.every if is_on else None))
            off, on = (statistics.median(rates[is_on]) for is_on in (False, True))
            each = {is_on: "/".join(f"{rate:.0f}" for rate in found) for is_on, found in rates.items()}
            print(f"  {server.label}: off {off:.0f} tasks/s ({each[False]}), on {on:.0f} ({each[True]})")
            print(f"    cost {1 - on / off:+.1%}", flush=True)
        print(f"load after: {load()}")


if __name__ == "__main__":
    main()

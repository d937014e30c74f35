"""How fast failing tasks are worked off, all of one cause beside each of its own: ``python -m benchmarks.causes``.

Each round drains both, one after the other, so that what else the machine does hits both alike. A drain is measured
from its 10th to its 95th hundredth. After each, every failure has to be counted in the group of its cause, once.
``--commit-ms 20`` lets PostgreSQL wait so long in each commit, holding its locks, as a slow disk or a standby does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import ExitStack

from benchmarks.app import CAUSES, make_app
from benchmarks.machine import load, print_header
from benchmarks.servers import LEDGERS, Server, servers
from benchmarks.worker import Worker

COUNTED_WITHIN_S = 10.0


def drain(server: Server, count: int, causes: int, workers: int, pool: str, concurrency: int) -> float:
    """Fill the queue with tasks that fail by so many causes, let workers empty it; failures a second."""
    import mirepoix

    server.reset()
    app = make_app(server.url)
    mirepoix.bulk(app.tasks["fails"], ([number % causes] for number in range(count)))
    if server.kind == "postgresql":
        server.execute("VACUUM ANALYZE mirepoix_task", "CHECKPOINT")
    with ExitStack() as stack:
        running = [stack.enter_context(Worker(server, pool, concurrency)) for _ in range(workers)]

        def reach(share: float) -> tuple[int, float]:
            while (done := sum(worker.done() for worker in running)) < count * share:
                running[0].wait(lambda: True)
                time.sleep(0.003)
            return done, time.monotonic()

        first, last = reach(0.1), reach(0.95)
        reach(1.0)
        end = time.monotonic() + COUNTED_WITHIN_S
        while (seen := counted(server)) != (count, count, causes) and time.monotonic() < end:
            time.sleep(0.1)
        assert seen == (count, count, causes), seen
    return (last[0] - first[0]) / (last[1] - first[1])


def counted(server: Server) -> tuple[int, ...]:
    """How many tasks failed, how many failures were counted, and in how many groups."""
    ((tasks, failures, groups),) = server.execute(
        "SELECT (SELECT count(*) FROM mirepoix_task WHERE state = 'failed'),"
        " (SELECT coalesce(sum(failures), 0) FROM mirepoix_failure_group),"
        " (SELECT count(*) FROM mirepoix_failure_group)",
        rows=True,
    )
    return int(tasks), int(failures), int(groups)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="tasks a drain (default 1000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pool", default="prefork")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--commit-ms", type=float, default=0.0, help="PostgreSQL only: how long a commit waits")
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=list(LEDGERS))
    given = parser.parse_args()
    with servers(*given.systems) as systems:
        how = f"{given.workers} workers, {given.pool} -c {given.concurrency}, commits of {given.commit_ms:g} ms more"
        print_header(f"Failing tasks ({given.count} a drain, {given.rounds} rounds)", systems, how)
        for server in systems:
            if given.commit_ms and server.kind == "postgresql":
                delay = (f"ALTER SYSTEM SET commit_delay = {given.commit_ms * 1000:.0f}", "SELECT pg_reload_conf()")
                server.execute("ALTER SYSTEM SET commit_siblings = 0", *delay)
            rates: dict[str, list[float]] = {"one cause": [], f"{CAUSES} causes": []}
            for _ in range(given.rounds):
                for label, causes in zip(rates, (1, CAUSES), strict=True):
                    rates[label].append(
                        drain(server, given.count, causes, given.workers, given.pool, given.concurrency)
                    )
            for label, found in rates.items():
                each = "/".join(f"{rate:.0f}" for rate in found)
                print(f"  {server.label:24} {label:12} {statistics.median(found):6.0f}/s ({each})", flush=True)
        print(f"load after: {load()}")


if __name__ == "__main__":
    main()

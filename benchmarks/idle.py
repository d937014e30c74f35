"""What an idle worker costs beside stock Celery's, both idle at the same time: ``python -m benchmarks.idle``."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack

from benchmarks.app import make_app
from benchmarks.machine import Span, load, print_header, pss_mb
from benchmarks.servers import LEDGERS, NAMES, servers
from benchmarks.worker import Worker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--systems", nargs="+", choices=NAMES, default=[*LEDGERS, "redis"])
    given = parser.parse_args()
    with servers(*given.systems) as systems, ExitStack() as stack:
        print_header(f"An idle worker, prefork -c 2, {given.seconds:g} s", systems, "each worker has run 200 tasks")
        workers = {}
        for server in systems:
            server.reset()
            task = make_app(server.url).tasks["noop"]
            worker = workers[server.label] = stack.enter_context(Worker(server))
            for _ in range(200):
                task.delay()
            worker.wait(lambda worker=worker: worker.done() >= 200)
        time.sleep(3.0)
        first = {label: worker.snapshot() for label, worker in workers.items()}
        time.sleep(given.seconds)
        last = {label: worker.snapshot() for label, worker in workers.items()}
        memory = {label: pss_mb(worker.pid) for label, worker in workers.items()}
        stock = memory.get("celery on redis", 0.0)
        for label in workers:
            span = Span.between(first[label], last[label])
            share = {party: 100 * used / span.seconds for party, used in span.parties.items()}
            print(
                f"  {label:24} PSS {memory[label]:.1f} MB ({memory[label] - stock:+.1f}), CPU worker "
                f"{share['parent'] + share['children']:.2f} %, server {share['server'] + share['background']:.2f} %"
            )
        print(f"load after: {load()}")


if __name__ == "__main__":
    main()

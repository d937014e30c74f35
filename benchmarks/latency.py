"""How long delay() takes, and from it to the task's body on an idle worker: ``python -m benchmarks.latency``.

All workers stand idle side by side; one client sends to each in turn, so that what else the machine does hits
all alike. The client pauses after each call, as a web process does; how many calls it can make without a pause is in
``benchmarks.throughput``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.app import make_app
from benchmarks.machine import load, print_header, spread
from benchmarks.servers import BROKER_MODE, NAMES, servers
from benchmarks.worker import Worker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="tasks for each system (default 200)")
    parser.add_argument("--pause-s", type=float, default=0.03, help="between two sends (default 0.03)")
    parser.add_argument("--systems", nargs="+", choices=(*NAMES, *BROKER_MODE), default=list(NAMES))
    parser.add_argument("--pool", default="prefork", choices=["prefork", "mirepoix", "solo", "threads"])
    given = parser.parse_args()
    with servers(*given.systems) as systems, ExitStack() as stack:
        print_header(
            f"Latency on an idle worker, {given.pool} -c 2", systems, f"one task every {given.pause_s} s in turn"
        )
        files, tasks = {}, {}
        for server in systems:
            server.reset()
            file = files[server.label] = Path(tempfile.mkstemp(prefix="mirepoix-benchmark-")[1])
            stack.callback(file.unlink, missing_ok=True)
            worker = stack.enter_context(Worker(server, server.pool_beside(given.pool), 2, file))
            app = make_app(server.url, broker_url=server.broker and server.broker.url)
            task = tasks[server.label] = app.tasks["stamp"]
            task.delay(0.0)
            worker.wait(lambda file=file: bool(file.read_text()))
        calls: dict[str, list[float]] = {label: [] for label in tasks}
        for _ in range(given.count):
            for label, task in tasks.items():
                before = time.perf_counter()
                task.delay(time.time())
                calls[label].append(time.perf_counter() - before)
                time.sleep(given.pause_s)
        time.sleep(1.0)
        print("delay() itself")
        for label, took in calls.items():
            print(f"  {label:24} {spread(took)}")
        print("from delay() to the task's body")
        for label, file in files.items():
            late = [float(line) for line in file.read_text().split()][1:]
            print(f"  {label:24} {spread(late)}")
        print(f"load after: {load()}")


if __name__ == "__main__":
    main()

"""Kill the processes of Prefect flows that run tasks as their steps, and run the flows again.

``python -m benchmarks.prefect``. Each flow run is killed three times: before a submission is committed, after it and
before Prefect knows of it, and while the flow waits. Celery workers are killed as well. Then the ledger, the results of
the flows and a file that the tasks write to are compared. After that flow runs are cancelled, and timed.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from benchmarks.machine import load, print_header, spread
from benchmarks.servers import LEDGERS, Server, servers

TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "e2e"), str(TESTS / "prefect")]

from flowing import Flowing, outcome  # noqa: E402
from workers import Process  # noqa: E402

from mirepoix.crashpoints import Crashpoint  # noqa: E402
from pace import until  # noqa: E402
from prefect_server import PrefectServer  # noqa: E402

POINTS = (Crashpoint.SUBMIT_BEFORE_COMMIT, Crashpoint.SUBMIT_AFTER_COMMIT, "waiting")
STEPS = 4
AT_ONCE = 3
WORKER_DIES_AFTER = 5
"""So many deaths of flows."""


class Scene:
    """One Celery worker, replaced when it dies, and the flows."""

    def __init__(self, shop: Flowing) -> None:
        self.shop = shop
        self.names = itertools.count(1)
        self.worker = shop.worker("celery0")
        self.deaths: Counter[str] = Counter()
        self.lock = threading.Lock()

    def run(self, number: int) -> None:
        """A flow run that dies at each point, in an order of its own, and then comes to its end."""
        server = self.shop.prefect
        seconds = [round(0.1 + 0.3 * random.random(), 6) for _ in range(STEPS)]
        run_id = server.create("spins", {"seconds": seconds})
        order = list(itertools.permutations(POINTS))[number % 6]
        for attempt, point in enumerate(order):
            self.die(run_id, attempt, point)
            self.shop.again(run_id)
        assert outcome(self.shop.attempt("spins", run_id)) == STEPS

    def die(self, run_id: str, attempt: int, point: str) -> None:
        """Let the flow's process die at *point*."""
        if point == "waiting":
            process = self.shop.attempt("spins", run_id)
            until(lambda: process.said.count("Task shop.") > attempt, "it has submitted a task")
            time.sleep(0.1 * random.random())
            process.kill()
        else:
            process = self.shop.attempt("spins", run_id, env={"MIREPOIX_CRASHPOINT": str(point)}).ends()
            assert process.exit_code == -9, process.said
        with self.lock:
            self.deaths[f"flow at {point}"] += 1
            if sum(self.deaths.values()) % (WORKER_DIES_AFTER + 1) == WORKER_DIES_AFTER:
                self.deaths["Celery worker"] += 1
                self.worker.remove()
                self.worker = self.shop.worker(f"celery{next(self.names)}")


def kill_test(shop: Flowing, runs: int) -> None:
    scene = Scene(shop)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(scene.run, range(runs)))
    tasks = shop.ledger.query("SELECT id, state, generation FROM mirepoix_task")
    begun = Counter(effect.id for effect in shop.effects(what="begin"))
    ended = Counter(effect.id for effect in shop.effects(what="end"))
    states = Counter(state for _, state, _ in tasks)
    print(
        f"  {sum(scene.deaths.values())} kills: {', '.join(f'{n} {what}' for what, n in sorted(scene.deaths.items()))}"
    )
    print(f"    flow runs that returned what they should: {runs}, with {STEPS} steps each: {runs * STEPS} steps")
    print(
        f"    keys {len(shop.keys)}, tasks {len(tasks)}, {dict(states)}, sent again {sum(g > 0 for _, _, g in tasks)}"
    )
    print(
        f"    begun again {sum(n - 1 for n in begun.values())}, run to the end again "
        f"{sum(n - 1 for n in ended.values())}, overlapping {len(shop.effects(what='overlap'))}",
        flush=True,
    )
    assert len(shop.keys) == len(tasks) == runs * STEPS
    assert states == {"succeeded": len(tasks)}


def cancel_test(shop: Flowing, cancels: int) -> None:
    """From the cancelling of a flow run until the ledger says that its running task is cancelled."""
    took: list[float] = []
    for number in range(cancels):
        run_id = shop.prefect.create("one", {"name": "gate", "args": [f"never-{number}"]})
        process: Process = shop.attempt("one", run_id)
        of_run = f"SELECT task_id FROM mirepoix_key WHERE id LIKE 'prefect/{run_id}/%'"
        until(lambda sql=of_run: shop.ledger.query(sql), "it was submitted")
        ((task_id,),) = shop.ledger.query(of_run)
        until(lambda task_id=task_id: shop.state(task_id) == "running", "it runs")
        time.sleep(random.random())
        asked_at = time.monotonic()
        shop.prefect.set_state(run_id, "CANCELLING")
        until(lambda task_id=task_id: shop.state(task_id) == "cancelled", "it is cancelled")
        took.append(time.monotonic() - asked_at)
        process.ends()
    print(f"  {cancels} flow runs cancelled while their task runs: the task was ended after {spread(took)}", flush=True)


def run(server: Server, prefect: PrefectServer, runs: int, cancels: int) -> None:
    server.reset()
    print(f"{server.label}:", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="mirepoix-benchmark-") as folder,
        Flowing(Path(folder) / "shop", server.url, prefect) as shop,
    ):
        kill_test(shop, runs)
        cancel_test(shop, cancels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=["postgresql", "sqlite"])
    parser.add_argument("--runs", type=int, default=21, help="flow runs; each is killed three times")
    parser.add_argument("--cancels", type=int, default=20)
    given = parser.parse_args()
    prefect = PrefectServer()
    try:
        prefect.start()
        with servers(*given.systems) as systems:
            settings = f"{AT_ONCE} flow runs at once, prefork -c 2, Prefect {version('prefect')}"
            print_header("Kills under flows of Prefect", systems, settings)
            for server in systems:
                run(server, prefect, given.runs, given.cancels)
        print(f"load after: {load()}")
    finally:
        prefect.remove()


if __name__ == "__main__":
    main()

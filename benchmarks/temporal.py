"""Kill workers and servers while Temporal workflows run tasks as their steps: ``python -m benchmarks.temporal``.

Every death comes at a point between Temporal's decision and its record of the end, in turn. Then the ledger, the
results of the workflows and a file that the tasks write to are compared. After that workflows are cancelled, and timed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

from benchmarks.machine import load, print_header, spread
from benchmarks.servers import LEDGERS, Server, servers

TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "e2e"), str(TESTS / "temporal")]

from bridged import OF_CELERY, OF_TEMPORAL, Bridged  # noqa: E402
from temporalio.client import Client  # noqa: E402
from temporalio.common import WorkflowIDConflictPolicy  # noqa: E402
from workers import Process  # noqa: E402

from driver import Ledger  # noqa: E402
from mirepoix.connect.url import source_for  # noqa: E402
from mirepoix.crashpoints import Crashpoint  # noqa: E402
from pace import until  # noqa: E402
from temporal_server import TemporalServer  # noqa: E402

USE_EXISTING = WorkflowIDConflictPolicy.USE_EXISTING
STEPS = 3
AT_ONCE = 3


class Scene:
    """One worker of each kind, replaced when it dies, and a stream of workflows."""

    def __init__(self, server: Server, shop: Bridged) -> None:
        self.server, self.shop = server, shop
        self.points = {"temporal": itertools.cycle(OF_TEMPORAL), "celery": itertools.cycle(OF_CELERY)}
        self.names = itertools.count(1)
        self.armed: dict[str, Crashpoint] = {}
        self.workers = {kind: self.hire(kind, next(self.points[kind])) for kind in self.points}
        self.deaths: Counter[str] = Counter()
        self.is_over = False

    def hire(self, kind: str, point: Crashpoint) -> Process:
        """A worker that dies at *point* once its token is made."""
        self.armed[kind] = point
        token = str(self.shop.folder / f"token-{kind}")
        env = {"MIREPOIX_CRASHPOINT": str(point), "MIREPOIX_CRASHPOINT_TOKEN": token}
        name = f"{kind}{next(self.names)}"
        return self.shop.temporal_worker(name, env) if kind == "temporal" else self.shop.worker(name, env=env)

    def kill_at_its_point(self, kind: str) -> None:
        """Wait until the worker has died at the point that it was armed for; replace it."""
        token = self.shop.folder / f"token-{kind}"
        token.touch()
        until(lambda: not token.exists(), f"a worker of {kind} reaches {self.armed[kind]}")
        self.workers[kind].ends()
        self.deaths[f"{kind} at {self.armed[kind]}"] += 1
        self.workers[kind] = self.hire(kind, next(self.points[kind]))

    def kill_anywhere(self, kind: str) -> None:
        """SIGKILL to a whole worker at a random moment; replace it."""
        time.sleep(random.random())
        self.workers[kind].remove() if kind == "celery" else self.workers[kind].kill()
        self.deaths[f"{kind} anywhere"] += 1
        self.workers[kind] = self.hire(kind, self.armed[kind])

    def kill_pool_process(self) -> None:
        """SIGKILL to a process that runs a task."""
        time.sleep(random.random())
        pids = self.workers["celery"].children()
        os.kill(random.choice(pids), signal.SIGKILL)
        self.deaths["pool process of celery"] += 1

    def kill_server(self) -> None:
        """SIGKILL to Temporal's server, which starts again."""
        self.shop.temporal.kill()
        self.shop.temporal.start()
        self.deaths["server of Temporal"] += 1

    def kill_database(self) -> None:
        """SIGKILL to the ledger's server, which starts again. An SQLite file has none."""
        if self.server.daemon is None:
            return
        self.server.daemon.kill()
        self.server.daemon.start()
        self.shop.ledger.connection.close()
        self.shop.ledger = Ledger(source_for(self.server.url))
        self.deaths["server of the ledger"] += 1

    def kill(self, number: int) -> None:
        ways = [
            *(lambda: self.kill_at_its_point("temporal"), lambda: self.kill_at_its_point("celery")) * 5,
            lambda: self.kill_anywhere("temporal"),
            lambda: self.kill_anywhere("celery"),
            self.kill_pool_process,
            self.kill_server,
            self.kill_database,
        ]
        ways[number % len(ways)]()

    async def stream(self, client: Client, counter: itertools.count, took: list[float]) -> int:
        """Run workflows one after another until the kills are over; how many."""
        ran = 0
        while not self.is_over:
            own = {"id": self.shop.id_of(f"steps-{next(counter)}"), "task_queue": self.shop.queue}
            seconds = [0.05 + 0.2 * random.random() for _ in range(STEPS)]
            begin = partial(client.start_workflow, "RunSteps", seconds, **own, id_conflict_policy=USE_EXISTING)
            began_at = time.monotonic()
            handle = await _patiently(begin)
            assert await _patiently(handle.result) == STEPS
            took.append(time.monotonic() - began_at)
            ran += 1
        return ran


async def _patiently(act):
    """Ask until the server, which may be killed just now, answers."""
    while True:
        try:
            return await act()
        except Exception as error:
            if "RPC" not in type(error).__name__:
                raise
            await asyncio.sleep(0.2)


async def kill_test(scene: Scene, kills: int) -> None:
    shop = scene.shop
    client = await Client.connect(shop.temporal.address)
    counter, took = itertools.count(), []
    streams = [asyncio.create_task(scene.stream(client, counter, took)) for _ in range(AT_ONCE)]
    for number in range(kills):
        await asyncio.to_thread(scene.kill, number)
        if any(one.done() for one in streams):
            break
    scene.is_over = True
    ran = sum(await asyncio.gather(*streams))
    await shop.until(lambda: shop.callbacks == 0, "all ends were told")
    tasks = shop.ledger.query("SELECT id, state, generation FROM mirepoix_task")
    runs = Counter(effect.id for effect in shop.effects(what="begin"))
    ends = Counter(effect.id for effect in shop.effects(what="end"))
    overlaps = len(shop.effects(what="overlap"))
    states = Counter(state for _, state, _ in tasks)
    print(
        f"  {sum(scene.deaths.values())} kills: {', '.join(f'{n} {what}' for what, n in sorted(scene.deaths.items()))}"
    )
    print(f"    workflows that returned what they should: {ran}, with {STEPS} steps each: {ran * STEPS} activities")
    print(
        f"    keys {len(shop.keys)}, tasks {len(tasks)}, {dict(states)}, sent again {sum(g > 0 for _, _, g in tasks)}"
    )
    again = sum(n - 1 for n in runs.values())
    print(f"    begun again {again}, run to the end again {sum(n - 1 for n in ends.values())}, overlapping {overlaps}")
    print(f"    a workflow took {spread(took)}", flush=True)
    assert len(shop.keys) == len(tasks) == ran * STEPS
    assert states == {"succeeded": len(tasks)}


async def cancel_test(scene: Scene, cancels: int) -> None:
    """From the cancelling of a workflow until the ledger says that its task is cancelled, and the workflow too."""
    shop = scene.shop
    client = await Client.connect(shop.temporal.address)
    took = []
    for number in range(cancels):
        handle = await shop.begin(client, {"task": "shop.gate", "args": ["never"]}, f"cancel-{number}")
        key_of_it = f"SELECT k.task_id FROM mirepoix_key AS k WHERE k.id LIKE '%cancel-{number}/%'"
        await shop.until(lambda sql=key_of_it: shop.ledger.query(sql), "it was submitted")
        ((task_id,),) = shop.ledger.query(key_of_it)
        await shop.until(lambda task_id=task_id: shop.state(task_id) == "running", "it runs")
        await asyncio.sleep(random.random())
        asked_at = time.monotonic()
        await handle.cancel()
        await shop.until(lambda task_id=task_id: shop.state(task_id) == "cancelled", "it is cancelled")
        took.append(time.monotonic() - asked_at)
    print(f"  {cancels} workflows cancelled while their task runs: the task was ended after {spread(took)}", flush=True)


def run(server: Server, temporal: TemporalServer, kills: int, cancels: int) -> None:
    server.reset()
    print(f"{server.label}:")
    with (
        tempfile.TemporaryDirectory(prefix="mirepoix-benchmark-") as folder,
        Bridged(Path(folder) / "shop", server.url, temporal) as shop,
    ):
        scene = Scene(server, shop)
        asyncio.run(kill_test(scene, kills))
        asyncio.run(cancel_test(scene, cancels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=["postgresql", "sqlite"])
    parser.add_argument("--kills", type=int, default=70)
    parser.add_argument("--cancels", type=int, default=20)
    given = parser.parse_args()
    temporal = TemporalServer()
    try:
        temporal.start()
        with servers(*given.systems) as systems:
            print_header("Kills under workflows of Temporal", systems, f"{AT_ONCE} workflows at once, prefork -c 2")
            for server in systems:
                run(server, temporal, given.kills, given.cancels)
        print(f"load after: {load()}")
    finally:
        temporal.remove()


if __name__ == "__main__":
    main()

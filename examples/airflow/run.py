"""Run the whole example: ``python run.py --orders 3 --kill`` starts all servers and workers, and ends them."""

import argparse
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

HERE = Path(__file__).parent
CELERY = ("-m", "celery", "-A", "tasks", "worker", "--loglevel", "warning", "--concurrency", "2")
SCHEDULER = ("-m", "airflow", "scheduler", "--skip-serve-logs")
TRIGGERER = ("-m", "airflow", "triggerer", "--skip-serve-logs")
STEPS = ("reserve", "charge", "pack", "ship", "confirm")


class Processes:
    """Airflow's processes and the Celery worker. What Airflow prints is in files beside the data."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._running: list[subprocess.Popen] = []

    def start(self, *command: str, is_shown: bool = False) -> subprocess.Popen:
        with (self._data / "airflow.log").open("ab") as log:
            output = None if is_shown else log
            started = subprocess.Popen(
                (sys.executable, *command), cwd=HERE, stdout=output, stderr=output, start_new_session=True
            )
        self._running.append(started)
        return started

    def kill(self, *processes: subprocess.Popen) -> None:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop_all(self) -> None:
        for process in reversed(self._running):
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


class Api:
    """Airflow's API."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._token = ""

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        with urlopen(Request(f"{self._url}{path}", data, headers), timeout=120) as answer:
            return json.load(answer)

    def wait(self) -> None:
        while True:
            with suppress(URLError, OSError):
                self._token = self.ask("/auth/token")["access_token"]
                return
            time.sleep(0.2)

    def place(self, orders: range) -> None:
        for n in orders:
            run = {"dag_run_id": f"order-{n}", "logical_date": None, "conf": {"order_id": n, "cents": 100 * n}}
            self.ask("/api/v2/dags/place-order/dagRuns", run)

    def wait_for(self, order: int) -> bool:
        """Wait for the end of an order, and tell of it."""
        run = f"/api/v2/dags/place-order/dagRuns/order-{order}"
        while (state := self.ask(run)["state"]) not in ("success", "failed"):
            time.sleep(0.2)
        if state == "success":
            done = [self.ask(f"{run}/taskInstances/{step}/xcomEntries/return_value")["value"] for step in STEPS]
            print(f"Order {order} is done: {', '.join(done)}.", flush=True)
        return state == "success"


def is_charged() -> bool:
    """Whether the third step of an order has been sent."""
    with closing(sqlite3.connect(Path(os.environ["SHOP_DATA"]) / "shop.db")) as own:
        try:
            return bool(own.execute("SELECT 1 FROM mirepoix_task WHERE name = 'shop.pack'").fetchall())
        except sqlite3.OperationalError:  # the worker has not made the tables yet
            return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(data: Path, url: str) -> dict[str, str]:
    """Airflow's settings: an SQLite database, no login, and all processes on this machine."""
    return {
        "AIRFLOW_HOME": str(data / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API_AUTH__JWT_SECRET": "of-this-example-" * 5,
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "120",
        "AIRFLOW_CONN_MIREPOIX_DEFAULT": json.dumps(
            {"conn_type": "mirepoix", "password": f"sqlite:///{data / 'shop.db'}"}
        ),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONWARNINGS": "ignore",
    }


def main() -> None:
    """Parse the command line, and run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=3, help="how many orders to place")
    parser.add_argument("--kill", action="store_true", help="kill scheduler, triggerer and worker in the middle")
    options = parser.parse_args()

    data = Path(os.environ.setdefault("SHOP_DATA", str(HERE / "data")))
    data.mkdir(exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    os.environ |= environment(data, url)

    processes = Processes(data)
    api = Api(url)
    try:
        processes.start("-m", "airflow", "db", "migrate").wait()
        processes.start("-m", "airflow", "dag-processor", "--num-runs", "1").wait()
        server = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
        processes.start("-m", "airflow", "api-server", *server)
        airflow = [processes.start(*SCHEDULER), processes.start(*TRIGGERER)]
        worker = processes.start(*CELERY, is_shown=True)
        api.wait()
        orders = range(1, options.orders + 1)
        api.place(orders)
        if options.kill:
            while not is_charged():
                time.sleep(0.05)
            processes.kill(worker, *airflow)
            for command in (SCHEDULER, TRIGGERER):
                processes.start(*command)
            processes.start(*CELERY, is_shown=True)
        ends = [api.wait_for(order) for order in orders]
    finally:
        processes.stop_all()
    sys.exit(not all(ends))


if __name__ == "__main__":
    main()

"""Kill Airflow's processes, Celery workers and the ledger's server while DAGs run tasks as their steps.

``AIRFLOW_PYTHON=build/airflow/bin/python python -m benchmarks.airflow --kills 60``. Every death comes between Airflow's
decision to run a task and its record of the end. Then the ledger, the states of the DAG runs and a file that the tasks
write to are compared. After that deferred tasks are marked as failed, and timed; and a triggerer waits for 1,000 tasks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

from benchmarks.machine import children, command_line, load, print_header, spread, tree, tree_cpu_s
from benchmarks.servers import LEDGERS, Server, servers

TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "e2e"), str(TESTS / "airflow")]

from airing import Airing  # noqa: E402

import mirepoix  # noqa: E402
from airflow_server import COMPONENTS, AirflowServer, Run  # noqa: E402
from driver import Ledger  # noqa: E402
from mirepoix.connect.url import source_for  # noqa: E402
from mirepoix.crashpoints import Crashpoint  # noqa: E402
from pace import until  # noqa: E402

DAGS = Path(__file__).with_name("airflow_dags.py")
POINTS = itertools.cycle((Crashpoint.SUBMIT_BEFORE_COMMIT, Crashpoint.SUBMIT_AFTER_COMMIT))
STEPS = 3
AT_ONCE = 3
LONG_S = 1200.0
MEASURED_S = 20.0


class Scene:
    """Airflow's processes and one Celery worker, each replaced when it dies, and a stream of DAG runs."""

    def __init__(self, server: Server, shop: Airing) -> None:
        self.server, self.shop, self.airflow = server, shop, shop.airflow
        self.names = itertools.count(1)
        self.worker = shop.worker("celery0")
        self.deaths: Counter[str] = Counter()
        self.is_over = threading.Event()
        self.runs: list[Run] = []

    @property
    def token(self) -> Path:
        return self.airflow.folder / "token"

    def hire_scheduler(self) -> None:
        """A scheduler. Its next task dies at the next point, once the token is made."""
        self.point = next(POINTS)
        self.airflow.env["MIREPOIX_CRASHPOINT"] = str(self.point)
        self.airflow.env["MIREPOIX_CRASHPOINT_TOKEN"] = str(self.token)
        self.airflow.start_one("scheduler")
        del self.airflow.env["MIREPOIX_CRASHPOINT"]

    def kill_scheduler(self) -> None:
        self._pause()
        self.airflow.kill("scheduler")  # with the processes of its LocalExecutor
        self.hire_scheduler()
        self.deaths["scheduler with its tasks"] += 1

    def kill_triggerer(self) -> None:
        self._pause()
        self.airflow.kill("triggerer")
        self.airflow.start_one("triggerer")
        self.deaths["triggerer"] += 1

    def kill_task_at_its_point(self) -> None:
        self.token.touch()
        until(lambda: not self.token.exists(), f"a task reaches {self.point}", deadline_s=LONG_S)
        self.deaths[f"task at {self.point}"] += 1

    def kill_task_anywhere(self) -> None:
        """SIGKILL to a process of Airflow that runs a task: it submits, or takes the result."""
        pid = until(self._task, "a task runs", deadline_s=LONG_S)
        time.sleep(random.random())
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.deaths["task anywhere"] += 1

    def _task(self) -> int | None:
        found = [pid for pid in tree(self.airflow.processes["scheduler"].pid) if is_task(command_line(pid))]
        return random.choice(found) if found else None

    def kill_worker(self) -> None:
        self._pause()
        self.worker.remove()
        self.worker = self.shop.worker(f"celery{next(self.names)}")
        self.deaths["Celery worker"] += 1

    def kill_pool_process(self) -> None:
        self._pause()
        os.kill(random.choice(until(self.worker.children, "it has a pool")), signal.SIGKILL)
        self.deaths["pool process of Celery"] += 1

    def kill_database(self) -> None:
        """SIGKILL to the ledger's server, which starts again. An SQLite file has none."""
        if self.server.daemon is None:
            return self.kill_worker()
        self._pause()
        self.server.daemon.kill()
        self.server.daemon.start()
        self.shop.ledger.connection.close()
        self.shop.ledger = Ledger(source_for(self.server.url))
        self.deaths["server of the ledger"] += 1
        return None

    def kill(self, number: int) -> None:
        ways: list[Callable[[], None]] = [
            self.kill_task_at_its_point,
            self.kill_worker,
            self.kill_task_anywhere,
            self.kill_triggerer,
            self.kill_task_at_its_point,
            self.kill_pool_process,
            self.kill_task_anywhere,
            self.kill_database,
            self.kill_task_at_its_point,
            self.kill_scheduler,
        ]
        ways[number % len(ways)]()

    def _pause(self) -> None:
        time.sleep(2 * random.random())

    def stream(self, _: int) -> None:
        """Begin DAG runs one after another until the kills are over."""
        while not self.is_over.is_set():
            seconds = [round(0.5 + random.random(), 6) for _ in range(STEPS)]
            run = patiently(lambda seconds=seconds: self.shop.begin("steps", "spin", seconds=seconds))
            self.runs.append(run)
            until(lambda run=run: has_ended(run), f"{run.run_id} has ended", deadline_s=LONG_S)


def is_task(command: bytes) -> bool:
    """Whether a process runs a task of Airflow. It names itself by the id of the task instance."""
    return command.startswith(b"airflow worker -- ") and b"LocalExecutor" not in command


def has_ended(run: Run) -> bool:
    """Whether a DAG run has ended. An API that is busy says nothing."""
    time.sleep(0.5)
    with suppress(URLError, OSError, HTTPException):
        return run.state in ("success", "failed")
    return False


def patiently(act: Callable[[], Run]) -> Run:
    """Ask an API that may be busy."""
    while True:
        with suppress(URLError, OSError, HTTPException):
            return act()
        time.sleep(0.5)


def kill_test(scene: Scene, kills: int) -> None:
    shop = scene.shop
    began_at = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        streams = [pool.submit(scene.stream, number) for number in range(AT_ONCE)]
        try:
            for number in range(kills):
                scene.kill(number)
                print(f"    {time.monotonic() - began_at:5.0f} s: {dict(scene.deaths)}", flush=True)
                if any(one.done() for one in streams):
                    break
        finally:
            scene.is_over.set()
        for one in streams:
            one.result()
    ended = Counter(run.state for run in scene.runs)
    steps = len(scene.runs) * STEPS
    tasks = shop.ledger.query("SELECT id, state, generation FROM mirepoix_task")
    begun = Counter(effect.id for effect in shop.effects(what="begin"))
    ends = Counter(effect.id for effect in shop.effects(what="end"))
    states = Counter(state for _, state, _ in tasks)
    tries = [run.instance(f"step{n}")["try_number"] for run in scene.runs for n in range(STEPS)]
    print(
        f"  {sum(scene.deaths.values())} kills: {', '.join(f'{n} {what}' for what, n in sorted(scene.deaths.items()))}"
    )
    print(f"    DAG runs: {dict(ended)}, with {STEPS} steps each: {steps} task instances, {sum(tries)} tries")
    print(
        f"    keys {len(shop.keys)}, tasks {len(tasks)}, {dict(states)}, sent again {sum(g > 0 for _, _, g in tasks)}"
    )
    print(
        f"    begun again {sum(n - 1 for n in begun.values())}, run to the end again "
        f"{sum(n - 1 for n in ends.values())}, overlapping {len(shop.effects(what='overlap'))}",
        flush=True,
    )
    assert ended == {"success": len(scene.runs)}
    assert len(shop.keys) == len(tasks) == steps
    assert states == {"succeeded": len(tasks)}


def cancel_test(shop: Airing, cancels: int) -> None:
    """From a person's mark, and from Airflow's call of the trigger, until the ledger says that it is cancelled."""
    from_mark, from_call = [], []
    for number in range(cancels):
        run = shop.begin("one", "gate", f"never-{number}")
        run.defers()
        of_run = f"SELECT task_id FROM mirepoix_key WHERE id LIKE 'airflow/one/{run.run_id}/%'"
        ((task_id,),) = shop.ledger.query(of_run)
        until(lambda task_id=task_id: shop.state(task_id) == "running", "it runs")
        time.sleep(random.random())
        marked_at = time.time()
        run.mark("failed")
        until(lambda task_id=task_id: shop.state(task_id) == "cancelled", "it is cancelled", deadline_s=LONG_S)
        cancelled_at = time.time()
        from_mark.append(cancelled_at - marked_at)
        from_call.append(cancelled_at - called_at(shop.airflow, run))
    print(f"  {cancels} deferred tasks marked as failed while their Celery task ran: it was ended after")
    print(f"    {spread(from_mark)} from the mark")
    print(f"    {spread(from_call)} from Airflow's call of on_kill()", flush=True)
    print(f"    each: {', '.join(f'{seconds:.2f}' for seconds in from_call)} s", flush=True)


def called_at(airflow: AirflowServer, run: Run) -> float:
    """When the triggerer called `on_kill`, by its log."""
    folder = airflow.folder / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"

    def found() -> float | None:
        for file in folder.rglob("*.trigger.*"):
            for line in file.read_text().splitlines():
                if "invoking on_kill" in line:
                    return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
        return None

    return until(found, "the triggerer has told")


def wait_test(shop: Airing, tasks: int) -> None:
    """Let a triggerer wait for tasks that no worker runs. The scheduler defers them, so Airflow starts no process."""
    for number in range(tasks):
        mirepoix.submit_once(shop.task("add"), f"wait-{number}", (number, 1))
    triggerer = shop.airflow.processes["triggerer"]
    before = cpu_share(triggerer.pid)
    for number in range(tasks // 20):
        shop.airflow.begin(f"waits{number}", "run-1", conn_id=shop.conn_id)
    until(lambda: deferred(shop.airflow) >= tasks, f"{tasks} are deferred", deadline_s=LONG_S)
    has_all = f" {tasks} triggers currently running"
    until(lambda: has_all in triggerer.said, "the triggerer has begun them all", deadline_s=LONG_S)
    while_waiting = cpu_share(triggerer.pid)
    print(f"  {deferred(shop.airflow)} deferred tasks wait in one triggerer")
    for name, share in while_waiting.items():
        print(f"    CPU of its {name}: {100 * share:.1f} % of a core; with no task {100 * before[name]:.1f} %")
    print(f"    connections to the ledger: {connections(shop, triggerer.pid)}", flush=True)
    began_at = time.monotonic()
    shop.worker("waited")
    of_keys = "SELECT COUNT(*) FROM mirepoix_task WHERE name = 'shop.add' AND state = 'succeeded'"
    until(lambda: shop.ledger.query(of_keys)[0][0] >= tasks, "all were run", deadline_s=LONG_S)
    ran_s = time.monotonic() - began_at
    until(lambda: deferred(shop.airflow) == 0, "the triggerer has told of all", deadline_s=LONG_S)
    print(f"    {ran_s:.1f} s for one worker to run all, {time.monotonic() - began_at:.1f} s until no task is deferred")


def cpu_share(pid: int) -> dict[str, float]:
    """The share of a core that the two processes of a triggerer take."""
    (runner,) = children(pid)

    def used() -> dict[str, float]:
        of_runner = tree_cpu_s(runner)
        return {"runner, which runs the triggers": of_runner, "supervisor": tree_cpu_s(pid) - of_runner}

    first, began_at = used(), time.monotonic()
    time.sleep(MEASURED_S)
    took_s = time.monotonic() - began_at
    return {name: (last - first[name]) / took_s for name, last in used().items()}


def deferred(airflow: AirflowServer) -> int:
    """How many tasks are deferred, by Airflow's own database."""
    import psycopg

    with psycopg.connect(airflow.database.url("airflow")) as connection:
        counted: Any = connection.execute("SELECT COUNT(*) FROM task_instance WHERE state = 'deferred'").fetchone()
        return int(counted[0])


def connections(shop: Airing, pid: int) -> str:
    """How many connections to the ledger's server the processes of a triggerer have."""
    from urllib.parse import urlsplit

    port = urlsplit(shop.url).port
    if port is None:
        open_files = [os.path.realpath(fd) for one in tree(pid) for fd in Path(f"/proc/{one}/fd").iterdir()]
        return f"{open_files.count(shop.url.removeprefix('sqlite:///'))} open file(s)"
    inodes = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if is_to(line, port)}
    held = {str(fd.readlink()) for one in tree(pid) for fd in Path(f"/proc/{one}/fd").iterdir() if fd.is_symlink()}
    return str(sum(f"socket:[{inode}]" in held for inode in inodes))


def is_to(line: str, port: int) -> bool:
    """Whether a line of /proc/net/tcp is an open connection to that port."""
    words = line.split()
    return words[2].endswith(f":{port:04X}") and words[3] == "01"


def run(server: Server, given: argparse.Namespace) -> None:
    server.reset()
    print(f"{server.label}:", flush=True)
    components = [name for name in COMPONENTS if name != "scheduler"] if given.kills else list(COMPONENTS)
    # An own process of Airflow needs no answer of the API server for a connection that is in the environment.
    ledger = json.dumps({"conn_type": "mirepoix", "password": server.url})
    airflow = AirflowServer(DAGS, {"WAITS": str(given.waits), "AIRFLOW_CONN_LEDGER": ledger}, components)
    try:
        airflow.start()
        with (
            tempfile.TemporaryDirectory(prefix="mirepoix-benchmark-") as folder,
            Airing(Path(folder) / "shop", server.url, airflow, "ledger") as shop,
        ):
            if given.kills:
                scene = Scene(server, shop)
                scene.hire_scheduler()
                kill_test(scene, given.kills)
            else:
                shop.worker("celery")
            if given.cancels:
                cancel_test(shop, given.cancels)
        if given.waits:
            server.reset()
            with (
                tempfile.TemporaryDirectory(prefix="mirepoix-benchmark-") as folder,
                Airing(Path(folder) / "shop", server.url, airflow, "ledger") as shop,
            ):
                wait_test(shop, given.waits)
    finally:
        airflow.remove()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=["postgresql"])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--cancels", type=int, default=10)
    parser.add_argument("--waits", type=int, default=1000)
    given = parser.parse_args()
    with servers(*given.systems) as systems:
        settings = f"{AT_ONCE} DAG runs at once, LocalExecutor with 4 processes, Celery prefork -c 2"
        print_header("Kills under DAGs of Airflow", systems, settings)
        for server in systems:
            run(server, given)
    print(f"load after: {load()}")


if __name__ == "__main__":
    main()

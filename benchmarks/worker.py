"""Start a real worker as people do, by its command line, and see how far it has come."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from benchmarks.machine import Snapshot, children, cpu_s
from benchmarks.servers import Server
from benchmarks.slots import SLOT, SLOTS, total

ROOT = Path(__file__).parent.parent
FLAGS = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")


class Worker:
    """One worker process and its pool, in a session of its own."""

    def __init__(
        self,
        server: Server,
        pool: str = "prefork",
        concurrency: int = 2,
        file: Path | None = None,
        module: str = "benchmarks.app",
        queues: str | None = None,
        **more: str,
    ) -> None:
        self.server = server
        self.file = file or Path(tempfile.mkstemp(prefix="mirepoix-benchmark-")[1])
        if file is None:
            self.file.write_bytes(bytes(SLOTS * SLOT.size))
        self._owns_file = file is None
        self.log = Path(tempfile.mkstemp(prefix="mirepoix-benchmark-", suffix=".log")[1])
        command = [sys.executable, "-m", "celery", "-A", module, "worker", "-P", pool, "-c", str(concurrency)]
        command += [] if queues is None else ["-Q", queues]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "-n", f"w{time.monotonic_ns()}@%h", *FLAGS],
                cwd=ROOT,
                env=os.environ | server.environment | {"BENCHMARK_FILE": str(self.file)} | more,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def done(self) -> int:
        """How many no-op tasks ran."""
        return total(self.file.read_bytes())

    def wait(self, until: Callable[[], bool], timeout_s: float = 120.0) -> None:
        """Until that is true; RuntimeError with the worker's last words if it dies or takes too long."""
        end = time.monotonic() + timeout_s
        while not until():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.server.label}: {self.log.read_text()[-3000:]}")
            time.sleep(0.003)

    def snapshot(self) -> Snapshot:
        pool = children(self.pid)
        parties = {
            "parent": cpu_s(self.pid),
            "children": sum(cpu_s(pid) for pid in pool),
            "server": self.server.sessions_cpu_s(),
        }
        parties["background"] = self.server.cpu_s() - parties["server"]
        return Snapshot(parties, self.done())

    def stop(self) -> None:
        """As an operator stops it; killed if it does not obey."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()
        if self._owns_file:
            self.file.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL to the worker and its whole pool."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

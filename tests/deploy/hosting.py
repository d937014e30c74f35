"""A host or a container whose processes are started by the lines of the deployment kits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from workers import DEADLINE_S, Process, Shop

BIN = str(Path(sys.executable).parent)


class Host:
    """A host or container with the shop on it."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        env = shop._env({"worker_prefetch_multiplier": 4}, {})
        self.env = {
            **env,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "MIREPOIX_PROBES": str(shop.folder / "probes"),
        }

    def starts(self, name: str, command: list[str], **env: str) -> Process:
        """A process that stays, in a session of its own: it and what it starts is what a supervisor kills."""
        process = Process(name, command, self.shop.folder, self.env | env, None)
        self.shop._processes.append(process)
        return process

    def runs(self, command: list[str], **env: str) -> int:
        """Run *command* to its end; return its exit code."""
        ended = subprocess.run(
            command,
            cwd=self.shop.folder,
            env={**os.environ, **self.env, **env},
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )
        print(command, ended)
        return ended.returncode

    def is_busy(self, worker: Process) -> tuple[str, list[str]]:
        """Wait until *worker*, with one slot, runs a task and holds three more. Return their ids."""
        running = self.shop.send("gate", "open", priority=9)
        self.shop.begun(running)
        waiting = [self.shop.send("note") for _ in range(3)]
        self.shop.wait(waiting, "leased")
        return running, waiting

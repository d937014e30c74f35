"""Send tasks from a process of its own; print as JSON how long it took: ``python -m benchmarks.client HOW N TASK``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from benchmarks.machine import Snapshot, Span
from benchmarks.servers import Server


def send(server: Server, how: str, count: int, task: str = "noop") -> Span:
    """Let a fresh process send *count* tasks (``single``, ``group`` or ``bulk``); what it cost."""
    from benchmarks.worker import ROOT

    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.client", how, str(count), task],
        cwd=ROOT,
        env=os.environ | server.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()  # it is connected and has sent one
    before = server.cpu_s()
    process.stdin.write("go\n")
    process.stdin.flush()
    said = json.loads(process.stdout.readline())
    after = server.cpu_s()
    process.stdin.close()
    process.wait()
    others = max(0.0, (said["busy"] - said["cpu"] - (after - before)) / said["seconds"])
    return Span(count, said["seconds"], {"client": said["cpu"], "server": after - before}, others)


def _send(how: str, count: int, name: str) -> None:
    from benchmarks.app import app
    from celery import group

    import mirepoix

    task = app.tasks[name]
    ways: dict[str, Any] = {
        "single": lambda: [task.delay() for _ in range(count)],
        "group": lambda: [group(task.s() for _ in range(1000)).apply_async() for _ in range(count // 1000)],
        "bulk": lambda: mirepoix.bulk(task, ([] for _ in range(count))),
    }
    task.delay()
    print("ready", flush=True)
    sys.stdin.readline()
    cpu = time.process_time()
    before = Snapshot({})
    ways[how]()
    after = Snapshot({})
    print(
        json.dumps(
            {"seconds": after.at - before.at, "cpu": time.process_time() - cpu, "busy": after.busy - before.busy}
        ),
        flush=True,
    )


if __name__ == "__main__":
    _send(sys.argv[1], int(sys.argv[2]), sys.argv[3])

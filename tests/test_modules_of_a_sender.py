"""A process that only sends, as a web process does, loads nothing of a worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SENDS = """
import sys
from celery import Celery
import mirepoix

app = Celery("web")
mirepoix.install(app, sys.argv[1])

@app.task
def note(): ...

note.delay()
print(*sys.modules)
"""

MAY_LOAD = {
    "alerts": set(),
    "broker": {"routes"},
    "cli": set(),
    "crashtest": set(),
    "daemons": set(),
    "delivery": {"flusher", "prefetch", "private", "registry", "wakeup"},
    "demo": set(),
    "django": set(),
    "fingerprint": set(),
    "operations": set(),
    "kombu": {"channel", "qos", "transport"},  # Celery resolves the transport of its events
    "celery": {
        *("app", "async_def", "backend", "capture", "chords", "context", "control", "errbacks", "gathering"),
        *(
            "installation",
            "own_task",
            "pool",
            "pool.names",
            "private",
            "purge",
            "queue_probes",
            "result_waiter",
            "retries",
            "senders",
            "signatures",
        ),
        *("task", "task_catalog", "transactional", "upcast", "versions"),
    },
}
"""The modules of each folder that a sending process may load. The folders that are not named serve senders as well."""


SLOW = {"asyncio", "billiard.pool", "celery.app.control", "ctypes", "http.client"}
"""Modules of others that take long to import, and that a process may need for nothing else."""


def test_a_process_that_only_sends_loads_no_module_of_a_worker(tmp_path: Path):
    command = [sys.executable, "-c", SENDS, f"sqlite:///{tmp_path / 'ledger.db'}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = set(ran.stdout.split())
    own = [name.removeprefix("mirepoix.") for name in modules if name.startswith("mirepoix.")]
    loaded = [name.split(".", 1) for name in own if "." in name]
    assert loaded
    surplus = sorted(
        f"{folder}.{rest}" for folder, rest in loaded if folder in MAY_LOAD and rest not in MAY_LOAD[folder]
    )
    assert surplus == []
    assert modules & SLOW == set()

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
print("\\n".join(name.removeprefix("mirepoix.") for name in sys.modules if name.startswith("mirepoix.")))
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
        *("app", "backend", "capture", "chords", "context", "control", "coroutines", "errbacks", "gathering"),
        *(
            "installation",
            "native",
            "own_task",
            "pool",
            "pool.current",
            "pool.names",
            "pool.soft_limit",
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


def test_a_process_that_only_sends_loads_no_module_of_a_worker(tmp_path: Path):
    command = [sys.executable, "-c", SENDS, f"sqlite:///{tmp_path / 'ledger.db'}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = [name.split(".", 1) for name in ran.stdout.split() if "." in name]
    assert loaded
    surplus = sorted(
        f"{folder}.{rest}" for folder, rest in loaded if folder in MAY_LOAD and rest not in MAY_LOAD[folder]
    )
    assert surplus == []

"""Write the golden rows of the Celery that runs this: ``PYTHONPATH=src:tests python tests/upgrades/record_golden.py``.

One file for each version of Celery, in ``golden/``. They are what a ledger really held, and are never edited: a new
version of Celery adds one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import celery

from driver import Ledger, migrate_ledger
from mirepoix.connect.url import source_for

HERE = Path(__file__).parent
LEFT_OUT = {"seq", "worker_id", "pid", "leased_at", "started_at", "peak_memory_kb", "run_time_s"}
"""What this machine did."""


def main() -> None:
    """Send, let one task ask for its retry, and write down the rows."""
    series = ".".join(celery.__version__.split(".")[:2])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "upgrade_app.py").write_text((HERE / "upgrade_app.py").read_text("utf-8"), "utf-8")
        url = f"sqlite:///{folder / 'ledger.db'}"
        migrate_ledger(url)
        env = {**os.environ, "UPGRADE_APP_LEDGER": url, "UPGRADE_APP_RETRY_S": "3600"}
        subprocess.run([sys.executable, "upgrade_app.py"], cwd=folder, env=env, check=True)
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "upgrade_app", "worker", "-P", "solo", "-Q", "fussy"],
            cwd=folder,
            env=env,
        )
        with Ledger(source_for(url)) as ledger:
            try:
                while ledger.row("fussy")["retries"] != 1:
                    worker.poll()
            finally:
                worker.terminate()
                worker.wait()
            rows = {table: ledger.rows(f"SELECT * FROM {table}") for table in ("mirepoix_task", "mirepoix_chord")}
    rows["mirepoix_task"] = [_kept(row) for row in rows["mirepoix_task"]]
    file = HERE / "golden" / f"celery-{series}.json"
    file.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"{len(rows['mirepoix_task'])} rows in {file}")


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in LEFT_OUT}


if __name__ == "__main__":
    main()

"""How late a scheduled run begins, in real time, on idle workers: ``python -m benchmarks.schedule_latency``.

The lateness is from the fire time to the first line of the task, by the clock of this host and of its databases.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.machine import load, print_header, spread
from benchmarks.servers import LEDGERS, servers

from mirepoix.connect.url import source_for
from mirepoix.ledger import schedules

APP = """
import os, time
from datetime import datetime
from celery import Celery
import mirepoix

def rhythm(n):
    return "* * * * * *" if n % 2 else f"*/{n % 5 + 2} * * * * *"

app = Celery("late")
app.conf.beat_schedule = {
    f"s{n}": {"task": "late", "schedule": mirepoix.Schedule(os.environ["CRON"] or rhythm(n))}
    for n in range(int(os.environ["SCHEDULES"]))
}
mirepoix.install(app, os.environ["LEDGER"], schedules=True)
file = os.open(os.environ["FILE"], os.O_WRONLY | os.O_APPEND)

@app.task(bind=True, name="late", ignore_result=True)
def late(self):
    due = datetime.fromisoformat(self.request.headers["mirepoix_fire_at"]).timestamp()
    os.write(file, f"{time.time() - due}\\n".encode())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--schedules", type=int, default=10)
    parser.add_argument("--cron", default="", help="the same for all of them, so that all are due at once")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=list(LEDGERS))
    given = parser.parse_args()
    with servers(*given.systems) as systems:
        rhythm = given.cron or "1 to 6 s"
        what = f"{given.schedules} schedules of {rhythm}, {given.workers} workers -c 2, {given.seconds:g} s"
        print_header("Lateness of scheduled runs", systems, what)
        for server in systems:
            server.reset()
            late, missed = measure(server.url, given.schedules, given.workers, given.seconds, given.cron)
            print(f"  {server.label:24} {spread(late)}, n = {len(late):,}")
            p99 = sorted(late)[int(len(late) * 0.99)]
            print(f"  {'':24} p99 {1000 * p99:.0f} ms, longest {1000 * max(late):.0f} ms, states {json.dumps(missed)}")
    print(f"load after: {load()}")


def measure(url: str, number: int, workers: int, seconds: float, cron: str) -> tuple[list[float], dict[str, int]]:
    """The lateness of each run, and how many fire times have which state."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = Path(folder) / "late"
        file.touch()
        (Path(folder) / "late_app.py").write_text(APP)
        env = {**os.environ, "LEDGER": url, "FILE": str(file), "SCHEDULES": str(number), "PYTHONPATH": folder}
        env["CRON"] = cron
        for place in range(workers):
            command = ["-m", "celery", "-A", "late_app", "worker", "-c", "2", "-n", f"w{place}@late", "-l", "warning"]
            process = subprocess.Popen([sys.executable, *command, "--without-mingle", "--without-gossip"], env=env)
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGTERM)
        while not file.read_text():
            time.sleep(0.1)
        time.sleep(3.0)  # all workers are up
        begin = len(file.read_text().splitlines())
        time.sleep(seconds)
        late = [float(line) for line in file.read_text().splitlines()[begin:]]
        source = source_for(url)
        with source.reading() as tx:
            states: dict[str, int] = {}
            for counts in schedules.counts(tx, 86_400.0).values():
                for state, count in counts.items():
                    states[state] = states.get(state, 0) + count
        source.close()
    return late, states


if __name__ == "__main__":
    main()

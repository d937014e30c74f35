"""How soon workers obey a pause, and what a paused backlog costs the others: ``python -m benchmarks.steering``.

*Obey*: two workers drain a backlog of short tasks. The queue, the task's name, or a key of its limit is paused 20
times. The time is from the commit of the pause (when `mirepoix.control.pause` returned) to the last start of a task on
each worker, by the clock of this host. How long the call itself took is printed too: on SQLite it waits for workers
that write.

*Drain*: one worker drains tasks behind a paused backlog in the same queue, and the same tasks without it, in turn.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.machine import load, print_header, spread
from benchmarks.servers import BROKER_MODE, LEDGERS, Server, servers

import mirepoix.control
from mirepoix.connect.url import source_for

APP = """
import os, time
from celery import Celery, signals
import mirepoix

broker = os.environ.get("BROKER")
app = Celery("steered", broker=broker or None)
app.conf.task_default_queue = "celery-ledger"
app.conf.task_ignore_result = True
mirepoix.install(app, os.environ["LEDGER"], **({"delivery": "broker"} if broker else {}))
file = os.open(os.environ["FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
ended = os.open(os.environ["FILE"] + "-ended", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def begin(self):
    os.write(file, f"{self.request.hostname} {time.time()}\\n".encode())
    time.sleep(float(os.environ["TASK_S"]))

@app.task(bind=True, name="short", shared=False)
def short(self):
    begin(self)

limit = mirepoix.Limit(running=1000, name="customer", key=lambda: "ann")

@app.task(bind=True, name="keyed", shared=False, limit=limit)
def keyed(self):
    begin(self)

@app.task(name="other", shared=False)
def other():
    os.write(ended, b".")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=[*LEDGERS, *BROKER_MODE], default=[*LEDGERS, *BROKER_MODE])
    parser.add_argument("--pool", default="prefork")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pauses", type=int, default=20)
    parser.add_argument("--task-ms", type=float, default=10.0)
    parser.add_argument("--backlog", type=int, default=100_000, help="paused tasks in front (default 100000)")
    parser.add_argument("--count", type=int, default=4_000, help="tasks that are drained behind them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=["obey", "drain"], default=["obey", "drain"])
    given = parser.parse_args()
    with servers(*given.systems) as systems:
        what = f"{given.workers} workers -P {given.pool} -c 2, tasks of {given.task_ms:g} ms"
        print_header("Pausing work", systems, what)
        for server in systems if "obey" in given.parts else ():
            for what in ("queue", "task", "key"):
                late, calls = obey(server, given, what)
                found = f"last start after {spread(late)}; the call took {spread(calls)}"
                print(f"  {server.label:34} pause {what:6} {found}", flush=True)
        for server in systems if "drain" in given.parts else ():
            if server.broker is None:
                print(f"  {server.label:34} {compare(server, given)}", flush=True)
    print(f"load after: {load()}")


def obey(server: Server, given: argparse.Namespace, what: str) -> tuple[list[float], list[float]]:
    """For each pause and each worker the seconds until its last start, and how long each call took."""
    server.reset()
    late: list[float] = []
    calls: list[float] = []
    with app_of(server, given.task_ms / 1000) as (folder, env, app):
        by = {"queue": {"queue": "celery-ledger"}, "task": {"task": "short"}, "key": {"limit": "customer:ann"}}
        name = by[what]
        starts = Starts(folder / "starts")
        send(app, "keyed" if what == "key" else "short", int(4 * given.workers * given.pauses * 1000 / given.task_ms))
        with ExitStack() as stack:
            for place in range(given.workers):
                stack.enter_context(worker(env, f"w{place}", given.pool))
            for _ in range(given.pauses):
                since = time.time()
                starts.wait_for(given.workers, since)
                called_at = time.time()
                mirepoix.control.pause(app, **name)
                paused_at = time.time()
                calls.append(paused_at - called_at)
                time.sleep(1.5)
                late += [max(0.0, at - paused_at) for at in starts.last(since).values()]
                mirepoix.control.resume(app, **name)
    return late, calls


class Starts:
    """What the workers have noted."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self._found: list[tuple[str, float]] = []

    def last(self, since: float) -> dict[str, float]:
        """The last start on each worker since then."""
        if self._file.exists():
            with self._file.open() as file:
                file.seek(self._read)
                for line in file.read().splitlines():
                    host, at = line.split()
                    self._found.append((host, float(at)))
                self._read = file.tell()
        self._found = [(host, at) for host, at in self._found if at >= since]
        return dict(sorted(self._found, key=lambda start: start[1]))

    def wait_for(self, workers: int, since: float) -> None:
        """Wait until each worker has begun tasks since then."""
        until = time.monotonic() + 60
        while len(self.last(since)) < workers:
            if time.monotonic() > until:
                raise TimeoutError(f"only {self.last(since)} work")
            time.sleep(0.05)
        time.sleep(0.3)


def compare(server: Server, given: argparse.Namespace) -> str:
    """The rates of draining with and without a paused backlog in front, and how long the first look took."""
    rates: dict[int, list[float]] = {0: [], given.backlog: []}
    firsts = []
    for _ in range(given.rounds):
        for backlog, found in rates.items():
            rate, first_s = drain(server, given, backlog)
            found.append(rate)
            if backlog:
                firsts.append(first_s)
    without, with_it = (statistics.median(found) for found in rates.values())
    return (
        f"drains {with_it:,.0f}/s behind {given.backlog:,} paused tasks, {without:,.0f}/s without: "
        f"{with_it / without:.2f}; the first of them ended {statistics.median(firsts):.1f} s after the worker was up"
    )


def drain(server: Server, given: argparse.Namespace, backlog: int) -> tuple[float, float]:
    """Tasks a second from the 10th to the 95th hundredth, and when the first one ended."""
    server.reset()
    with app_of(server, 0.0) as (folder, env, app):
        ended = folder / "starts-ended"
        send(app, "short", backlog)
        mirepoix.control.pause(app, task="short")
        send(app, "other", given.count)
        if server.kind == "postgresql":
            server.execute("VACUUM ANALYZE mirepoix_task", "CHECKPOINT")
        elif server.kind == "mariadb":
            server.execute("ANALYZE TABLE mirepoix_task")
        with worker(env, "w", given.pool):
            began = time.monotonic()
            times = {}
            for share in (0.0, 0.1, 0.95):
                wanted = max(1, int(given.count * share))
                while ended.stat().st_size < wanted:  # to count rows would cost as much as the work
                    time.sleep(0.02)
                times[share] = time.monotonic()
        return given.count * 0.85 / (times[0.95] - times[0.1]), times[0.0] - began


def send(app, name: str, count: int) -> None:
    if count:
        mirepoix.bulk(app.tasks[name], [()] * count)


@contextmanager
def app_of(server: Server, task_s: float):
    """The app, its folder, and the environment of its workers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "steered_app.py").write_text(APP)
        env = {
            **os.environ,
            "LEDGER": server.url,
            "BROKER": server.broker.url if server.broker else "",
            "FILE": str(folder / "starts"),
            "TASK_S": str(task_s),
            "PYTHONPATH": str(folder),
        }
        space: dict = {"__name__": "steered_app"}
        before = dict(os.environ)
        os.environ.update(env)
        exec(compile(APP, "steered_app", "exec"), space)
        os.environ.clear()
        os.environ.update(before)
        app = space["app"]
        if server.kind == "sqlite":
            from mirepoix.ledger.migrate import migrate

            connection = source_for(server.url).open()
            migrate(connection)
            connection.close()
        yield folder, env, app


@contextmanager
def worker(env: dict[str, str], name: str, pool: str):
    """A worker that is ready."""
    command = ["-m", "celery", "-A", "steered_app", "worker", "-P", pool, "-c", "2", "-n", f"{name}@steered"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, *command, "--without-mingle", "--without-gossip", "-l", "warning"],
            env=env,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()

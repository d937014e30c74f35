"""No-op tasks beside Celery on RabbitMQ, and beside Oban and PgQueuer, which also keep tasks in PostgreSQL.

``python -m benchmarks.peers``. Each round runs every system once, one after the other, and the ratios are of the
medians. Oban and PgQueuer run in an environment of their own under ``build/peers``, which is made if it is missing.
Oban needs Python 3.12 or newer: ``--python`` names one. Each has two processes and a database of its own on the same
PostgreSQL server. They run coroutines, as ``mirepoix-asyncio`` does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import client
from benchmarks.machine import Snapshot, Span, load, print_header, pss_mb, tree_cpu_s
from benchmarks.servers import Server, servers
from benchmarks.slots import SLOT, SLOTS, total
from benchmarks.worker import ROOT, Worker

FOLDER = ROOT / "build" / "peers"
PACKAGES = ("oban==0.7.0", "pgqueuer==1.6.0", "asyncpg==0.32.0", "uvloop", "psycopg[binary]")


@dataclass
class System:
    """One line of the tables."""

    label: str
    server: Server
    pool: str = ""
    """The pool of a Celery worker; empty for another task queue."""
    module: str = ""
    """The program of another task queue."""
    task: str = "noop"
    more: dict[str, str] = field(default_factory=dict)

    def ask(self, do: str, count: int = 0) -> str:
        """Let the other task queue's program do that, and return what it prints."""
        environment = os.environ | self.server.environment | self.more
        command = [FOLDER / "bin" / "python", "-m", self.module, do, str(count)]
        return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout

    def reset(self) -> None:
        """Empty it."""
        if self.pool:
            self.server.reset()
        else:
            self.server.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "CHECKPOINT")
            self.ask("install")

    def fill(self, count: int) -> None:
        """Queue that many tasks."""
        if self.pool:
            client.send(self.server, "bulk" if self.server.is_ledger else "single", count - 1, self.task)
        else:
            self.ask("bulk", count)

    def send(self, count: int) -> float:
        """How many tasks a client can send a second, one by one."""
        if self.pool:
            return client.send(self.server, "single", count, self.task).rate
        return count / float(self.ask("single", count))

    @contextmanager
    def worker(self) -> Iterator[tuple[Callable[[], int], list[int]]]:
        """A worker with two processes that run tasks: how many it ran so far, and its processes."""
        if self.pool:
            concurrency = 100 if self.pool == "mirepoix-asyncio" else 2
            with Worker(self.server, self.pool, concurrency, **self.more) as worker:
                yield worker.done, [worker.pid]
            return
        with tempfile.NamedTemporaryFile(prefix="mirepoix-peers-") as file:
            Path(file.name).write_bytes(bytes(SLOTS * SLOT.size))
            environment = os.environ | self.server.environment | self.more | {"BENCHMARK_FILE": file.name}
            command = [FOLDER / "bin" / "python", "-m", self.module, "work", "0"]
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            processes = [subprocess.Popen(command, cwd=ROOT, env=environment, **quiet) for _ in range(2)]
            try:
                yield lambda: total(Path(file.name).read_bytes()), [process.pid for process in processes]
            finally:
                for process in processes:
                    process.kill()
                    process.wait()


def install(python: str) -> None:
    """Make the environment of the other task queues."""
    if not (FOLDER / "bin" / "python").exists():
        subprocess.run([python, "-m", "venv", FOLDER], check=True)
        subprocess.run([FOLDER / "bin" / "pip", "install", "-q", *PACKAGES], check=True)


def drain(system: System, count: int) -> tuple[Span, float]:
    """Fill the queue, then let two processes empty it: what that took, and their memory in MB at the end."""
    system.reset()
    system.fill(count)
    if system.server.kind == "postgresql":
        system.server.execute("VACUUM ANALYZE", "CHECKPOINT")
        time.sleep(0.1)
    with system.worker() as (done, pids):

        def snapshot() -> Snapshot:
            parties = {"worker": sum(map(tree_cpu_s, pids)), "server": system.server.sessions_cpu_s()}
            return Snapshot(parties, done())

        _until(lambda: done() >= count * 0.1, system)
        first = snapshot()
        _until(lambda: done() >= count * 0.95, system)
        last = snapshot()
        memory = sum(map(pss_mb, pids))
    return Span.between(first, last), memory


def _until(is_true: Callable[[], bool], system: System, timeout_s: float = 180.0) -> None:
    end = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > end:
            raise RuntimeError(f"{system.label} is not done after {timeout_s:g} s")
        time.sleep(0.003)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=15_000, help="tasks a drain (default 15000)")
    parser.add_argument("--sends", type=int, default=1_000, help="tasks that are sent one by one (default 1000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", default="python3.12", help="a Python 3.12 or newer (default python3.12)")
    given = parser.parse_args()
    install(given.python)
    with ExitStack() as stack:
        postgresql, rabbitmq = stack.enter_context(servers("postgresql", "rabbitmq"))
        peer = {"oban": "benchmarks.peer_oban", "pgqueuer": "benchmarks.peer_pgqueuer"}
        systems = [
            System("celery on rabbitmq, prefork", rabbitmq, "prefork"),
            System("mirepoix, prefork", postgresql, "prefork"),
            System("mirepoix, direct", postgresql, "mirepoix"),
            System("mirepoix, asyncio", postgresql, "mirepoix-asyncio", task="anoop",
                   more={"BENCHMARK_ASYNCIO_PROCESSES": "2"}),
            System("oban, 10 at once", postgresql.another("oban"), module=peer["oban"]),
            System("pgqueuer, 10 a batch", postgresql.another("pgqueuer10"), module=peer["pgqueuer"]),
            System("pgqueuer, 100 a batch", postgresql.another("pgqueuer100"), module=peer["pgqueuer"],
                   more={"BENCHMARK_BATCH": "100"}),
        ]  # fmt: skip
        settings = "two processes each; Celery: acks_late, confirms; " + ", ".join(PACKAGES[:3])
        print_header(
            f"Task queues side by side ({given.count} a drain, {given.rounds} rounds)", [postgresql, rabbitmq], settings
        )
        drains: dict[str, list[tuple[Span, float]]] = {system.label: [] for system in systems}
        sends: dict[str, list[float]] = {system.label: [] for system in systems}
        for _ in range(given.rounds):
            for system in systems:
                drains[system.label].append(drain(system, given.count))
        for _ in range(given.rounds):
            for system in systems:
                system.reset()
                sends[system.label].append(system.send(given.sends))
        report(drains, sends)
        print(f"load after: {load()}")


def report(drains: dict[str, list[tuple[Span, float]]], sends: dict[str, list[float]]) -> None:
    """Print a line for each system."""
    first = next(iter(drains))
    base = statistics.median(span.rate for span, _ in drains[first])
    base_send = statistics.median(sends[first])
    for label, runs in drains.items():
        rate = statistics.median(span.rate for span, _ in runs)
        each = "/".join(f"{span.rate:.0f}" for span, _ in runs)
        cpu = ", ".join(
            f"{party} {statistics.median(span.us(party) for span, _ in runs):.0f}" for party in ("worker", "server")
        )
        others = "/".join(f"{span.others:.1f}" for span, _ in runs)
        memory = statistics.median(memory for _, memory in runs)
        words = f"= {rate / base:.2f} x; CPU us {cpu}; PSS {memory:.0f} MB; others {others}"
        print(f"  {label:28} drain {rate:6.0f}/s ({each}) {words}")
        sent, each = statistics.median(sends[label]), "/".join(f"{one:.0f}" for one in sends[label])
        print(f"  {'':28} send  {sent:6.0f}/s ({each}) = {sent / base_send:.2f} x")


if __name__ == "__main__":
    main()

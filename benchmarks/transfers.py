"""Move money in transactional tasks under kills and freezes, then audit it: ``python -m benchmarks.transfers``.

Each task takes from one of 20 accounts, gives to another and writes a line into a journal, which nothing keeps from
having two lines of one task. The accounts and the journal are the witness, not the ledger.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pymysql
from celery import Celery

import mirepoix

ROOT = Path(__file__).parent.parent
ACCOUNTS, BALANCE = 20, 1000
LEASE_TTL_S = 1.0
FROZEN_S = 3.0
"""Longer than the lease: where others can write meanwhile, whoever wakes up is a zombie."""

TABLES = (
    "CREATE TABLE account (id integer PRIMARY KEY, balance integer NOT NULL)",
    "CREATE TABLE journal (task text NOT NULL, source integer, target integer, amount integer)",
)
BYS = ("sqlalchemy", "django")


def _database(url: str) -> dict:
    """An entry of Django's DATABASES."""
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": {"timeout": 60}}
    parts = urlsplit(url)
    place = {"NAME": parts.path.strip("/"), "USER": parts.username, "HOST": parts.hostname, "PORT": parts.port}
    return {"ENGINE": f"django.db.backends.{parts.scheme}", **place}


if os.environ.get("DJANGO_SETTINGS_MODULE") == "benchmarks.transfers":
    pymysql.install_as_MySQLdb()
    DATABASES = {"default": _database(os.environ["TRANSFERS_URL"])}
    INSTALLED_APPS = ["mirepoix.django"]
    SECRET_KEY = "for benchmarks"
    USE_TZ = True


def make_app(url: str, by: str) -> Celery:
    """The app of a worker, or of whoever sends."""
    app = Celery("transfers", set_as_current=False)
    # As many deaths as chance brings: what kills processes here is not the task.
    settings = {"lease_ttl_s": LEASE_TTL_S, "max_deaths": 1000, "max_handovers": 1000}
    if by == "django":
        import django

        django.setup()
        mirepoix.install(app, **settings)
    else:
        mirepoix.install(app, url, session_factory=_sessions(url), **settings)
    app.task(name="transfer", bind=True, transactional=True)(_django_transfer if by == "django" else transfer)
    return app


def transfer(self, source: int, target: int, amount: int, seconds: float) -> None:
    """With an SQLAlchemy Session."""
    from sqlalchemy import text

    session = mirepoix.transaction()
    for id, change in sorted(((source, -amount), (target, amount))):  # in one order, so that no two wait for each other
        session.execute(
            text("UPDATE account SET balance = balance + :change WHERE id = :id"), {"change": change, "id": id}
        )
        time.sleep(seconds / 2)
    session.execute(
        text("INSERT INTO journal VALUES (:task, :source, :target, :amount)"),
        {"task": self.request.id, "source": source, "target": target, "amount": amount},
    )


def _django_transfer(self, source: int, target: int, amount: int, seconds: float) -> None:
    """With Django's connection."""
    from django.db import connection

    with connection.cursor() as cursor:
        for id, change in sorted(((source, -amount), (target, amount))):
            cursor.execute("UPDATE account SET balance = balance + %s WHERE id = %s", [change, id])
            time.sleep(seconds / 2)
        cursor.execute("INSERT INTO journal VALUES (%s, %s, %s, %s)", [self.request.id, source, target, amount])


def _sessions(url: str):
    import sqlalchemy as sa
    from sqlalchemy import orm

    if not url.startswith("sqlite"):
        url = url.replace("postgresql:", "postgresql+psycopg:").replace("mysql:", "mysql+pymysql:")
        return orm.sessionmaker(sa.create_engine(url))
    engine = sa.create_engine(url, connect_args={"timeout": 60})
    return orm.sessionmaker(engine)


@dataclass
class Audit:
    """What was found when all was over."""

    tasks: int
    succeeded: int
    missing: int
    twice: int
    wrong_accounts: int
    total: int
    outcomes: Counter
    refused: int
    awakened: int

    @property
    def is_exact(self) -> bool:
        return (self.succeeded, self.missing, self.twice, self.wrong_accounts) == (self.tasks, 0, 0, 0)


@dataclass(frozen=True)
class Worker:
    """One worker process, its pool and what they print."""

    process: subprocess.Popen
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid


class Scene:
    """A fresh ledger with accounts beside it, two workers, and who does them harm."""

    def __init__(self, url: str, by: str, execute, workers: int = 2, concurrency: int = 4) -> None:
        self.url, self.by, self.execute, self.concurrency = url, by, execute, concurrency
        self.folder = Path(tempfile.mkdtemp(prefix="mirepoix-transfers-"))
        self.environment = {"TRANSFERS_URL": url, "TRANSFERS_BY": by}
        if by == "django":
            self.environment["DJANGO_SETTINGS_MODULE"] = "benchmarks.transfers"
        execute(*TABLES)
        execute(*(f"INSERT INTO account VALUES ({id}, {BALANCE})" for id in range(ACCOUNTS)))
        self.app = Celery("sender", set_as_current=False)
        mirepoix.install(self.app, url)
        self.sent: list[str] = []
        self.logs: list[Path] = []
        self.thawing: list[threading.Timer] = []
        self.frozen: set[int] = set()
        self.workers = [self.hire() for _ in range(workers)]
        while len(self.ready()) < workers:
            time.sleep(0.05)

    def hire(self) -> Worker:
        self.logs.append(self.folder / f"w{len(self.logs)}.log")
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.transfers", "worker", "-c", str(self.concurrency)]
        with self.logs[-1].open("w") as log:
            process = subprocess.Popen(
                [*command, "-n", f"w{len(self.logs)}@%h", "--without-gossip", "--without-mingle", "-l", "INFO"],
                cwd=ROOT,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Worker(process, self.logs[-1])

    def ready(self) -> list[Worker]:
        """The workers that run tasks and can move."""
        return [one for one in self.workers if one.pid not in self.frozen and " ready." in one.log.read_text()]

    def top_up(self, tasks: int, seconds: float) -> None:
        """Let more wait than run, until so many were sent."""
        while len(self.sent) < tasks and len(self.sent) - self.succeeded() < 4 * self.concurrency:
            self.send(random.uniform(seconds / 5, seconds))

    def send(self, seconds: float) -> None:
        source, target = random.sample(range(ACCOUNTS), 2)
        arguments = (source, target, random.randint(1, 100), seconds)
        self.sent.append(self.app.send_task("transfer", args=arguments).id)

    def kill_child(self) -> None:
        """SIGKILL to a pool process."""
        from benchmarks.machine import children

        with suppress(ProcessLookupError):
            os.kill(random.choice(children(random.choice(self.ready()).pid)), signal.SIGKILL)

    def kill_worker(self) -> None:
        """SIGKILL to a worker and its pool, replaced at once as a supervisor would."""
        worker = random.choice(self.ready())
        self.workers.remove(worker)
        os.killpg(worker.pid, signal.SIGKILL)
        worker.process.wait()
        self.workers.append(self.hire())

    def freeze_worker(self) -> None:
        """SIGSTOP to a worker and its pool, in the middle of whatever they do; SIGCONT after its lease ran out."""
        worker = random.choice(self.ready())
        os.killpg(worker.pid, signal.SIGSTOP)
        self.frozen.add(worker.pid)

        def thaw() -> None:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGCONT)
            self.frozen.discard(worker.pid)

        self.thawing.append(threading.Timer(FROZEN_S, thaw))
        self.thawing[-1].start()

    def succeeded(self) -> int:
        return self.execute("SELECT count(*) FROM mirepoix_task WHERE state = 'succeeded'", rows=True)[0][0]

    def wait(self, timeout_s: float) -> None:
        for timer in self.thawing:
            timer.join()
        end = time.monotonic() + timeout_s
        while self.succeeded() < len(self.sent) and time.monotonic() < end:
            time.sleep(0.2)

    def audit(self) -> Audit:
        lines = self.execute("SELECT task, source, target, amount FROM journal", rows=True)
        balances = dict(self.execute("SELECT id, balance FROM account", rows=True))
        expected = dict.fromkeys(range(ACCOUNTS), BALANCE)
        for _, source, target, amount in lines:
            expected[source] -= amount
            expected[target] += amount
        written = Counter(task for task, *_ in lines)
        ended = "SELECT outcome, count(*) FROM mirepoix_attempt_history GROUP BY outcome"
        said = "".join(log.read_text(errors="replace") for log in self.logs)
        return Audit(
            tasks=len(self.sent),
            succeeded=self.succeeded(),
            missing=len(set(self.sent) - set(written)),
            twice=sum(count > 1 for count in written.values()),
            wrong_accounts=sum(balances[id] != expected[id] for id in expected),
            total=sum(balances.values()),
            outcomes=Counter(dict(self.execute(ended, rows=True))),
            refused=said.count("was refused: its lease was lost"),
            awakened=said.count("was declared dead while it lived"),
        )

    def close(self) -> None:
        for timer in self.thawing:
            timer.join()
        for worker in self.workers:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.process.wait()
        self.app.mirepoix.source.close()


def run(scene: Scene, tasks: int, kills: int, freezes: int, seconds: float, timeout_s: float = 240.0) -> Audit:
    """Send *tasks* while that many processes are killed (every fifth time a whole worker) and workers are frozen.

    There are always more tasks than processes, each of up to *seconds*, so that most of what is killed is at work.
    """
    harms = [scene.kill_worker if number % 5 == 4 else scene.kill_child for number in range(kills)]
    harms += [scene.freeze_worker] * freezes
    random.shuffle(harms)
    until = time.monotonic() + timeout_s
    scene.top_up(tasks, seconds)
    for number, harm in enumerate(harms):
        # The next one when its share of the tasks is done, and at some moment after that.
        while (scene.succeeded() < tasks * 0.9 * number / len(harms) or not scene.ready()) and time.monotonic() < until:
            scene.top_up(tasks, seconds)
            time.sleep(0.01)
        time.sleep(random.uniform(0, seconds))
        harm()
        scene.top_up(tasks, seconds)
    while len(scene.sent) < tasks:
        scene.send(seconds)
    scene.wait(timeout_s)
    return scene.audit()


def main() -> None:
    from benchmarks.machine import load, print_header
    from benchmarks.servers import LEDGERS, servers

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--freezes", type=int, default=10)
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=list(LEDGERS))
    parser.add_argument("--by", nargs="+", choices=BYS, default=list(BYS))
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    random.seed(given.seed)
    with servers(*given.systems) as systems:
        print_header(
            "What becomes of money that transactional tasks move while processes are killed and frozen",
            systems,
            f"2 workers, prefork -c 4, lease_ttl_s={LEASE_TTL_S:g}, frozen for {FROZEN_S:g} s",
        )
        for server in systems:
            for by in given.by:
                server.reset()
                if server.name == "sqlite":
                    mirepoix.install(Celery("migrates", set_as_current=False), server.url)
                scene = Scene(server.url, by, server.execute)
                try:
                    # SQLite runs one at a time, the others as many as there are processes.
                    seconds = 0.15 if server.name == "sqlite" else 0.8
                    found = run(scene, given.tasks, given.kills, given.freezes, seconds)
                finally:
                    scene.close()
                if server.name == "sqlite":
                    server.execute("DROP TABLE account", "DROP TABLE journal")
                outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(found.outcomes.items()))
                print(
                    f"  {server.label}, {by}: {found.tasks} transfers, {given.kills} kills, {given.freezes} freezes: "
                    f"{'EXACT' if found.is_exact else 'WRONG'}"
                )
                print(
                    f"    succeeded {found.succeeded}; without a line in the journal {found.missing}, with two "
                    f"{found.twice}; accounts that differ from it {found.wrong_accounts}; sum {found.total} of "
                    f"{ACCOUNTS * BALANCE}"
                )
                print(
                    f"    attempts: {outcomes}; workers that woke up as zombies {found.awakened}, outcomes refused "
                    f"{found.refused}",
                    flush=True,
                )
        print(f"load after: {load()}")


if __name__ == "__main__":
    main()
elif "TRANSFERS_URL" in os.environ:
    app = make_app(os.environ["TRANSFERS_URL"], os.environ["TRANSFERS_BY"])

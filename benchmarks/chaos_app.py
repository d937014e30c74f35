"""The tasks of `benchmarks.chaos` and their senders. Each notes in a file outside of the ledger what it did."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from celery import Celery, chain, chord
from celery.canvas import Signature
from sqlalchemy import orm
from sqlalchemy.exc import SQLAlchemyError

import mirepoix

TABLES = (
    "CREATE TABLE chaos_effect (task varchar(100) NOT NULL, detail varchar(100) NOT NULL)",
    "CREATE TABLE chaos_order (id varchar(100) NOT NULL)",
)
"""Nothing keeps them from having two rows of one task."""

MEMBERS, STEPS = 4, 3


def sessions(url: str) -> orm.sessionmaker:
    """The user's own sessions, which transactional tasks and transactions of senders write with."""
    if url.startswith("sqlite"):
        return orm.sessionmaker(sa.create_engine(url, connect_args={"timeout": 60}))
    url = url.replace("postgresql:", "postgresql+psycopg:").replace("mysql:", "mysql+pymysql:")
    return orm.sessionmaker(sa.create_engine(url, pool_pre_ping=True))


def make_app(url: str) -> Celery:
    """With every setting as it is by default."""
    app = Celery("chaos", set_as_current=False)
    mirepoix.install(app, url, session_factory=sessions(url))
    app.task(name="plain", bind=True)(plain)
    app.task(name="flaky", bind=True)(flaky)
    # Its own statements fail while the database is away. A user would retry such a task, too.
    again = {"autoretry_for": (SQLAlchemyError,), "max_retries": None, "default_retry_delay": 1}
    app.task(name="effect", bind=True, transactional=True, **again)(effect)
    return app


def note(path: str | os.PathLike, *words: object) -> None:
    """Append a line, at once and whole."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (" ".join(map(str, words)) + f" {time.monotonic():.4f}\n").encode())
    os.close(file)


@contextmanager
def witnessed(task) -> Iterator[None]:
    """Note when an attempt begins and when it ends. The end by SIGKILL is not noted."""
    attempt = f"{os.getpid()}-{time.monotonic_ns()}"
    note(os.environ["CHAOS_WITNESS"], "begin", task.request.id, os.getpid(), os.getppid(), attempt)
    try:
        yield
    finally:
        note(os.environ["CHAOS_WITNESS"], "end", task.request.id, os.getpid(), os.getppid(), attempt)


def plain(self, seconds: float) -> int:
    """Sleeps."""
    with witnessed(self):
        time.sleep(seconds)
    return 1


def flaky(self, seconds: float, times: int) -> None:
    """Is retried *times* times, then succeeds."""
    with witnessed(self):
        time.sleep(seconds)
        if self.request.retries < times:
            raise self.retry(countdown=0.5, max_retries=10)


def effect(self, results: list[int] | None, seconds: float, child: str | None = None) -> None:
    """Writes a row and sends a child in its transaction. As a chord's body it gets the *results* of the members."""
    with witnessed(self):
        session = mirepoix.transaction()
        row = {"task": self.request.id, "detail": str(sum(results or [0]))}
        session.execute(sa.text("INSERT INTO chaos_effect VALUES (:task, :detail)"), row)
        if child:
            self.app.tasks["plain"].apply_async((0.05,), task_id=child)
        time.sleep(seconds)


class Sender:
    """Sends one thing after another, each of a random kind, and notes what it meant to do and what came of it."""

    def __init__(self, url: str, file: Path, name: str, seed: int) -> None:
        self.app, self.sessions = make_app(url), sessions(url)
        self.tasks = self.app.tasks
        self.file, self.name, self.random = file, name, random.Random(seed)
        # SQLite has one writer: who sleeps in a transaction holds up everybody.
        self.held_s = 0.02 if url.startswith("sqlite") else 0.5
        self.shares: dict[Callable, int] = {
            self.short: 40,
            self.long: 10,
            self.transactional: 14,
            self.retried: 10,
            self.later: 8,
            self.in_chain: 6,
            self.in_chord: 6,
            self.committed: 6,
            self.rolled_back: 6,
        }

    def run(self, every_s: float) -> None:
        """Until the process is told to stop."""
        stop: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
        kinds = list(self.shares)
        for number in itertools.count():
            (kind,) = self.random.choices(kinds, [self.shares[one] for one in kinds])
            kind(f"{self.name}-{number}-{kind.__name__.replace('_', '')}")
            end = time.monotonic() + self.random.uniform(0.2, 1.8) * every_s
            while time.monotonic() < end and not stop:
                time.sleep(0.02)
            if stop:
                return

    def send(self, ids: list[str], send: Callable[[], object], commits: bool = True) -> None:
        """A line before and one after: what has no second line, or raised, may be sent or not."""
        note(self.file, "means", ",".join(ids))
        try:
            send()
        except Exception as error:  # noqa: BLE001 - after any error the commit may have happened or not
            note(self.file, "unknown", ",".join(ids), type(error).__name__)
        else:
            note(self.file, "committed" if commits else "rolledback", ",".join(ids))

    def short(self, id: str) -> None:
        seconds = self.random.uniform(0.02, 0.4)
        self.send([id], lambda: self.tasks["plain"].apply_async((seconds,), task_id=id))

    def long(self, id: str) -> None:
        seconds = self.random.uniform(3, 8)
        self.send([id], lambda: self.tasks["plain"].apply_async((seconds,), task_id=id))

    def transactional(self, id: str) -> None:
        arguments = (None, self.random.uniform(0, self.held_s), f"{id}-child")
        self.send([id], lambda: self.tasks["effect"].apply_async(arguments, task_id=id))

    def retried(self, id: str) -> None:
        arguments = (self.random.uniform(0, 0.2), self.random.randint(1, 3))
        self.send([id], lambda: self.tasks["flaky"].apply_async(arguments, task_id=id))

    def later(self, id: str) -> None:
        countdown = self.random.uniform(1, 20)
        self.send([id], lambda: self.tasks["plain"].apply_async((0.05,), task_id=id, countdown=countdown))

    def _plain(self, id: str) -> Signature:
        return self.tasks["plain"].si(self.random.uniform(0.02, 0.4)).set(task_id=id)

    def in_chain(self, id: str) -> None:
        steps = [self._plain(f"{id}-step{place}") for place in range(STEPS)]
        self.send([one.options["task_id"] for one in steps], chain(*steps).delay)

    def in_chord(self, id: str) -> None:
        members = [self._plain(f"{id}-member{place}") for place in range(MEMBERS)]
        body = self.tasks["effect"].s(0.01).set(task_id=f"{id}-body")
        self.send([*(one.options["task_id"] for one in members), f"{id}-body"], lambda: chord(members)(body))

    def committed(self, id: str) -> None:
        self.send([f"{id}-a", f"{id}-b"], lambda: self._in_transaction(id))

    def rolled_back(self, id: str) -> None:
        self.send([f"{id}-a", f"{id}-b"], lambda: self._in_transaction(id, commits=False), commits=False)

    def _in_transaction(self, id: str, commits: bool = True) -> None:
        with suppress(_Declined), self.sessions() as session, session.begin(), mirepoix.using(session):
            session.execute(sa.text("INSERT INTO chaos_order VALUES (:id)"), {"id": id})
            for half in "ab":
                self.tasks["plain"].apply_async((0.05,), task_id=f"{id}-{half}")
            if not commits:
                raise _Declined


class _Declined(Exception):
    """Rolls a sender's transaction back."""


if __name__ == "__main__":
    file, name, seed, every_s = sys.argv[1:]
    Sender(os.environ["CHAOS_URL"], Path(file), name, int(seed)).run(float(every_s))
elif "CHAOS_URL" in os.environ:
    app = make_app(os.environ["CHAOS_URL"])

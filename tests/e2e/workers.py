"""Real worker, beat and client processes on the shop of `shop.py`, and how to wait for what they do."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from celery import Celery

import fork_server
import mirepoix
from brokers import BrokerServer
from driver import Ledger
from fork_server import OF_DATABASE, Forked, ForkServer
from logs import Log
from mirepoix.connect.url import source_for
from mirepoix.states import FINAL, State
from pace import DEADLINE_S, Timeout, until

FINISHED = frozenset({*FINAL, State.QUARANTINED, State.PARKED})
QUICK = ("--without-mingle", "--without-gossip")
"""What makes a worker start a second sooner, and has nothing to do with tasks."""

POOLS = ("prefork", "mirepoix", "mirepoix-asyncio", "threads", "solo", "gevent")
FORKING = ("prefork", "mirepoix", "mirepoix-asyncio")
"""The pools that run tasks in forks of the worker."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One line of the effects file."""

    at: float
    what: str
    id: str
    name: str
    retries: int
    fence: int | None
    pid: int
    more: dict[str, Any]


def _is_stopped(pid: int) -> bool:
    """Whether a process stands still, or is no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
    except OSError:
        return True


def _can_write(file: str) -> bool:
    """Whether nobody holds the lock of an SQLite file for long."""
    with closing(sqlite3.connect(file, timeout=0.5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
    return True


class Process:
    """A process of the test's own, in a session of its own, with its output in a file."""

    file: str | None = None
    """The SQLite file that it works on, if it does."""

    def __init__(
        self,
        name: str,
        command: list[str],
        folder: Path,
        env: dict[str, str],
        fork_server: Callable[[], ForkServer] | None = ForkServer.of,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.log.touch()
        self._log = Log(name, self.log, lambda: f" (process {self.pid}, {self._fate()})")
        self._popen: subprocess.Popen[bytes] | Forked
        if fork_server is not None and ForkServer.can_start(command, env):
            self._popen = fork_server().start(command, folder, env, self.log)
        else:
            with self.log.open("ab") as log:
                self._popen = subprocess.Popen(
                    command,
                    cwd=folder,
                    env={**os.environ, **env},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        self.pid = self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def _fate(self) -> str:
        return "running" if self.is_running else f"ended with {self.exit_code}"

    @property
    def said(self) -> str:
        """All it printed."""
        return self.log.read_text(errors="replace")

    def says(self, words: str, *, deadline_s: float = DEADLINE_S) -> Self:
        """Wait until it has printed *words*."""

        def has_said() -> bool:
            if words in self.said:
                return True
            if not self.is_running:
                raise Timeout(f"{self.name} ended ({self._popen.returncode}) before it said {words!r}")
            return False

        until(has_said, f"{self.name} says {words!r}", deadline_s=deadline_s)
        return self

    def send(self, number: int) -> Self:
        """Send a signal to this process, not to its children."""
        self._popen.send_signal(number)
        return self

    def kill(self) -> Self:
        """SIGKILL to this process, not to its children; return when it is gone."""
        return self.send(signal.SIGKILL).ends()

    def stop(self) -> Self:
        """A warm shutdown; return when it is over."""
        return self.send(signal.SIGTERM).ends()

    def ends(self, *, deadline_s: float = DEADLINE_S) -> Self:
        """Wait until it has ended."""
        try:
            self._popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise Timeout(f"{self.name} did not end within {deadline_s:.0f} s") from None
        return self

    @property
    def exit_code(self) -> int | None:
        """How it ended; a negative number is a signal."""
        return self._popen.poll()

    def freeze(self, *, holds_file: bool = False) -> Self:
        """SIGSTOP to it and all its children; unless *holds_file*, while none of them holds the lock of SQLite's file.

        If it *holds_file*, its task has written to it, and holds the lock.
        """
        while True:
            os.killpg(self.pid, signal.SIGSTOP)
            until(lambda: all(_is_stopped(pid) for pid in [self.pid, *self.children()]), f"{self.name} stands still")
            if self.file is None or holds_file or _can_write(self.file):
                return self
            self.thaw()

    def thaw(self) -> Self:
        """SIGCONT to it and all its children."""
        os.killpg(self.pid, signal.SIGCONT)
        return self

    def children(self) -> list[int]:
        """The processes of its pool."""
        try:
            return [int(word) for word in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except OSError:
            return []

    def remove(self) -> None:
        """End it and what it forked, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(DEADLINE_S)


class Shop:
    """One ledger, the app's module, its effects file, and every process that was started on them."""

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        has_client: bool = True,
        broker: BrokerServer | None = None,
        conf: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.url = url
        self.conf = conf or {}
        # Nobody may dial the broker that the tests only pretend to have, not even to look what waits there.
        self.settings = settings if broker is not None else {"look_at_broker": False, **settings}
        (folder / "runs").mkdir(parents=True)
        for module in (
            "shop.py",
            "around.py",
            "asynchronous.py",
            "canvas.py",
            "validated.py",
            "load.py",
            "released.py",
            "retrying.py",
            "submitting.py",
            "unique_tasks.py",
            "limited_tasks.py",
        ):
            shutil.copyfile(Path(__file__).with_name(module), folder / module)
        self._processes: list[Process] = []
        self._clients: list[Celery] = []
        self.broker = Broker() if broker is None else broker
        self.app = self.client() if has_client else None
        self.ledger = Ledger(source_for(url))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.remove()
        self.ledger.connection.close()
        self.ledger.source.close()
        for app in self._clients:
            _end_sender(app)
            app.mirepoix.source.close()
            app.close()
        if isinstance(self.broker, Broker):
            self.broker.close()

    # Who sends

    def client(self, conf: dict[str, Any] | None = None, **settings: Any) -> Celery:
        """An app in this process that sends to the ledger; it has no tasks of its own."""
        app = Celery("client", set_as_current=False, broker=self.broker.url)
        app.conf.update({**self.conf, **(conf or {})})
        mirepoix.install(app, self.url, **{**self.settings, **settings})
        self._clients.append(app)
        return app

    def task(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """The signature of a task of the shop."""
        return self.app.signature(f"shop.{name}", args=args, kwargs=kwargs)

    def send(self, name: str, *args: Any, task_id: str | None = None, **options: Any) -> str:
        """Send a task of the shop; return its id."""
        return self.app.send_task(f"shop.{name}", args=args, task_id=task_id, **options).id

    # What runs

    def start(
        self,
        name: str,
        *command: str,
        env: dict[str, str] | None = None,
        conf: dict[str, Any] | None = None,
        is_forked: bool = True,
        **settings: Any,
    ) -> Process:
        """A process of the shop: ``python`` with these arguments.

        It is forked from one that has imported Celery where that can be (`fork_server`), unless *is_forked* is false:
        for what must be there before Celery is.
        """
        env = self._env(conf, settings) | (env or {})
        fork_server = self.fork_server if is_forked else None
        process = Process(name, [sys.executable, *command], self.folder, env, fork_server)
        if self.url.startswith("sqlite:///"):
            process.file = self.url.removeprefix("sqlite:///")
        self._processes.append(process)
        return process

    def fork_server(self) -> ForkServer:
        """What forks its processes."""
        return ForkServer.of(*OF_DATABASE.get(self.url.partition(":")[0], ()))

    def worker(
        self,
        name: str = "w1",
        *options: str,
        pool: str = "prefork",
        concurrency: int = 2,
        is_awaited: bool = True,
        env: dict[str, str] | None = None,
        conf: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Process:
        """A worker process; it is ready when this returns, unless *is_awaited* is false."""
        if pool == "prefork":
            pool = os.environ.get("POOL_FOR_PREFORK", pool)
        process = self.start(
            name,
            *("-m", "celery", "-A", "shop", "worker", "-n", f"{name}@test", "-l", "info"),
            *("-P", pool, "-c", str(concurrency), *QUICK, *options),
            env=env,
            conf=conf,
            **settings,
        )
        return process.says(" ready.") if is_awaited else process

    def celery(self, *command: str, conf: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of Celery to its end."""
        command = (sys.executable, "-m", "celery", "-A", "shop", *command)
        return fork_server.run(list(command), self.folder, self._env(conf, {}), timeout_s=DEADLINE_S)

    def _env(self, conf: dict[str, Any] | None, settings: dict[str, Any]) -> dict[str, str]:
        return {
            "SHOP_LEDGER": self.url,
            "SHOP_BROKER": self.broker.url,
            "SHOP_CONF": json.dumps({**self.conf, **(conf or {})}),
            "SHOP_SETTINGS": json.dumps({**self.settings, **settings}),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore",
        }

    # What happened

    def make(self, name: str) -> None:
        """Make a file that a task waits for, or takes."""
        (self.folder / name).touch()

    def errbacks(self, *failed: str) -> list[Effect]:
        """What the error callbacks of these tasks told that are called in place, once all of them have."""
        until(
            lambda: set(failed) <= {told.more["failed"] for told in self.effects(what="errback")},
            f"the error callbacks of {', '.join(failed)} were called",
        )
        return [told for told in self.effects(what="errback") if told.more["failed"] in failed]

    def calls_errbacks(self, *failed: str) -> bool:
        """Whether the error callbacks of one of these tasks are to be called, or were."""
        calls = self.ledger.query("SELECT parent_id FROM mirepoix_task WHERE name = 'mirepoix.call_errbacks'")
        return not {parent for (parent,) in calls}.isdisjoint(failed)

    def effects(self, task_id: str | None = None, what: str | None = None) -> list[Effect]:
        """What the tasks told, in the order of the file."""
        file = self.folder / "effects.jsonl"
        if not file.exists():
            return []
        found = []
        whole, _, _ = file.read_text().rpartition("\n")  # what follows is still being written
        for line in whole.splitlines():
            told = json.loads(line)
            known = {key: told.pop(key) for key in Effect.__slots__ if key != "more"}
            effect = Effect(**known, more=told)
            if task_id in (None, effect.id) and what in (None, effect.what):
                found.append(effect)
        return found

    def runs(self, task_id: str) -> int:
        """How often the task's code began."""
        return len(self.effects(task_id, "begin"))

    def row(self, task_id: str) -> dict[str, Any]:
        """The task's row."""
        return self.ledger.row(task_id)

    def state(self, task_id: str) -> str:
        """The task's state."""
        return self.ledger.state(task_id)

    def wait(self, task_ids: str | Iterable[str], state: str | None = None, *, deadline_s: float = DEADLINE_S) -> None:
        """Wait until these tasks are in *state* (any in which nothing more happens, if None)."""
        ids = [task_ids] if isinstance(task_ids, str) else list(task_ids)
        wanted = FINISHED if state is None else {state}
        states: dict[str, str] = {}

        def are_there() -> bool:
            found = self.ledger.states()
            states.update({id: found.get(id, "no row") for id in ids})
            return all(now in wanted for now in states.values())

        try:
            until(are_there, f"tasks are {state or 'finished'}", deadline_s=deadline_s)
        except Timeout as error:
            raise Timeout(f"{error}: {states}") from None

    def begun(self, task_id: str, times: int = 1) -> None:
        """Wait until the task's code has begun so often."""
        try:
            until(lambda: self.runs(task_id) >= times, f"{task_id} began {times} time(s)")
        except Timeout as error:
            raise Timeout(f"{error}; row {self.row(task_id)}") from None

    def logs(self) -> str:
        """The end of what every process printed."""
        return "\n".join(f"--- {p.name}\n{p.said[-3000:]}" for p in self._processes)


def _end_sender(app: Celery) -> None:
    """Wait for the thread that publishes. It tries a broker that was away again after 2 s, perhaps in the next test."""
    sender = vars(app.mirepoix).get("sender")
    if sender is not None and sender._thread is not None:
        sender._end()
        sender._thread.join(DEADLINE_S)
        assert not sender._thread.is_alive()


class Broker:
    """A port that somebody listens on and nobody may dial: whoever does is seen, in whatever process."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self.url = f"amqp://127.0.0.1:{self._socket.getsockname()[1]}//"

    @property
    def was_dialled(self) -> bool:
        """Whether anybody tried to connect."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

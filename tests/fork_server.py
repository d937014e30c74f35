"""Start Python processes by forking one that has imported Celery and us, which saves most of a start.

A process that is forked is in a session of its own, with its own output, folder and environment, and begins where
``python -m``, ``python -c`` or ``python file.py`` would: with an empty ``__main__``, and nothing configured. What must
patch the standard library before anything is imported (gevent), or is another Python, is not started here.

The garbage collector leaves alone what the server imported, of which a worker would otherwise look at every object
before each fork.

Run as a program, this file is the server: it reads a line of JSON for each process from its standard input, which is a
socket, and writes ``{"pid": ...}``; later, ``{"pid": ..., "code": ...}`` when that process has ended.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import importlib
import json
import os
import queue
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

MODULES = (
    "celery.bin.celery",
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.apps.worker",
    "celery.__main__",
    "celery.backends.base",
    "celery.canvas",
    "celery.concurrency.prefork",
    "celery.concurrency.solo",
    "celery.concurrency.thread",
    "celery.fixups.django",
    "celery.loaders.app",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.events",
    "celery.worker.consumer",
    "celery.worker.consumer.delayed_delivery",
    "celery.worker.strategy",
    "billiard.popen_fork",
    "billiard.sharedctypes",
    "importlib.readers",
    "kombu.asynchronous.hub",
    "kombu.mixins",
    "kombu.transport.memory",
    "kombu.transport.pyamqp",
    "mirepoix",
    "mirepoix.celery.app",
    "mirepoix.celery.bootsteps",
    "mirepoix.celery.pool.asynchronous",
    "mirepoix.celery.pool.direct",
    "mirepoix.celery.others",
    "mirepoix.celery.request",
    "mirepoix.celery.tracing",
    "mirepoix.cli.main",
    "mirepoix.connect.inotify",
    "mirepoix.connect.interrupts",
    "mirepoix.connect.pooled",
    "mirepoix.kombu.transport",
)
"""What every worker imports anyway. What only some do is left to them, or to a server of their own (`ForkServer.of`):
it may matter what is imported."""

OF_DATABASE = {"postgresql": ("mirepoix.connect.psycopg",), "mysql": ("mirepoix.connect.pymysql",)}
"""What the processes on a database import beside that."""

ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}
"""What a process that is started here has of Python's own variables, beside those of the tests."""


class ForkServer:
    """The server, as the tests know it. It ends with them."""

    _ours: ClassVar[dict[tuple[str, ...], ForkServer]] = {}
    _first = threading.Lock()

    def __init__(self, modules: tuple[str, ...] = (), env: dict[str, str] | None = None) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, __file__, *modules],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **ENVIRONMENT, **(env or {})},
                start_new_session=True,
            )
        self._starting = threading.Lock()
        self._started: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._news = threading.Condition()
        self._codes: dict[int, int] = {}
        threading.Thread(target=self._listen, daemon=True).start()
        atexit.register(self.close)

    @classmethod
    def of(cls, *modules: str) -> ForkServer:
        """The one of this process that has imported these modules, too."""
        with cls._first:
            if modules not in cls._ours:
                cls._ours[modules] = cls(modules)
            return cls._ours[modules]

    @staticmethod
    def can_start(command: list[str], env: dict[str, str]) -> bool:
        """Whether such a process can be forked."""
        return (
            command[0] == sys.executable
            and (command[1] in ("-m", "-c") or command[1].endswith(".py"))
            and _of_python({**os.environ, **env}) == _of_python({**os.environ, **ENVIRONMENT})
            and not any("gevent" in word or "eventlet" in word for word in command)
        )

    def start(
        self, command: list[str], folder: Path, env: dict[str, str], log: Path, output: Path | None = None
    ) -> Forked:
        """Fork it; return when it is in a session of its own. Its standard output goes to *output*, or into the log."""
        wanted = {
            "arguments": command[1:],
            "folder": str(folder),
            "env": {**os.environ, **env},
            "log": str(log),
            "output": str(output or log),
        }
        with self._starting:
            self._socket.sendall(json.dumps(wanted).encode() + b"\n")
            pid = self._started.get()
        if pid is None:
            raise RuntimeError("the server that forks the processes of tests has ended")
        return Forked(pid, self)

    def wait(self, pid: int, timeout_s: float) -> int | None:
        """How that process ended; None if it has not in that time."""
        with self._news:
            self._news.wait_for(lambda: pid in self._codes, timeout_s)
            return self._codes.get(pid)

    def close(self) -> None:
        """End the server; processes that it has forked go on."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._server.wait()

    def _listen(self) -> None:
        with self._socket.makefile("r") as lines:
            for line in lines:
                told = json.loads(line)
                if "code" not in told:
                    with self._news:
                        self._codes.pop(told["pid"], None)  # of an earlier process with that number
                    self._started.put(told["pid"])
                    continue
                with self._news:
                    self._codes[told["pid"]] = told["code"]
                    self._news.notify_all()
        self._started.put(None)


class Forked:
    """One process that was forked, with what the tests use of `subprocess.Popen`."""

    def __init__(self, pid: int, server: ForkServer) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server

    def poll(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it; None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.wait(self.pid, 0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait until it has ended."""
        if self.returncode is None:
            self.returncode = self._server.wait(self.pid, timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def run(command: list[str], folder: Path, env: dict[str, str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a Python process to its end. It is forked where that can be."""
    env = {**ENVIRONMENT, **env}
    if not ForkServer.can_start(command, env):
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    with tempfile.TemporaryDirectory() as files:
        output, log = Path(files) / "output", Path(files) / "log"
        process = ForkServer.of().start(command, folder, env, log, output)
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            raise
        said = [file.read_text(errors="replace") if file.exists() else "" for file in (output, log)]
    return subprocess.CompletedProcess(command, code, *said)


def _of_python(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith("PYTHON")}


# ---- the server itself


def serve() -> None:
    """Fork what is asked for, and tell how it ended, until nobody asks any more."""
    sys.path.pop(0)  # the folder of this file, which holds modules that no process is to find
    for name in (*MODULES, *sys.argv[1:]):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    requests = socket.socket(fileno=0)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    asked = b""
    while True:
        ready, _, _ = select.select([requests, reading], [], [])
        if reading in ready:
            os.read(reading, 4096)
            _tell_of_ended(requests)
        if requests in ready:
            received = requests.recv(1 << 16)
            if not received:
                os._exit(0)
            *lines, asked = (asked + received).split(b"\n")
            for line in lines:
                wanted = json.loads(line)
                if (pid := _fork()) is None:
                    requests.detach()
                    os.close(reading)
                    os.close(writing)
                    _become(wanted)
                    return
                requests.sendall(json.dumps({"pid": pid}).encode() + b"\n")


def _tell_of_ended(requests: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        code = os.waitstatus_to_exitcode(status)
        requests.sendall(json.dumps({"pid": pid, "code": code}).encode() + b"\n")


def _fork() -> int | None:
    """The process, in a session of its own; None in it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        return pid
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.write(writing, b".")
    os.close(reading)
    os.close(writing)
    return None


def _become(wanted: dict[str, Any]) -> None:
    """Be the process that is wanted: its files, folder, environment and arguments; run what it is to run."""
    log, output = (os.open(wanted[name], os.O_WRONLY | os.O_APPEND | os.O_CREAT) for name in ("log", "output"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    for fd, number in ((nothing, 0), (output, 1), (log, 2)):
        os.dup2(fd, number)
    for fd in (log, output, nothing):
        os.close(fd)
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    how, *arguments = wanted["arguments"]
    what = arguments.pop(0) if how in ("-m", "-c") else how
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    sys.argv = [how, *arguments]
    from mirepoix import crashpoints

    crashpoints._ARMED = crashpoints._armed()  # which is read from the environment when it is imported
    if how == "-m":
        sys.path.insert(0, wanted["folder"])  # where its modules are
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    elif how == what:
        sys.path.insert(0, wanted["folder"])
        runpy.run_path(what, run_name="__main__")
    else:
        sys.path.insert(0, "")
        main.__dict__["__builtins__"] = builtins
        exec(compile(what, "<string>", "exec"), main.__dict__)  # as ``python -c`` does


if __name__ == "__main__":
    serve()

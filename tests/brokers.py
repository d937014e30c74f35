"""A RabbitMQ and a Redis of the tests' own, on private ports, that a test may kill."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from kombu import Connection

from logs import Log
from missing import missing
from pace import pace
from servers import _free_port

INSTALL = {
    "redis": "sudo apt-get install redis-server",
    "rabbitmq": "sudo apt-get install rabbitmq-server",
}
START_S = 90.0 * pace()


class BrokerServer:
    """One folder and, while it runs, one server on it. The port stays the same over restarts."""

    kind = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"mirepoix-{self.kind}-"))
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = Log(self.kind, self.folder / "log")

    @property
    def url(self) -> str:
        """Where it is, as Celery has it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server, unless it runs, and return when it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | self._environment(),
                start_new_session=True,
            )
        self._until_it_answers()

    def kill(self) -> None:
        """SIGKILL to every process of it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an operator does."""
        self._end(signal.SIGTERM)

    def remove(self) -> None:
        """End it, and delete what it wrote."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def size(self, queue: str) -> int:
        """How many messages wait in *queue*."""
        with Connection(self.url) as connection:
            try:
                return int(connection.default_channel.queue_declare(queue, passive=True).message_count)
            except connection.channel_errors:
                return 0

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        return {}

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        process.wait(timeout=60 * pace())

    def _until_it_answers(self) -> None:
        until = time.monotonic() + START_S
        while True:
            try:
                with Connection(self.url, connect_timeout=2) as connection:
                    connection.connect()
                    return
            except Exception as error:
                if time.monotonic() > until or self._process is None or self._process.poll() is not None:
                    log = (self.folder / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{self.kind} did not start: {error}\n{log}") from error
            time.sleep(0.05)


class RedisServer(BrokerServer):
    """Redis; nothing is kept over a restart unless *is_durable*."""

    kind = "redis"

    def __init__(self, *, is_durable: bool = False) -> None:
        super().__init__()
        self.is_durable = is_durable

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def flush(self) -> None:
        """FLUSHALL."""
        self._send("FLUSHALL")

    def _send(self, command: str) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(command.encode() + b"\r\n")
            assert connection.recv(100).startswith(b"+OK")

    def _command(self) -> list[str]:
        return [
            *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes" if self.is_durable else "no"),
        ]


class RabbitServer(BrokerServer):
    """RabbitMQ: a node of its own, with an epmd of its own."""

    kind = "rabbitmq"

    def __init__(self) -> None:
        super().__init__()
        self._epmd_port, self._dist_port = _free_port(), _free_port()
        (self.folder / "plugins").write_text("[].")
        self._epmd: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        if self._epmd is None:
            self._epmd = subprocess.Popen(
                ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"], start_new_session=True
            )
        super().start()

    def configure(self, text: str, advanced: str) -> None:
        """Write its configuration files, before it is started: *advanced* has what the other has no word for."""
        (self.folder / "rabbitmq.conf").write_text(text)
        (self.folder / "advanced.config").write_text(advanced)

    def delete_queue(self, queue: str) -> None:
        """Delete a queue with what is in it."""
        with Connection(self.url) as connection:
            connection.default_channel.queue_delete(queue)

    def purge(self, queue: str) -> None:
        """Empty a queue, if there is one. (Deleted, it would be lost to connections that think it declared.)"""
        with Connection(self.url) as connection, suppress(Exception):
            connection.default_channel.queue_purge(queue)

    def remove(self) -> None:
        super().remove()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait(timeout=10 * pace())

    def _command(self) -> list[str]:
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
        }


def require(kind: str) -> None:
    """The server's program, or the reason to skip at home and fail in CI."""
    found = {"redis": shutil.which("redis-server"), "rabbitmq": Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists()}
    if found[kind]:
        return
    missing(f"{kind} is not installed. Run: {INSTALL[kind]}")


def started(make: Callable[[], Any], kind: str) -> Any:
    """A server for a fixture: started, and removed in the end."""
    require(kind)
    server = make()
    try:
        server.start()
        yield server
    finally:
        server.remove()

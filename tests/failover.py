"""A PostgreSQL standby that follows a primary, and one address in front of both."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

import psycopg

from servers import PostgresServer, _as_unprivileged


class Standby(PostgresServer):
    """A hot standby by streaming replication: it answers who reads, and becomes the primary when it is told to.

    From then on the primary commits only what is here as well.
    """

    name, prefix = "a standby of PostgreSQL", "mirepoix-standby-"
    is_ready_when = "ready to accept read"

    def __init__(self, binaries: Path, primary: PostgresServer) -> None:
        self._primary = primary
        super().__init__(binaries)
        self.start()
        with psycopg.connect(primary.url(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Become the primary."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def _initialising(self) -> list[str]:
        conninfo = self._primary.url().replace("/postgres", "")
        return [
            *_as_unprivileged(),
            str(self._binaries / "pg_basebackup"),
            *("--pgdata", str(self._data), "--dbname", conninfo, "--write-recovery-conf"),
            *("--checkpoint", "fast", "--no-sync"),
        ]


class Address:
    """A port of this machine that leads to one server after another, as a floating address or a proxy does."""

    def __init__(self, port: int) -> None:
        self.leads_to = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self.move(0)

    def move(self, port: int) -> None:
        """Lead to that port from now on; who is connected is cut off."""
        self.leads_to = port
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                here, _ = self._socket.accept()
                threading.Thread(target=self._carry, args=(here,), daemon=True).start()

    def _carry(self, here: socket.socket) -> None:
        with here:
            try:
                there = socket.create_connection(("127.0.0.1", self.leads_to))
            except OSError:
                return
            with there, suppress(OSError):
                self._ends += (here, there)
                while True:
                    for end in select.select([here, there], [], [])[0]:
                        words = end.recv(65536)
                        if not words:
                            return
                        (there if end is here else here).sendall(words)

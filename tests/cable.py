"""A TCP proxy that a test can cut: what was on its way is lost, and neither end is told."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit, urlunsplit

CHUNK = 65_536


class Cable:
    """Leads from a port of its own to a server.

    After `cut` both ends of each connection stay open and hear nothing more, as when a router drops packets and nobody
    has noticed: the server keeps its session and the locks of it. Who connects waits until `mend`.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "127.0.0.1", int(parts.port or 0))
        self._listening = socket.create_server(("127.0.0.1", 0))
        user = parts.netloc.rpartition("@")[0]
        self.url = urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{self._listening.getsockname()[1]}"))
        self._is_whole = threading.Event()
        self._is_whole.set()
        self._is_over = False
        self._cuts = 0
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._is_whole.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=5.0)
        for end in (self._listening, *self._ends):
            end.close()

    def cut(self) -> None:
        """Nothing gets through any more."""
        self._is_whole.clear()
        self._cuts += 1

    def mend(self) -> None:
        """New connections get through; those that were cut stay as dead as they are."""
        self._is_whole.set()

    def _begin(self, act: object, *args: object) -> None:
        thread = threading.Thread(target=act, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._is_over:
                self._begin(self._carry, self._listening.accept()[0])

    def _carry(self, client: socket.socket) -> None:
        self._ends.append(client)
        self._is_whole.wait()
        if self._is_over:
            return
        cuts = self._cuts
        with suppress(OSError):
            server = socket.create_connection(self._server)
            self._ends.append(server)
            other = {client: server, server: client}
            while not self._is_over and cuts == self._cuts:
                for end in select.select([client, server], [], [], 0.05)[0]:
                    if cuts != self._cuts:
                        return
                    said = end.recv(CHUNK)
                    if not said:
                        client.close()
                        server.close()
                        return
                    other[end].sendall(said)

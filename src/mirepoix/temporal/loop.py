"""Temporal's client in a Celery process: an event loop in a thread of its own, begun with the first call."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio.client import Client

from mirepoix.errors import TemporalAway

T = TypeVar("T")


class ClientLoop:
    """Runs coroutines with one client for each process. A pool process that was forked connects anew."""

    def __init__(self, connect: Callable[[], Awaitable[Client]], where: str) -> None:
        self._connect = connect
        self._where = where
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        self._connecting: asyncio.Lock | None = None

    def run(self, act: Callable[[Client], Awaitable[T]]) -> T:
        """Call *act* with the client, and wait for it. Raises TemporalAway if the server cannot be reached."""
        return asyncio.run_coroutine_threadsafe(self._with_client(act), self._running()).result()

    async def _with_client(self, act: Callable[[Client], Awaitable[T]]) -> T:
        if self._connecting is None:
            self._connecting = asyncio.Lock()
        async with self._connecting:
            if self._client is None:
                try:
                    self._client = await self._connect()
                except (RuntimeError, OSError) as error:  # what the SDK raises for a connection that is refused
                    raise TemporalAway(self._where, error) from error
        return await act(self._client)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._client = self._connecting = None
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="mirepoix-temporal", daemon=True).start()
        return self._loop

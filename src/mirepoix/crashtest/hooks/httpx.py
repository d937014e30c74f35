"""Requests that httpx sends, sync and async. The hook is ``Client.send``, above the transports that stubs replace."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import httpx

from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.http import Service, answer, request
from mirepoix.crashtest.points import Delivery, current


def install(stack: ExitStack, service: Service | None) -> None:
    """Install the fault points until *stack* is closed."""

    def make(send: Any) -> Any:
        def wrapped(self: Any, asked: Any, **options: Any) -> Any:
            delivery = current()
            if delivery is None:
                return send(self, asked, **options)
            with request(asked.method, str(asked.url), asked.headers, asked.read()):
                return send(self, asked, **options) if service is None else _answer(service, delivery, asked)

        return wrapped

    def make_async(send: Any) -> Any:
        async def wrapped(self: Any, asked: Any, **options: Any) -> Any:
            delivery = current()
            if delivery is None:
                return await send(self, asked, **options)
            with request(asked.method, str(asked.url), asked.headers, await asked.aread()):
                return await send(self, asked, **options) if service is None else _answer(service, delivery, asked)

        return wrapped

    replace(stack, httpx.Client, "send", make)
    replace(stack, httpx.AsyncClient, "send", make_async)


def _answer(service: Service, delivery: Delivery, asked: httpx.Request) -> httpx.Response:
    said = answer(service, delivery.journal, asked.method, str(asked.url), asked.headers, asked.content)
    return httpx.Response(200, json=said, request=asked)

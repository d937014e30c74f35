"""Requests that aiohttp's client sends. The hook is ``ClientSession._request``, which stubs replace too."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.http import Service, answer, request
from mirepoix.crashtest.points import Died, current


def install(stack: ExitStack, service: Service | None) -> None:
    """Install the fault points until *stack* is closed."""

    def make(send: Any) -> Any:
        async def wrapped(self: Any, method: str, url: Any, **options: Any) -> Any:
            delivery = current()
            if delivery is None:
                return await send(self, method, url, **options)
            whole = self._build_url(url).update_query(options.get("params") or {})
            what = (method.upper(), str(whole), self._prepare_headers(options.get("headers")), _body(options))
            response: Any = None
            try:
                with request(*what):
                    if service is None:
                        response = await send(self, method, url, **options)
                    else:
                        response = _Answer(what[0], whole, answer(service, delivery.journal, *what))
            except Died:
                if response is not None:
                    response.close()
                raise
            return response

        return wrapped

    replace(stack, aiohttp.ClientSession, "_request", make)


def _body(options: dict[str, Any]) -> Any:
    """Return the body that is sent, if it is known before it is sent. Files and generated bodies are not."""
    if options.get("json") is not None:
        return options["json"]
    data = options.get("data")
    if isinstance(data, aiohttp.FormData):
        return [[part[0].get("name"), _part(part[2])] for part in data._fields]
    if data is None or isinstance(data, (str, bytes, dict)):
        return data
    return type(data).__name__


def _part(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class _Answer(aiohttp.ClientResponse):
    """A response without a connection."""

    def __init__(self, method: str, url: URL, said: Any) -> None:
        headers = CIMultiDictProxy(CIMultiDict({"Content-Type": "application/json"}))
        self.method = method
        self.status, self.reason = 200, "OK"
        self._url = self._real_url = url
        self._headers = headers
        self._raw_headers = ((b"Content-Type", b"application/json"),)
        self._request_info = aiohttp.RequestInfo(url, method, headers, url)
        self._cache: dict[str, Any] = {}
        self._body = json.dumps(said).encode()

    async def read(self) -> bytes:
        return self._body or b""

    def release(self) -> Any:
        """No connection is held."""

    def close(self) -> None:
        """No connection is held."""

    async def wait_for_close(self) -> None:
        """No connection is held."""

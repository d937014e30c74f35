"""Requests that urllib3 sends itself. The hook of requests reports those that requests sends."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import urllib3

from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.http import Service, request
from mirepoix.crashtest.points import current


def install(stack: ExitStack, service: Service | None) -> None:
    """Install the fault points until *stack* is closed. *service* does not answer here."""

    def make(urlopen: Any) -> Any:
        def wrapped(self: Any, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> Any:
            if current() is None:
                return urlopen(self, method, url, body=body, headers=headers, **options)
            with request(method, f"{self.scheme}://{self.host}{url}", headers or {}, body):
                return urlopen(self, method, url, body=body, headers=headers, **options)

        return wrapped

    replace(stack, urllib3.HTTPConnectionPool, "urlopen", make)

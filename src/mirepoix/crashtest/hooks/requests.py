"""Requests that requests sends. The hook is ``Session.send``, above the adapters that stubs replace."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import requests

from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.http import Service, answer, request
from mirepoix.crashtest.points import current


def install(stack: ExitStack, service: Service | None) -> None:
    """Install the fault points until *stack* is closed."""

    def make(send: Any) -> Any:
        def wrapped(self: Any, prepared: Any, **options: Any) -> Any:
            delivery = current()
            if delivery is None:
                return send(self, prepared, **options)
            what = (prepared.method, prepared.url, prepared.headers, prepared.body)
            with request(*what):
                if service is None:
                    return send(self, prepared, **options)
                response = requests.Response()
                response.status_code = 200
                response.request, response.url = prepared, prepared.url
                response._content = json.dumps(answer(service, delivery.journal, *what)).encode()
                return response

        return wrapped

    replace(stack, requests.Session, "send", make)

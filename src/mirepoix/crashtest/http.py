"""Record requests as effects, and answer them with the test's service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mirepoix.crashtest.journal import Journal
from mirepoix.crashtest.normalise import REPEATABLE
from mirepoix.crashtest.points import current

Service = Callable[[str, str, Any], Any]
"""Takes the method, URL and body of a request, and returns the answer's JSON. It is called once for each idempotency
key."""

_LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})


@contextmanager
def request(method: str, url: str, headers: Mapping[str, Any], body: Any) -> Iterator[None]:
    """Surround one request. If the request may change something, it is a fault point."""
    delivery = current()
    method = method.upper()
    if delivery is None:
        yield
        return
    changes = method not in _LOOKS
    with delivery.point("http", f"{method} {url.partition('?')[0]}", is_durable=changes) as note:
        yield
        if changes:
            note(_effect(method, url, headers, body))


def answer(service: Service, journal: Journal, method: str, url: str, headers: Mapping[str, Any], body: Any) -> Any:
    """Ask *service* for an answer. A known idempotency key gets the same answer again."""
    effect = _effect(method.upper(), url, headers, body)
    has_key = effect["key"] is not None and method.upper() not in _LOOKS
    known = (effect["subject"], str(effect["key"])) if has_key else None
    return journal.ask(service, known, (method.upper(), url, effect["payload"]))


def _effect(method: str, url: str, headers: Mapping[str, Any], body: Any) -> dict[str, Any]:
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    key = {str(name).lower(): value for name, value in headers.items()}.get("idempotency-key")
    if isinstance(key, bytes):
        key = key.decode()
    return {
        "kind": "http",
        "subject": f"{method} {url}",
        "payload": body if isinstance(body, str) else "" if body is None else json.dumps(body, default=str),
        "key": key,
        "is_repeatable": method in REPEATABLE,
    }

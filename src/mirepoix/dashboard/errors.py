"""Answer requests that fail: pages that do not exist, addresses that make no sense, and a database that is away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mirepoix.connect.source import Source
from mirepoix.dashboard.render import render

logger = logging.getLogger("mirepoix.dashboard")

Handler = Callable[[Request, Exception], Response]


class NoSuchThing(HTTPException):
    """The ledger does not have what the address names."""

    def __init__(self, what: str) -> None:
        super().__init__(404, what)


class NotAllowed(HTTPException):
    """The user lacks a role."""

    def __init__(self, role: str) -> None:
        super().__init__(403, f"This needs the role {role!r}.")


class BadAddress(HTTPException):
    """The address or the form has a value that cannot be read."""

    def __init__(self, why: str) -> None:
        super().__init__(400, why[:1].upper() + why[1:])


def handlers(source: Source) -> Mapping[Any, Handler]:
    """Return the handlers of each kind of error."""

    def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        words = {404: "There is no such page."}.get(error.status_code, "")
        detail = error.detail if isinstance(error, (NoSuchThing, NotAllowed, BadAddress)) else words or error.detail
        return render(request, "error.html", error.status_code, code=error.status_code, words=detail)

    def of_database(request: Request, error: Exception) -> Response:
        logger.warning("the ledger in %s gave no answer: %s", source.label, error)
        words = "The ledger's database gave no answer. The workers may be well. Try again in a moment."
        return render(request, "error.html", 503, code=503, words=words)

    def of_program(request: Request, error: Exception) -> Response:
        words = "The dashboard made a mistake. Its log has the details."
        return render(request, "error.html", 500, code=500, words=words)

    return {HTTPException: of_http, **dict.fromkeys(source.errors, of_database), Exception: of_program}

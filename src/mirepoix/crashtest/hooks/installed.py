"""Install the fault points of all imported libraries."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec

from mirepoix.crashtest.databases.database import Database
from mirepoix.crashtest.hooks import files, threading
from mirepoix.crashtest.http import Service

_HTTP = ("requests", "httpx", "urllib3", "aiohttp")
_AWS = ("botocore", "s3transfer")


@contextmanager
def installed(
    service: Service | None, folders: list[str], states: Mapping[str, Database], *, with_django: bool
) -> Iterator[None]:
    """Install the fault points of every library inside the block. *service*, if there is one, answers requests.

    The hooks report the places that are written to the *states* of their names (`mirepoix.crashtest.databases.found`).
    """
    with ExitStack() as stack:
        files.install(stack, folders)
        threading.install(stack)
        import_module("mirepoix.crashtest.hooks.celery").install(stack)
        for name in _HTTP:
            if find_spec(name) is not None:
                import_module(f"mirepoix.crashtest.hooks.{name}").install(stack, service)
        for name in _AWS:
            if find_spec(name) is not None:
                import_module(f"mirepoix.crashtest.hooks.{name}").install(stack)
        import_module("mirepoix.crashtest.hooks.smtplib").install(stack)
        if with_django:
            import_module("mirepoix.crashtest.hooks.django").install(stack)
        if "sqlalchemy" in sys.modules:
            import_module("mirepoix.crashtest.hooks.sqlalchemy").install(stack)
        for name, state in states.items():
            import_module(f"mirepoix.crashtest.hooks.{name}").install(stack, state)
        yield

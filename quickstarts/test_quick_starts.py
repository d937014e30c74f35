"""The quick starts (README, docs/start): each on nothing but what it names, and what it promises is so."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from quickstarts.page import sections
from quickstarts.reader import INSTALLING_S, Reader

README = sections("README.md")
DJANGO = sections("docs/start/django.md")
FASTAPI = sections("docs/start/fastapi.md")
FLASK = sections("docs/start/flask.md")

pytestmark = pytest.mark.timeout(INSTALLING_S)


def test_the_readme(reader: Callable[..., Reader]):
    one = reader()
    one.follow(README["Quick start"])
    one.program("worker").says("receipt for order 1")
    assert "1 succeeded" in one.types("mirepoix --app shop status")


def test_fastapi(reader: Callable[..., Reader], free_port: str):
    one = reader(**{"localhost:8000": f"localhost:{free_port}"})
    one.has(UVICORN_PORT=free_port)
    one.follow(FASTAPI["Five minutes with FastAPI"])
    one.program("worker").says("receipt for order 1")
    assert "1 succeeded" in one.types("mirepoix --app shop status")
    _a_duplicate_order_sends_no_receipt(one, free_port)


def test_flask(reader: Callable[..., Reader], free_port: str):
    one = reader(**{"--port 5000": f"--port {free_port}", "localhost:5000": f"localhost:{free_port}"})
    one.follow(FLASK["Five minutes with Flask"])
    one.program("worker").says("receipt for order 1")
    _a_duplicate_order_sends_no_receipt(one, free_port)


def _a_duplicate_order_sends_no_receipt(one: Reader, port: str) -> None:
    posted = "curl --silent --output /dev/null --write-out '%{http_code}' -X POST localhost:" + port + "/orders/"
    assert [one.types(posted + number) for number in ("1", "2")] == ["500", "200"]
    said = one.program("worker").says("receipt for order 2")
    assert said.count("receipt for order 1") == 1


def test_django(reader: Callable[..., Reader], django: tuple[str, str]):
    version, python = django
    one = reader(python)
    one.write("constraints.txt", f"django=={version}.*\n")
    one.types('export PIP_CONSTRAINT="$PWD/constraints.txt"')
    one.follow(DJANGO["Five minutes in Django"])
    one.program("worker").says("receipt for order 1")
    assert one.types("python -m django --version").startswith(version)
    assert "1 succeeded" in one.types("python manage.py mirepoix status")
    assert "no issues" in one.types("python manage.py check")
    # An error of Django's own is that a new project has no mail server.
    assert not re.search(r"mirepoix\.[EW]", one.types("python manage.py check --deploy --fail-level CRITICAL"))
    assert "1 task written to mirepoix.signatures.lock" in one.types("celery -A mysite mirepoix signatures lock")
    one.types("celery -A mysite mirepoix signatures check")
    one.starts("celery -A mysite beat --loglevel=info")

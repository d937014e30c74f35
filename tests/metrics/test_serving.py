"""The metrics over HTTP: WSGI, ASGI, the server of the command line, and who may read them."""

from __future__ import annotations

import asyncio
import http.client
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from celery import Celery
from click.testing import CliRunner
from scraped import samples, served
from workers import Process, until

import mirepoix
from driver import migrate_ledger
from mirepoix.cli.main import mirepoix as cli
from mirepoix.connect.url import source_for
from mirepoix.errors import ConfigurationError
from mirepoix.metrics import Exporter, exporter_of
from mirepoix.metrics.server import serve

TOKEN = "s3cret"


@pytest.fixture
def url(sqlite_url: str) -> str:
    """Serving does not depend on the database."""
    return sqlite_url


def by_wsgi(exporter: Exporter, authorization: str | None = None, method: str = "GET") -> tuple[str, bytes]:
    """The status line and the body; wsgiref checks the protocol."""
    environ: dict[str, Any] = {"QUERY_STRING": ""}
    setup_testing_defaults(environ)
    environ["REQUEST_METHOD"] = method
    if authorization is not None:
        environ["HTTP_AUTHORIZATION"] = authorization
    found: list[str] = []
    answer = validator(exporter.wsgi)(environ, lambda status, headers, *_: found.append(status))
    body = b"".join(answer)
    answer.close()
    return found[0], body


def by_asgi(exporter: Exporter, authorization: str | None = None, method: str = "GET") -> tuple[str, bytes]:
    """The same, through the other protocol."""
    sent: list[Any] = []

    async def ask() -> None:
        headers = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]

        async def send(message: Any) -> None:
            sent.append(message)

        await exporter.asgi({"type": "http", "method": method, "headers": headers}, asyncio.sleep, send)

    asyncio.run(ask())
    return str(sent[0]["status"]), sent[1]["body"]


@pytest.mark.parametrize("ask", [by_wsgi, by_asgi])
def test_both_protocols_answer_with_the_metrics(url: str, ask: Any):
    exporter = exporter_of(url)
    status, body = ask(exporter)
    assert status.startswith("200")
    assert samples(body.decode())
    assert ask(exporter, method="HEAD")[1] == b""
    assert ask(exporter, method="POST")[0].startswith("405")
    exporter.close()


@pytest.mark.parametrize("ask", [by_wsgi, by_asgi])
@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, "401"),
        ("", "401"),
        (TOKEN, "401"),
        (f"Basic {TOKEN}", "401"),
        ("Bearer ", "401"),
        ("Bearer ä", "401"),
        (f"Bearer {TOKEN}x", "401"),
        (f"Bearer {TOKEN}", "200"),
        (f"bearer {TOKEN}", "200"),
    ],
)
def test_with_a_token_only_who_sends_it_is_answered(url: str, ask: Any, given: str | None, status: str):
    exporter = exporter_of(url, token=TOKEN)
    found, body = ask(exporter, given)
    assert found.startswith(status)
    assert (b"mirepoix_" in body) is (status == "200")
    exporter.close()


def test_an_app_exports_its_own_ledger(url: str):
    app = Celery("exported", set_as_current=False)
    with pytest.raises(ConfigurationError, match="neither the URL of a ledger nor an app"):
        exporter_of(app)
    mirepoix.install(app, url, queue_objectives_s={"celery": 5})
    exporter = exporter_of(app)
    assert samples(exporter.text())
    exporter.close()


@pytest.mark.parametrize("options", [{"names": "other"}, {"token": ""}, {"token": "  "}])
def test_wrong_options_are_refused(url: str, options: dict[str, str]):
    with pytest.raises(ConfigurationError):
        exporter_of(url, **options)


def test_a_ledger_without_tables_is_no_answer_and_the_next_request_tries_again(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    exporter = Exporter(source_for(url))
    status, body = by_wsgi(exporter)
    assert status == "503 Service Unavailable"
    assert b"gave no answer" in body
    migrate_ledger(url)
    assert by_wsgi(exporter)[0] == "200 OK"
    exporter.close()


@pytest.fixture
def port(url: str) -> Iterator[int]:
    """A server on loopback, in a thread."""
    with served(exporter_of(url)) as port:
        yield port


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", 200),
        ("GET", "/metrics?x=1", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/../etc/passwd", 404),
        ("POST", "/metrics", 501),
    ],
)
def test_the_server_answers_for_one_path(port: int, method: str, path: str, status: int):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == status
    assert (b"mirepoix_workers" in body) is (status == 200 and method == "GET")
    if status == 200:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    connection.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_without_a_token_it_listens_on_loopback_only(url: str, host: str):
    exporter = exporter_of(url)
    with pytest.raises(ConfigurationError, match="open to everybody"):
        serve(exporter, host, 0, has_token=False)


def test_the_command_prints_the_metrics(url: str):
    ran = CliRunner().invoke(cli, ["--ledger", url, "metrics", "--names", "both"])
    assert ran.exit_code == 0, ran.output
    found = {name for name, _ in samples(ran.output)}
    assert {"mirepoix_workers", "mirepoix_scrape_seconds"} <= found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--serve", "9540"], "is no address"),
        (["--serve", "127.0.0.1:99999"], "is no address"),
        (["--serve", "0.0.0.0:0"], "open to everybody"),
        (["--serve", "127.0.0.1:0", "--token-file", "/nowhere"], "cannot be read"),
    ],
)
def test_wrong_words_are_refused(url: str, words: list[str], message: str):
    ran = CliRunner().invoke(cli, ["--ledger", url, "metrics", *words], env={"MIREPOIX_METRICS_TOKEN": None})
    assert ran.exit_code != 0
    assert message in ran.output


def test_the_command_serves_until_it_is_stopped(url: str, tmp_path: Path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    words = ("--ledger", url, "metrics", "--serve", "127.0.0.1:0", "--token-file", str(tmp_path / "token"))
    served = Process("metrics", [sys.executable, "-u", "-m", "mirepoix.cli", *words], tmp_path, {})
    try:
        served.says("/metrics.")
        port = int(served.said.partition("127.0.0.1:")[2].partition("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert samples(connection.getresponse().read().decode())
        connection.request("GET", "/metrics")
        assert connection.getresponse().read() == b"A bearer token is needed.\n"
        served.send(15).ends()
        assert served.exit_code == 0
        until(lambda: "Stopped." in served.said, "it says so")
    finally:
        served.remove()

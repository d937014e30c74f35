"""The tutorial from its first line to its last, on SQLite, then on PostgreSQL and MariaDB."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from quickstarts.page import sections
from quickstarts.reader import INSTALLING_S, Reader
from servers import DatabaseServer, PostgresServer, mariadb, require_postgres, run_mariadb

PAGE = sections("docs/tutorial.md")
FIRST, SEND, KILL, TRANSACTION, SERVERS = (one for title, one in PAGE.items() if re.match(r"\d\. ", title))

POSTGRESQL, MYSQL = (f"{scheme}://user:password@localhost/shop" for scheme in ("postgresql", "mysql"))

pytestmark = pytest.mark.timeout(INSTALLING_S)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    server = PostgresServer(require_postgres())
    yield from _started(server)


@pytest.fixture(scope="module")
def mysql() -> Iterator[str]:
    server = mariadb()
    for url in _started(server):
        run_mariadb(server, "CREATE DATABASE shop")
        yield url.replace("/mysql", "/shop")


def _started(server: DatabaseServer) -> Iterator[str]:
    try:
        server.start()
        yield server.url()
    finally:
        server.remove()


def test_the_tutorial(reader: Callable[..., Reader], postgresql: str, mysql: str):
    one = reader(**{POSTGRESQL: postgresql, MYSQL: mysql})
    one.follow(FIRST)
    first, second = SEND.blocks
    one.do(first)
    assert "pending" in one.said
    one.do(second)
    _kill_a_worker(one)
    _take_part_in_a_transaction(one)
    one.leave()
    _move_to_servers(one)


def _kill_a_worker(one: Reader) -> None:
    workers, kill, show = KILL.blocks
    one.do(workers)
    one.looks("mirepoix --app shop tasks", for_="running")
    id = re.search(r"^(\S+) .*running", one.said, re.MULTILINE)[1]
    killed, other = ("one@", "two@") if " one@" in one.types(f"mirepoix --app shop show {id}") else ("two@", "one@")
    one.instead |= {"hostname=one@": f"hostname={killed}", "show ID": f"show {id}"}  # "or two@"
    one.do(kill)
    one.program(f"hostname={other}").says("baked carrot")
    one.looks(f"mirepoix --app shop show {id}", for_="succeeded")
    one.do(show)
    assert re.search(r"^ +1  lost .*^ +2  succeeded ", one.said, re.MULTILINE | re.DOTALL), one.said
    del one.instead["hostname=one@"]


def _take_part_in_a_transaction(one: Reader) -> None:
    one.follow(TRANSACTION)
    asks = "import sqlite3; print(sqlite3.connect('shop.db').execute('SELECT {}').fetchall())"
    assert one.types(f'python -c "{asks.format("cake FROM orders")}"') == "[('cheese',)]\n"
    assert one.types(f'python -c "{asks.format("args FROM mirepoix_task_readable ORDER BY created_at")}"') == (
        "[('[\"carrot\"]',), ('[\"cheese\"]',)]\n"
    )


def _move_to_servers(one: Reader) -> None:
    change, migrate = SERVERS.blocks
    send, worker = SEND.blocks[0].commands[0].line, KILL.blocks[0].commands[0].line
    other = change.text.replace(POSTGRESQL, MYSQL)
    (package,) = re.findall(r"`('/path/to/mirepoix\[mysql\]')`", SERVERS.text)
    for line in (change.text, other):
        if line is other:
            one.types(f"pip install {package}")
        one.replace("shop.py", line)
        one.do(migrate)
        one.types(send)
        one.starts(worker)
    for program in one.running:
        program.says("baked carrot")

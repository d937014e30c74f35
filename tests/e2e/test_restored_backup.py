"""A backup that was made while workers ran is restored: what ended later runs again, and nothing is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from workers import Shop

from servers import require_postgres

pytestmark = pytest.mark.slow


def of_postgresql(url: str, folder: Path) -> str:
    """Dump it and load it as docs/operate/size-and-backup.md says. Return the URL of the new database."""
    server, _, name = url.rpartition("/")
    sql = folder / "dump.sql"
    programs = require_postgres()
    subprocess.run([programs / "pg_dump", "--file", sql, url], check=True)
    subprocess.run([programs / "psql", "--quiet", "--command", f"CREATE DATABASE {name}_restored", url], check=True)
    restored = f"{server}/{name}_restored"
    subprocess.run([programs / "psql", "--quiet", "--output", os.devnull, "--file", sql, restored], check=True)
    return restored


def of_mariadb(url: str, folder: Path) -> str:
    parts = urlsplit(url)
    name = parts.path.strip("/")
    login = ["--protocol=tcp", f"--host={parts.hostname}", f"--port={parts.port}", f"--user={parts.username}"]
    dump = subprocess.run(
        ["mariadb-dump", *login, "--single-transaction", name], check=True, capture_output=True
    ).stdout
    subprocess.run(["mariadb", *login, "--execute", f"CREATE DATABASE {name}_restored"], check=True)
    subprocess.run(["mariadb", *login, f"{name}_restored"], input=dump, check=True)
    return f"{url}_restored"


def of_sqlite(url: str, folder: Path) -> str:
    restored = folder / "restored.db"
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as source, closing(sqlite3.connect(restored)) as copy:
        source.backup(copy)
    return f"sqlite:///{restored}"


BACKUPS: dict[str, Callable[[str, Path], str]] = {
    "postgresql": of_postgresql,
    "mariadb": of_mariadb,
    "sqlite": of_sqlite,
}


@pytest.fixture
def shop(ledger_url: str, tmp_path: Path) -> Iterator[Shop]:
    with Shop(tmp_path / "shop", ledger_url) as shop:
        yield shop


def test_what_ended_after_the_backup_runs_again_and_nothing_else(shop: Shop, tmp_path: Path) -> None:
    worker = shop.worker(concurrency=1, lease_ttl_s=2)
    before = [shop.send("note") for _ in range(3)]
    shop.wait(before, "succeeded")
    held = shop.send("gate", "open")
    shop.begun(held)
    waiting = [shop.send("note") for _ in range(3)]
    (kind,) = (name for name in BACKUPS if shop.url.startswith(name.replace("mariadb", "mysql")))
    url = BACKUPS[kind](shop.url, tmp_path)
    shop.make("open")
    shop.wait([held, *waiting], "succeeded")
    lost = shop.send("note")
    shop.wait(lost, "succeeded")
    worker.stop()
    with Shop(tmp_path / "after", url) as restored:
        restored.make("open")
        states = restored.ledger.states()
        assert {id for id, state in states.items() if state == "succeeded"} == set(before)
        assert set(states) == {*before, held, *waiting}
        restored.worker(lease_ttl_s=2)
        restored.wait([held, *waiting], "succeeded")
        assert [restored.runs(id) for id in (*before, held, *waiting, lost)] == [0, 0, 0, 1, 1, 1, 1, 0]

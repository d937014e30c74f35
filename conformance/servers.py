"""The servers of one run: the suite's Redis, and the ledger's database unless one is given."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirepoix.connect.url import source_for
from mirepoix.ledger.migrate import migrate

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from servers import MariadbServer, PostgresServer, mariadb_program, postgres_binaries, run_mariadb


@contextmanager
def redis_server() -> Iterator[int]:
    """A Redis of our own that keeps nothing; its port on the loopback interface."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("Many tests of the suite need a Redis server. Run: sudo apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="mirepoix-redis-") as folder:
        port = _free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"]
        process = subprocess.Popen(
            [*_tied_to_us(), program, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for pytest
        )
        try:
            _wait_until_it_answers(port)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=15)


@contextmanager
def ledger(given: str | None) -> Iterator[str]:
    """The URL of a migrated ledger.

    *given* is a database URL, ``sqlite`` for a temporary file, or ``postgresql`` or ``mariadb`` for a server of our
    own; None: PostgreSQL's server if that is installed, else the file.
    """
    given = given or ("postgresql" if postgres_binaries() else "sqlite")
    if given == "sqlite":
        with tempfile.TemporaryDirectory(prefix="mirepoix-ledger-") as folder:
            yield _migrated(f"sqlite:///{folder}/ledger.db")
    elif given == "postgresql":
        binaries = postgres_binaries()
        if binaries is None:
            raise SystemExit("PostgreSQL's server programs are not installed. Run: sudo apt-get install postgresql")
        server = PostgresServer(binaries)
        try:
            server.start()
            yield _migrated(server.url())
        finally:
            server.remove()
    elif given == "mariadb":
        program = mariadb_program()
        if program is None:
            raise SystemExit("MariaDB's server programs are not installed. Run: sudo apt-get install mariadb-server")
        mariadb = MariadbServer(program)
        try:
            mariadb.start()
            run_mariadb(mariadb, "CREATE DATABASE ledger")
            yield _migrated(mariadb.url("ledger"))
        finally:
            mariadb.remove()
    else:
        scheme, separator, path = given.partition(":///")
        is_relative_file = scheme.startswith("sqlite") and separator and not path.startswith("/")
        # The suite runs in another folder.
        yield _migrated(f"{scheme}:///{Path(path).absolute()}" if is_relative_file else given)


def _migrated(url: str) -> str:
    source = source_for(url)
    connection = source.open()
    migrate(connection)
    connection.close()
    source.close()
    return url


def _tied_to_us() -> list[str]:
    """However this process ends, the server ends."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _wait_until_it_answers(port: int) -> None:
    import redis
    from redis.backoff import ConstantBackoff
    from redis.retry import Retry

    with redis.Redis(host="127.0.0.1", port=port, retry=Retry(ConstantBackoff(0.05), 400)) as client:
        client.ping()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

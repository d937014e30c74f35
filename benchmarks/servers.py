"""The benchmarks' own servers, on free loopback ports, with the durability that each comes with."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.machine import children, command_line, cpu_s, tree, tree_cpu_s

LEDGERS = ("postgresql", "mariadb", "sqlite")
NAMES = (*LEDGERS, "rabbitmq", "redis")
BROKER_MODE = ("postgresql-rabbitmq", "postgresql-redis", "mariadb-rabbitmq", "mariadb-redis")
"""A ledger with a broker in front of it."""

LEDGER_QUEUE = "celery-ledger"
"""The queue of what goes by a broker that stands in front of a ledger."""


@dataclass(frozen=True)
class Place:
    """Where servers are started."""

    folder: Path
    address: str | None = None
    """On which they answer besides the loopback interface (databases only)."""
    environment: dict[str, str] | None = None
    """What databases have in their environment besides ours."""


class Daemon:
    """A server's process, which a benchmark may kill and start again at the same place."""

    def __init__(
        self,
        command: list,
        works: Callable[[], object],
        environment: dict | None = None,
        stop: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._command = [str(word) for word in command]
        self._works = works
        self._environment = environment
        self._stop = stop
        self._process: subprocess.Popen | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> int:
        """Start it; return its pid when it answers."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            cwd="/",
            start_new_session=True,
        )
        _until(self._works, Exception)
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL to all of it."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """To the process and all below it, which may be in sessions of their own."""
        for pid in tree(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """As an operator stops it; killed if it does not obey."""
        if self.is_running:
            self._process.send_signal(self._stop)
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass
class Server:
    """A system under test: where its tasks go, and the process whose CPU time is its own (None: there is none)."""

    name: str
    url: str
    pid: int | None = None
    version: str = ""
    broker: Server | None = None
    """What stands in front of the ledger, if anything."""
    daemon: Daemon | None = None
    """How to kill it and start it again, if that was thought of."""

    @property
    def kind(self) -> str:
        """What the URL leads to."""
        return self.name.partition("-")[0]

    def pool_beside(self, pool: str) -> str:
        """The pool of a worker on this system beside workers in *pool*. Stock Celery has no ``mirepoix``."""
        return "prefork" if pool == "mirepoix" and not self.is_ledger else pool

    @property
    def is_ledger(self) -> bool:
        return self.kind in LEDGERS

    @property
    def label(self) -> str:
        return f"mirepoix on {self.name}" if self.is_ledger else f"celery on {self.name}"

    @property
    def environment(self) -> dict[str, str]:
        """What tells a worker or a client of this system."""
        return {"BENCHMARK_URL": self.url, "BENCHMARK_BROKER": self.broker.url if self.broker else ""}

    def another(self, name: str) -> Server:
        """A second ledger on the same server: a database, or a file."""
        if self.kind != "sqlite":
            self.execute(f"CREATE DATABASE {name}")
            return replace(self, url=self.url.rpartition("/")[0] + f"/{name}")
        folder = Path(self.url.removeprefix("sqlite:///")).with_name(name)
        folder.mkdir()
        return replace(self, url=f"sqlite:///{folder}/ledger.db")

    def cpu_s(self) -> float:
        own = 0.0 if self.pid is None else tree_cpu_s(self.pid)
        return own + (self.broker.cpu_s() if self.broker else 0.0)

    def sessions_cpu_s(self) -> float:
        """Of that, PostgreSQL's work in the sessions that are open; vacuum, checkpoints and ended sessions left out."""
        if self.kind != "postgresql":
            return self.cpu_s()
        broker = self.broker.cpu_s() if self.broker else 0.0
        return broker + sum(cpu_s(pid) for pid in children(self.pid) if b"127.0.0.1(" in command_line(pid))

    def reset(self) -> None:
        """Empty it: no task, no result, no history."""
        if self.broker is not None:
            self.broker.reset()
        if self.kind in ("postgresql", "mariadb"):
            from mirepoix.connect.url import source_for
            from mirepoix.ledger.migrate import migrate

            if self.kind == "postgresql":
                self.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "CHECKPOINT")
            else:
                name = self.url.rpartition("/")[2]
                self.execute(f"DROP DATABASE {name}", f"CREATE DATABASE {name}")
            connection = source_for(self.url).open()
            migrate(connection)
            connection.close()
        elif self.kind == "sqlite":
            for path in Path(self.url.removeprefix("sqlite:///")).parent.glob("ledger.db*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif self.name == "redis":
            import redis

            redis.Redis.from_url(self.url).flushall()
        else:
            import kombu

            for queue in ("celery", LEDGER_QUEUE):
                with kombu.Connection(self.url) as connection, contextlib.suppress(Exception):
                    connection.channel().queue_purge(queue)

    def execute(self, *statements: str, rows: bool = False) -> list[tuple]:
        """Run SQL on the ledger, each statement committed by itself; the last one's rows."""
        if self.kind == "sqlite":
            import sqlite3

            connection = sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=30, isolation_level=None)
        elif self.kind == "mariadb":
            from mirepoix.connect.url import source_for

            connection = source_for(self.url).open().raw
        else:
            import psycopg

            connection = psycopg.connect(self.url, autocommit=True)
        try:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if rows else []
        finally:
            connection.close()


@contextmanager
def servers(*names: str, place: Place | None = None) -> Iterator[list[Server]]:
    """Start those servers; end them, and delete what they wrote, when the block is left.

    In a *place* of the caller's what they wrote is left there.
    """
    # Whoever ends a benchmark ends its servers and workers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        if place is None:
            place = Place(Path(tempfile.mkdtemp(prefix="mirepoix-benchmark-")))
            stack.callback(shutil.rmtree, place.folder, ignore_errors=True)
        place.folder.chmod(0o755)
        started: dict[str, Server] = {}
        for part in dict.fromkeys(part for name in names or NAMES for part in name.split("-")):
            started[part] = stack.enter_context(_START[part](place))
        yield [started[name] if name in started else _behind(name, started) for name in names or NAMES]


def _behind(name: str, started: dict[str, Server]) -> Server:
    """A ledger of its own with a broker in front, whose other tasks are in another queue."""
    ledger, broker = name.split("-")
    own = started[ledger].another(f"behind_{broker}")
    version = f"{ledger} {own.version} behind {broker} {started[broker].version}"
    return replace(own, name=name, broker=started[broker], version=version)


@contextmanager
def _postgresql(place: Place) -> Iterator[Server]:
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    data, port = place.folder / "postgresql", free_port()
    data.mkdir(mode=0o700)
    as_user = []
    if os.geteuid() == 0:  # the server refuses to run as root
        user = pwd.getpwnam("postgres")
        os.chown(data, user.pw_uid, user.pw_gid)
        as_user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]
    subprocess.run(
        [*as_user, binaries / "initdb", "-D", data, "-U", "mirepoix", "-A", "trust", "-E", "UTF8", "--locale", "C"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    addresses = ["127.0.0.1"]
    if place.address:
        addresses.append(place.address)
        with (data / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {place.address}/24 trust\n")
    options = [
        "-c",
        f"listen_addresses={','.join(addresses)}",
        "-c",
        f"unix_socket_directories={data}",
        "-c",
        "log_min_messages=fatal",
        "-c",
        "max_connections=400",
    ]
    options += ["-c", "shared_preload_libraries=pg_stat_statements"] if os.environ.get("BENCHMARK_STATEMENTS") else []
    import psycopg

    url = f"postgresql://mirepoix@127.0.0.1:{port}/postgres"
    command = [*as_user, binaries / "postgres", "-D", data, "-p", str(port), *options]
    environment = os.environ | (place.environment or {})
    daemon = Daemon(command, lambda: psycopg.connect(url).close(), environment, signal.SIGINT)
    try:
        server = Server("postgresql", url, daemon.start(), daemon=daemon)
        server.version = server.execute("SHOW server_version", rows=True)[0][0].split()[0]
        fsync = server.execute("SHOW fsync", rows=True)[0][0]
        commit = server.execute("SHOW synchronous_commit", rows=True)[0][0]
        server.version += f" (fsync {fsync}, synchronous_commit {commit})"
        yield server
    finally:
        daemon.stop()


@contextmanager
def _mariadb(place: Place) -> Iterator[Server]:
    folder = place.folder
    data, port = folder / "mariadb", free_port()
    as_user, user = [], []
    if os.geteuid() == 0:  # the server refuses to run as root
        mysql = pwd.getpwnam("mysql")
        os.chown(folder, mysql.pw_uid, mysql.pw_gid)
        as_user, user = ["setpriv", "--reuid", "mysql", "--regid", "mysql", "--clear-groups", "--"], ["--user=mysql"]
    quietly = ["--no-defaults", f"--datadir={data}"]
    # In /tmp the next MariaDB that starts on this machine would delete what this one has there.
    (folder / "tmp").mkdir(mode=0o777)
    (folder / "tmp").chmod(0o777)
    quietly.append(f"--tmpdir={folder}/tmp")
    install = ["mariadb-install-db", *quietly, *user, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(install, check=True, capture_output=True, cwd="/")
    import pymysql

    addresses = "127.0.0.1" + (f",{place.address}" if place.address else "")
    where = [f"--port={port}", f"--bind-address={addresses}", f"--socket={folder}/mariadb.sock"]
    command = [*as_user, shutil.which("mariadbd") or "/usr/sbin/mariadbd", *quietly, *where]
    daemon = Daemon(
        [*command, f"--pid-file={folder}/mariadb.pid"],
        lambda: pymysql.connect(host="127.0.0.1", port=port, user="root").close(),
        os.environ | (place.environment or {}),
    )
    try:
        pid = daemon.start()
        with pymysql.connect(host="127.0.0.1", port=port, user="root") as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE DATABASE benchmark")
            cursor.execute("SELECT version(), @@innodb_flush_log_at_trx_commit")
            version, flush = cursor.fetchall()[0]
        version = f"{version.partition('-')[0]} (innodb_flush_log_at_trx_commit {flush})"
        yield Server("mariadb", f"mysql://root@127.0.0.1:{port}/benchmark", pid, version, daemon=daemon)
    finally:
        daemon.stop()


@contextmanager
def _sqlite(place: Place) -> Iterator[Server]:
    import sqlite3

    (place.folder / "sqlite").mkdir()
    version = f"{sqlite3.sqlite_version} (WAL, synchronous FULL)"
    yield Server("sqlite", f"sqlite:///{place.folder}/sqlite/ledger.db", None, version)


@contextmanager
def _redis(place: Place) -> Iterator[Server]:
    import redis

    port = free_port()
    where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(place.folder)]
    command = ["redis-server", *where, "--appendonly", "yes"]
    url = f"redis://127.0.0.1:{port}/0"
    daemon = Daemon([*command, "--loglevel", "warning"], lambda: redis.Redis.from_url(url).ping())
    try:
        pid = daemon.start()
        version = redis.Redis.from_url(url).info()["redis_version"]
        yield Server("redis", url, pid, f"{version} (AOF everysec)", daemon=daemon)
    finally:
        daemon.kill()


@contextmanager
def _rabbitmq(place: Place) -> Iterator[Server]:
    import kombu

    home = place.folder / "rabbitmq"
    home.mkdir()
    port, epmd, dist = free_port(), free_port(), free_port()
    environment = os.environ | {
        "HOME": str(home),
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"benchmark{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(dist),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_CONFIG_FILE": str(home / "none"),
    }
    (home / "plugins").write_text("[].")
    if "BENCHMARK_CONSUMER_TIMEOUT_MS" in os.environ:
        (home / "none.conf").write_text(f"consumer_timeout = {os.environ['BENCHMARK_CONSUMER_TIMEOUT_MS']}\n")
    binary = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    url = f"amqp://guest:guest@127.0.0.1:{port}//"

    def properties() -> dict:
        with kombu.Connection(url, connect_timeout=2) as connection:
            connection.connect()
            return connection.connection.server_properties

    daemon = Daemon([binary], properties, environment)
    with _process(["epmd", "-port", str(epmd), "-address", "127.0.0.1"], environment=environment):
        try:
            pid = daemon.start()
            yield Server("rabbitmq", url, pid, str(properties()["version"]), daemon=daemon)
        finally:
            daemon.kill()


_START = {"postgresql": _postgresql, "mariadb": _mariadb, "sqlite": _sqlite, "redis": _redis, "rabbitmq": _rabbitmq}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _process(command: list, end: signal.Signals = signal.SIGTERM, environment: dict | None = None) -> Iterator:
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd="/",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(end)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _until(works, error, timeout_s: float = 60.0) -> None:
    until = time.monotonic() + timeout_s
    while True:
        try:
            works()
        except error:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return

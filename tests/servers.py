"""PostgreSQL and MariaDB servers of the tests' own, on private ports, that a test may kill."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logs import Log
from missing import missing
from pace import pace

INSTALL = "sudo apt-get install postgresql"
INSTALL_MARIADB = "sudo apt-get install mariadb-server"


class DatabaseServer:
    """One data directory and, while it runs, one server on it. The port stays the same over restarts.

    A commit reaches the operating system before it is answered, so that SIGKILL loses nothing; only a power cut would.
    """

    name = ""
    prefix = ""
    user = ""
    """Who runs it, where the tests are root's."""
    ends_by = signal.SIGTERM
    dies_by = "KILL"
    """What it gets when the tests' process dies."""
    is_ready_when = ""
    """What it says then."""

    def __init__(self, folders: tuple[str, ...]) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix=self.prefix, dir=_quick_folder()))
        self.folder.chmod(0o755)
        self._data = self.folder / "data"
        self._log = self.folder / "log"
        self._shown = Log(self.name, self._log)
        made = [self.folder / name for name in folders]
        for folder in made:
            folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            owner = pwd.getpwnam(self.user)
            for folder in (self.folder, *made):
                os.chown(folder, owner.pw_uid, owner.pw_gid)
        self.port = _free_port()
        subprocess.run(self._initialising(), check=True, capture_output=True, cwd=self.folder)

    @property
    def is_running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server, unless it runs, and return when it accepts connections."""
        if self.is_running:
            return
        self._process = subprocess.Popen(
            [*_as_unprivileged("--pdeathsig", self.dies_by, user=self.user), *self._serving()],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=self.folder,
            start_new_session=True,  # Ctrl-C in the terminal is for pytest
        )
        is_ready = threading.Event()
        # Every server process holds the pipe: its end says that the last of them is gone.
        self._reader = threading.Thread(target=self._read, args=(self._process, is_ready), daemon=True)
        self._reader.start()
        if not is_ready.wait(timeout=60 * pace()) or not self.is_running:
            raise RuntimeError(f"{self.name} did not start:\n" + self._log.read_text())

    def stop(self) -> None:
        """End the server in order; open sessions are cut."""
        self._end(self.ends_by)

    def kill(self) -> None:
        """SIGKILL to every process of the server, as when its host loses power but not its disk."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop in order, then start."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """End it, and delete the data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _initialising(self) -> list[str]:
        raise NotImplementedError

    def _serving(self) -> list[str]:
        raise NotImplementedError

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            children = _children(self._process.pid)
            self._process.send_signal(number)
            if number == signal.SIGKILL:
                for pid in children:
                    _send(pid, number)
        self._process.wait(timeout=60 * pace())
        self._reader.join(timeout=60 * pace())
        self._process = None

    def _read(self, process: subprocess.Popen[str], is_ready: threading.Event) -> None:
        with process.stderr as lines, self._log.open("a") as log:
            for line in lines:
                log.write(line)
                log.flush()
                if self.is_ready_when in line:
                    is_ready.set()
        is_ready.set()


class PostgresServer(DatabaseServer):
    """PostgreSQL, with fsync off. Its time zone is deliberately not UTC."""

    name, prefix, user = "PostgreSQL", "mirepoix-pg-", "postgres"
    ends_by = signal.SIGINT
    dies_by = "INT"
    is_ready_when = "ready to accept connections"

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._master: Any = None
        super().__init__(("data",))

    def url(self, database: str = "postgres") -> str:
        """Where *database* of this server is."""
        return f"postgresql://mirepoix@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """A connection of the server's master, that commits each statement."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            yield connection

    def run(self, sql: str) -> None:
        """Run one statement as the server's master, in a session that stays while the server runs."""
        self._session().execute(sql)

    def copy_of(self, database: str) -> str:
        """The options of CREATE DATABASE for a copy: of the files, which is quicker than by the log.

        The copy has the caches that the first session of a database makes.
        """
        has_choice = self._session().info.server_version >= 150_000
        return f" TEMPLATE {database}{' STRATEGY FILE_COPY' if has_choice else ''}"

    def _session(self) -> Any:
        import psycopg

        try:
            if self._master is not None:
                self._master.execute("SELECT 1")
        except psycopg.Error:  # a test has ended it, or the server
            self._master = None
        if self._master is None:
            self._master = psycopg.connect(self.url(), autocommit=True)
        return self._master

    def _end(self, number: int) -> None:
        if self._master is not None:
            self._master.close()
            self._master = None
        super()._end(number)

    def _initialising(self) -> list[str]:
        return [
            *_as_unprivileged(),
            str(self._binaries / "initdb"),
            *("--pgdata", str(self._data), "--username", "mirepoix", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
        ]

    def _serving(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "100",
            "lc_messages": "C",
            "timezone": "Asia/Kathmandu",
            "log_min_messages": "warning",
            "log_min_error_statement": "panic",
        }
        return [
            str(self._binaries / "postgres"),
            *("-D", str(self._data), "-p", str(self.port)),
            *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
        ]


class MariadbServer(DatabaseServer):
    """MariaDB. Its time zone, character set and isolation are deliberately none of those the ledger needs."""

    name, prefix, user = "MariaDB", "mirepoix-my-", "mysql"
    is_ready_when = "ready for connections"

    def __init__(self, program: Path) -> None:
        self._program = program
        super().__init__(("tmp",))

    def url(self, database: str = "mysql") -> str:
        """Where *database* of this server is."""
        return f"mysql://root@127.0.0.1:{self.port}/{database}"

    def remove(self) -> None:
        """Kill it, which is quicker, and delete the data."""
        self.kill()
        super().remove()

    @property
    def _temporary(self) -> Path:
        """In /tmp the next MariaDB that starts on this machine would delete what this one has there."""
        return self.folder / "tmp"

    def _initialising(self) -> list[str]:
        return [
            "mariadb-install-db",
            *("--no-defaults", f"--datadir={self._data}", f"--tmpdir={self._temporary}"),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
            *("--skip-name-resolve", *(["--user=mysql"] if os.geteuid() == 0 else [])),
        ]

    def _serving(self) -> list[str]:
        return [
            *(str(self._program), "--no-defaults", "--skip-name-resolve"),
            *(f"--{name}={value}" for name, value in self._options().items()),
        ]

    def _options(self) -> dict[str, object]:
        return {
            "datadir": self._data,
            "tmpdir": self._temporary,
            "bind-address": "127.0.0.1",
            "port": self.port,
            "socket": self.folder / "server.sock",
            "pid-file": self.folder / "server.pid",
            "innodb-flush-log-at-trx-commit": 2,
            "innodb-flush-method": "fsync",
            "innodb-doublewrite": 0,
            "innodb-buffer-pool-size": "64M",
            "innodb-log-file-size": "32M",
            "max-connections": 200,
            "default-time-zone": "+05:45",
            "character-set-server": "latin1",
        }


class MysqlServer(MariadbServer):
    """MySQL in MariaDB's place."""

    name = "MySQL"

    def __init__(self, program: Path) -> None:
        super().__init__(program)
        statements = (
            "CREATE USER IF NOT EXISTS root@'127.0.0.1'",
            "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION",
        )
        self._master.write_text("".join(f"{statement};\n" for statement in statements))
        self._master.chmod(0o644)

    @property
    def _master(self) -> Path:
        """What it runs at each start: the master that it makes may come through a socket only."""
        return self.folder / "master.sql"

    def _initialising(self) -> list[str]:
        return [
            *_as_unprivileged(user=self.user),
            *(str(self._program), "--no-defaults", "--initialize-insecure"),
            *(f"--datadir={self._data}", f"--tmpdir={self._temporary}"),
        ]

    def _options(self) -> dict[str, object]:
        options = super()._options()
        return {
            **{name: value for name, value in options.items() if name != "innodb-log-file-size"},
            "innodb-redo-log-capacity": "64M",
            "init-file": self._master,
            "mysqlx": "OFF",  # a second server, whose being ready says nothing
            "disable-log-bin": "ON",
            "secure-file-priv": "NULL",
        }


@dataclass(frozen=True, slots=True)
class Served:
    """A ledger on a server that the test may kill."""

    server: DatabaseServer
    url: str


def run_mariadb(server: MariadbServer, sql: str) -> None:
    """Run one statement as the server's master."""
    with connected(server, "mysql") as cursor:
        cursor.execute(sql)


class MariadbTemplate:
    """A database to make copies of, with its rows. MariaDB has no ``CREATE DATABASE … TEMPLATE``."""

    def __init__(self, server: MariadbServer, database: str) -> None:
        self._server = server
        with connected(server, database) as cursor:
            cursor.execute("SHOW FULL TABLES")
            kinds = dict(cursor.fetchall())
            names = sorted(kinds, key=lambda name: kinds[name] == "VIEW")  # tables first
            definitions = [self._definition(cursor, name, database) for name in names]
            filled = [
                name for name in names if kinds[name] != "VIEW" and cursor.execute(f"SELECT 1 FROM `{name}` LIMIT 1")
            ]
        copies = [f"INSERT INTO `{name}` SELECT * FROM `{database}`.`{name}`" for name in filled]
        self._sql = ";".join(["SET foreign_key_checks = 0", *definitions, *copies])

    def copy(self, name: str) -> str:
        """Make a database of that name; its URL."""
        with connected(self._server, "mysql") as cursor:
            cursor.execute(f"CREATE DATABASE {name}; USE {name}; {self._sql}")
            while cursor.nextset():
                pass
        return self._server.url(name)

    @staticmethod
    def _definition(cursor: Any, name: str, database: str) -> str:
        cursor.execute(f"SHOW CREATE TABLE `{name}`")
        return str(cursor.fetchone()[1]).replace(f"`{database}`.", "")


@contextmanager
def connected(server: MariadbServer, database: str) -> Iterator[Any]:
    """A cursor of the server's master."""
    import pymysql

    with pymysql.connect(
        host="127.0.0.1",
        port=server.port,
        user="root",
        database=database,
        autocommit=True,
        client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
        ssl_disabled=True,  # which would read all certificates of the machine, each time
    ) as connection:
        yield connection.cursor()


def end_sessions(server: MariadbServer, database: str) -> None:
    """Close the connections of those who still use *database*."""
    import pymysql

    with connected(server, "mysql") as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", [database])
        for (id,) in cursor.fetchall():
            with suppress(pymysql.OperationalError):  # it is gone
                cursor.execute("KILL %s", [id])


def _quick_folder() -> str | None:
    """A file system in memory, where there is one with room: each test makes a database and drops it."""
    memory = Path("/dev/shm")
    is_roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 * 1024**3
    return str(memory) if is_roomy else None


def postgres_binaries() -> Path | None:
    """The newest PostgreSQL that Debian's packages installed, or the one on the PATH."""
    found = [p for p in Path("/usr/lib/postgresql").glob("*/bin") if (p / "initdb").exists()]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def require_postgres() -> Path:
    """The server's programs. Missing: skip at home, fail in CI."""
    binaries = postgres_binaries()
    if binaries is None:
        missing(f"PostgreSQL's server programs are not installed. Run: {INSTALL}")
    return binaries


def mariadb_program() -> Path | None:
    """MariaDB's server, if what makes its data directory is there too."""
    found = [Path(path) for path in (shutil.which("mariadbd"), "/usr/sbin/mariadbd") if path and Path(path).exists()]
    return found[0] if found and shutil.which("mariadb-install-db") else None


def mariadb() -> MariadbServer:
    """A MariaDB; if MYSQLD names the program of a MySQL, that. Missing: skip at home, fail in CI."""
    program = os.environ.get("MYSQLD")
    return MysqlServer(Path(program)) if program else MariadbServer(_require_mariadb())


def _require_mariadb() -> Path:
    program = mariadb_program()
    if program is None:
        missing(f"MariaDB's server programs are not installed. Run: {INSTALL_MARIADB}")
    return program


def _as_unprivileged(*options: str, user: str = "postgres") -> list[str]:
    if os.geteuid() == 0:
        # The servers refuse to run as root.
        return ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", *options, "--"]
    return ["setpriv", *options, "--"] if options and shutil.which("setpriv") else []


def _free_port() -> int:
    """A port that nobody listens on, below those that the system lends to clients: it is still free after a restart."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []  # they end by themselves when the postmaster is gone


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return

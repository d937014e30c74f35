"""A PostgreSQL server of the tests' own, on a private port, that a test may kill."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

INSTALL = "sudo apt-get install postgresql"


class PostgresServer:
    """One data directory and, while it runs, one server on it. The port stays the same over restarts.

    A commit reaches the operating system before it is answered, so that SIGKILL loses nothing; only a power cut
    would (fsync is off). The server's time zone is deliberately not UTC.
    """

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._process: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self.folder = Path(tempfile.mkdtemp(prefix="mirepoix-pg-", dir=_quick_folder()))
        self.folder.chmod(0o755)
        self._data = self.folder / "data"
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            postgres = pwd.getpwnam("postgres")
            for path in (self.folder, self._data):
                os.chown(path, postgres.pw_uid, postgres.pw_gid)
        self.port = _free_port()
        subprocess.run(
            [
                *_as_unprivileged(),
                str(binaries / "initdb"),
                *("--pgdata", str(self._data), "--username", "mirepoix", "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
        )

    def url(self, database: str = "postgres") -> str:
        """Where *database* of this server is."""
        return f"postgresql://mirepoix@127.0.0.1:{self.port}/{database}"

    @property
    def is_running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server, unless it runs, and return when it accepts connections."""
        if self.is_running:
            return
        self._log = []
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
        self._process = subprocess.Popen(
            [
                *_as_unprivileged("--pdeathsig", "INT"),
                str(self._binaries / "postgres"),
                *("-D", str(self._data), "-p", str(self.port)),
                *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            start_new_session=True,  # Ctrl-C in the terminal is for pytest
        )
        is_ready = threading.Event()
        # Every server process holds the pipe: its end says that the last of them is gone.
        self._reader = threading.Thread(target=self._read, args=(self._process, is_ready), daemon=True)
        self._reader.start()
        if not is_ready.wait(timeout=60) or not self.is_running:
            raise RuntimeError("PostgreSQL did not start:\n" + "".join(self._log))

    def stop(self) -> None:
        """End the server in order; open sessions are cut."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to every process of the server, as when its host loses power but not its disk."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop in order, then start."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop, and delete the data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            children = _children(self._process.pid)
            self._process.send_signal(number)
            if number == signal.SIGKILL:
                for pid in children:
                    _send(pid, number)
        self._process.wait(timeout=60)
        self._reader.join(timeout=60)
        self._process = None

    def _read(self, process: subprocess.Popen[str], is_ready: threading.Event) -> None:
        with process.stderr as lines:
            for line in lines:
                self._log.append(line)
                if "ready to accept connections" in line:
                    is_ready.set()
        is_ready.set()


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
        message = f"PostgreSQL's server programs are not installed. Run: {INSTALL}"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return binaries


def _as_unprivileged(*options: str) -> list[str]:
    if os.geteuid() == 0:
        # The server refuses to run as root.
        return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", *options, "--"]
    return ["setpriv", *options, "--"] if options and shutil.which("setpriv") else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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

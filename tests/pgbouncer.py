"""pgbouncer in front of a PostgreSQL server of the tests' own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from logs import Log
from missing import missing
from pace import until
from servers import _as_unprivileged, _free_port

INSTALL = "sudo apt-get install pgbouncer"


def _program() -> str:
    found = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if found is None:
        missing(f"pgbouncer is not installed. Run: {INSTALL}")
    return found


class Pgbouncer:
    """Leads from a port of its own to a server, by sessions that it shares out.

    *round_robin*: of the sessions that are free it gives the one that has been free longest, not shortest.
    """

    def __init__(self, url: str, pool_mode: str = "transaction", *, size: int = 2, round_robin: bool = False) -> None:
        parts = urlsplit(url)
        self._program = _program()
        self._folder = Path(tempfile.mkdtemp(prefix="mirepoix-pgbouncer-"))
        self._folder.chmod(0o755)
        self._port = _free_port()
        self.url = urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{self._port}"))
        options = {
            "listen_addr": "127.0.0.1",
            "listen_port": self._port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": pool_mode,
            "default_pool_size": size,
            "server_round_robin": int(round_robin),
            "max_client_conn": 200,
        }
        (self._folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={parts.port} user={parts.username}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in options.items())
        )

    def __enter__(self) -> Self:
        log = self._folder / "log"
        log.touch()
        self._shown = Log("pgbouncer", log)
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [
                    *_as_unprivileged("--pdeathsig", "KILL"),
                    *(self._program, "-q", str(self._folder / "pgbouncer.ini")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        until(self._answers, "pgbouncer listens")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError("pgbouncer ended:\n" + (self._folder / "log").read_text())
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self._port)) == 0

"""The file by which a worker shows on its own host that its threads are at work. A probe of it needs no database.

The heartbeat thread writes it about once a second, also while the ledger is away. Its times are of the monotonic
clock, which all processes of a host share, so setting the wall clock changes nothing. The file is deleted when the
worker stops, and stays if the worker is killed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from mirepoix.daemons import process

logger = logging.getLogger("mirepoix.maintenance")

FOLDER = "MIREPOIX_PROBES"
"""The environment variable that names the folder of these files."""

SHORTEST_GOOD_FOR_S = 30.0
"""A worker with a younger file counts as alive."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The contents of a worker's file. ``maintenance_s`` is the age of its round of maintenance."""

    at: float
    good_for_s: float
    pid: int
    process: str | None
    maintenance_s: float = 0.0
    ledger_away_s: float | None = None

    @property
    def age_s(self) -> float:
        """The age of the file's contents."""
        return max(0.0, time.monotonic() - self.at)

    @property
    def is_gone(self) -> bool:
        """Whether the worker's process has ended."""
        return process.is_gone(self.process) is True

    @property
    def is_alive(self) -> bool:
        """Whether the worker's process exists and its thread wrote the file in time."""
        return not self.is_gone and self.age_s <= self.good_for_s


def folder() -> Path:
    """Return the folder in which workers of this user write their files."""
    named = os.environ.get(FOLDER)
    return Path(named) if named else Path(tempfile.gettempdir()) / f"mirepoix-{os.geteuid()}"


def path_of(name: str) -> Path:
    """Return the path of the file of the worker with that name."""
    return folder() / f"{quote(name, safe='@')[:200]}.alive"


def names() -> list[str]:
    """Return the names of the workers of this user with a file on this host, sorted."""
    return sorted(unquote(path.name.removesuffix(".alive")) for path in folder().glob("*.alive"))


def last_beat(name: str) -> Beat | None:
    """Read the file of the worker with that name; None if there is none. Raises OSError or ValueError."""
    try:
        fields = json.loads(path_of(name).read_text())
    except FileNotFoundError:
        return None
    try:
        return Beat(**fields)
    except TypeError as error:
        raise ValueError(str(error)) from error


class Probe:
    """Write the file of one worker. If that fails, log it once and write no more."""

    def __init__(self, name: str, bound_s: float) -> None:
        self._path = path_of(name)
        self._good_for_s = max(SHORTEST_GOOD_FOR_S, 5 * bound_s)
        self._is_given_up = False

    def beat(self, maintenance_s: float, ledger_away_s: float | None) -> None:
        """Write that the worker's thread is at work."""
        if self._is_given_up:
            return
        beat = Beat(
            time.monotonic(), self._good_for_s, os.getpid(), process.own(), round(maintenance_s, 3), ledger_away_s
        )
        try:
            self._write(json.dumps(asdict(beat)))
        except OSError as error:
            self._is_given_up = True
            logger.warning(
                "mirepoix health --worker cannot work on this host, because %s cannot be written (%s); set %s to "
                "another folder",
                self._path,
                error,
                FOLDER,
            )

    def _write(self, text: str) -> None:
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid() and FOLDER not in os.environ:
            raise PermissionError(f"{folder} belongs to another user")
        # It is renamed into place, so that nobody reads half of it.
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        new.write_text(text)
        new.replace(self._path)

    def remove(self) -> None:
        """Delete the file, because the worker stops."""
        with contextlib.suppress(OSError, ValueError):
            if json.loads(self._path.read_text()).get("pid") == os.getpid():  # and not the file of a newer worker
                self._path.unlink()

"""The file by which a worker says on its own host that its threads come round: a probe of it asks no database.

The heartbeat's thread writes it about once a second, also while the ledger is away. Times in it are of the monotonic
clock, which all processes of a host share, so that a clock that is set proves nothing. It is deleted when the worker
stops, and stays when the worker is killed.
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
from urllib.parse import quote

from mirepoix.daemons import process

logger = logging.getLogger("mirepoix.maintenance")

FOLDER = "MIREPOIX_PROBES"
"""The environment variable that names the folder of these files."""

SHORTEST_GOOD_FOR_S = 30.0
"""A file that is younger says that its worker lives."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a worker said last. ``maintenance_s`` is the age of its round of maintenance."""

    at: float
    good_for_s: float
    pid: int
    process: str | None
    maintenance_s: float = 0.0
    ledger_away_s: float | None = None

    @property
    def age_s(self) -> float:
        """How long ago it said so."""
        return max(0.0, time.monotonic() - self.at)

    @property
    def is_gone(self) -> bool:
        """Whether its process has ended."""
        return process.is_gone(self.process) is True

    @property
    def is_alive(self) -> bool:
        """Whether its process is there and its thread came round in time."""
        return not self.is_gone and self.age_s <= self.good_for_s


def folder() -> Path:
    """Where workers of this user write their files."""
    named = os.environ.get(FOLDER)
    return Path(named) if named else Path(tempfile.gettempdir()) / f"mirepoix-{os.geteuid()}"


def path_of(name: str) -> Path:
    """The file of the worker of that name."""
    return folder() / f"{quote(name, safe='@')[:200]}.alive"


def last_beat(name: str) -> Beat | None:
    """What the worker of that name said last; None if there is no such file. Raises OSError or ValueError."""
    try:
        said = json.loads(path_of(name).read_text())
    except FileNotFoundError:
        return None
    try:
        return Beat(**said)
    except TypeError as error:
        raise ValueError(str(error)) from error


class Probe:
    """Writes the file of one worker. A folder that cannot be written is told once, and then left alone."""

    def __init__(self, name: str, bound_s: float) -> None:
        self._path = path_of(name)
        self._good_for_s = max(SHORTEST_GOOD_FOR_S, 5 * bound_s)
        self._is_given_up = False

    def beat(self, maintenance_s: float, ledger_away_s: float | None) -> None:
        """Say that the worker's thread came round."""
        if self._is_given_up:
            return
        said = Beat(
            time.monotonic(), self._good_for_s, os.getpid(), process.own(), round(maintenance_s, 3), ledger_away_s
        )
        try:
            self._write(json.dumps(asdict(said)))
        except OSError as error:
            self._is_given_up = True
            logger.warning(
                "mirepoix health --worker cannot be answered here, as %s cannot be written (%s); name another folder "
                "by %s",
                self._path,
                error,
                FOLDER,
            )

    def _write(self, text: str) -> None:
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid() and FOLDER not in os.environ:
            raise PermissionError(f"{folder} belongs to another user")
        # Renamed into place, so that nobody reads the half of it.
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        new.write_text(text)
        new.replace(self._path)

    def remove(self) -> None:
        """The worker stops, and says so by having no file."""
        with contextlib.suppress(OSError, ValueError):
            if json.loads(self._path.read_text()).get("pid") == os.getpid():  # not that of one that was started since
                self._path.unlink()

"""Virtual environments that have other versions of something: made from PyPI once, and kept."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from missing import missing

ROOT = Path(__file__).parents[1]

DJANGO_RUNS_ON = {"4.2": ((3, 8), (3, 12)), "5.2": ((3, 10), (3, 14)), "6.1": ((3, 12), (3, 14))}
"""The oldest and the newest Python of each Django that is promised, by Django's own FAQ."""


def python_with(name: str, folder: Path, *what: str) -> str:
    """The Python of an environment with *what* pip is told to install; *name* is its own in *folder*.

    PyPI cannot be reached: skip at home, fail in CI.
    """
    told = (ROOT / "pyproject.toml").read_bytes() + sys.version.encode() + str(ROOT).encode()
    environment = folder / f"{name}-{hashlib.sha256(told).hexdigest()[:12]}"
    python = str(environment / "bin" / "python")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other test processes want the same one
        if not (environment / "complete").exists():
            venv.create(environment, with_pip=True, clear=True)
            _install(python, *what)
            (environment / "complete").touch()
    return python


def _install(python: str, *what: str) -> None:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    missing(f"{' '.join(what)} cannot be installed: {done.stderr.strip()[-2000:]}")

"""Virtual environments with other versions of Celery: made from PyPI, and kept in pytest's cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from shelves import HERE, Software

ROOT = HERE.parents[1]


def with_celery(series: str, cache: Path) -> Software:
    """This Mirepoix on the latest Celery of that *series*, and the kombu of its time.

    PyPI cannot be reached: skip at home, fail in CI.
    """
    told = (ROOT / "pyproject.toml").read_bytes() + sys.version.encode() + str(ROOT).encode()
    folder = cache / f"celery-{series}-{hashlib.sha256(told).hexdigest()[:12]}"
    software = Software(python=str(folder / "bin" / "python"))
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other test processes want the same one
        if not (folder / "complete").exists():
            venv.create(folder, with_pip=True, clear=True)
            _install(software, "--editable", str(ROOT), f"celery=={series}.*", f"kombu=={series}.*")
            (folder / "complete").touch()
    return software


def _install(software: Software, *what: str) -> None:
    command = [software.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    message = f"{' '.join(what)} cannot be installed: {done.stderr.strip()[-2000:]}"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)

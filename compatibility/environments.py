"""The environments: which Python, which Celery, and how one is made with pip."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from quickstarts.interpreters import python_between

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "compatibility"


class Lacking(Exception):
    """The environment cannot be made here. ``is_promised``: CI must be able to make it."""

    def __init__(self, why: str, *, is_promised: bool) -> None:
        super().__init__(why)
        self.is_promised = is_promised


@dataclass(frozen=True, slots=True)
class Environment:
    """One Python with one series of Celery."""

    python: tuple[int, int]
    celery: tuple[int, int]
    is_released: bool = True
    """Whether there is a release of that Celery. If not, its newest pre-release is meant."""

    @property
    def label(self) -> str:
        """The versions, for the printed line."""
        return f"Python {_dotted(self.python)}, Celery {_dotted(self.celery)}"

    @property
    def name(self) -> str:
        """The versions, for the names of files."""
        return f"python-{_dotted(self.python)}-celery-{_dotted(self.celery)}"

    def made(self) -> Path:
        """Its Python, with this Mirepoix and what the tests need. It is kept. Raises Lacking."""
        interpreter = python_between(self.python, self.python)
        if interpreter is None:
            raise Lacking(f"this machine has no Python {_dotted(self.python)}", is_promised=False)
        told = (ROOT / "pyproject.toml").read_bytes() + interpreter.encode() + str(ROOT).encode()
        folder = FOLDER / f"{self.name}-{hashlib.sha256(told).hexdigest()[:12]}"
        python = folder / "bin" / "python"
        FOLDER.mkdir(parents=True, exist_ok=True)
        with (FOLDER / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "complete").exists():
                subprocess.run([interpreter, "-m", "venv", "--clear", str(folder)], check=True)
                self._install(python)
                (folder / "complete").touch()
        return python

    def _install(self, python: Path) -> None:
        series = f"{_dotted(self.celery)}.*"
        newest = f"celery>={_dotted(self.celery)}.0a0,<{self.celery[0]}.{self.celery[1] + 1}"
        celery = [f"celery=={series}", f"kombu=={series}"] if self.is_released else [newest]
        groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        command += ["--editable", str(ROOT), *groups["compatibility"], *celery]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if not self.is_released and "No matching distribution found for celery" in done.stderr:
            raise Lacking(f"the package index has no Celery {_dotted(self.celery)} yet", is_promised=False)
        is_promised = self.is_released and self.python <= NEWEST_PROMISED
        raise Lacking(f"pip failed: {done.stderr.strip()[-1000:]}", is_promised=is_promised)


NEWEST_PROMISED = (3, 13)
"""With a newer Python a library without wheels is no fault of ours."""

ENVIRONMENTS = (
    Environment((3, 11), (5, 7)),
    Environment((3, 11), (5, 6)),
    Environment((3, 11), (5, 5)),
    Environment((3, 12), (5, 7)),
    Environment((3, 13), (5, 7)),
    Environment((3, 14), (5, 7)),
    Environment((3, 11), (5, 8), is_released=False),
)
"""The oldest Python with each promised Celery, the newest Celery with each Python, and the next Celery."""


def is_ci() -> bool:
    """Whether nothing that is promised may be missing."""
    return bool(os.environ.get("CI"))


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"

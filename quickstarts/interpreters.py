"""The Pythons of this machine: on the PATH, and where pyenv, uv and CI's tool caches have theirs."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NEWEST = 15
"""The minor versions of Python 3 that are looked for end before this one."""

_SAYS = "import ensurepip, sys; print(getattr(sys, '_base_executable', sys.executable))"
"""Without ensurepip it cannot make virtual environments."""


def python_between(oldest: tuple[int, int], newest: tuple[int, int]) -> str | None:
    """The path of a Python within these versions: the one that runs this, otherwise the newest there is, or None."""
    versions = [(3, minor) for minor in range(NEWEST, 7, -1) if oldest <= (3, minor) <= newest]
    running = sys.version_info[:2]
    ordered = [running, *versions] if running in versions else versions
    return next((path for version in ordered if (path := _python(version))), None)


@functools.cache
def _python(version: tuple[int, int]) -> str | None:
    candidates = [sys.executable] if version == sys.version_info[:2] else []
    for candidate in [*candidates, *_places(f"python{version[0]}.{version[1]}")]:
        done = subprocess.run([candidate, "-c", _SAYS], capture_output=True, text=True, check=False)
        if done.returncode == 0:  # a shim of pyenv may stand for a version that is not activated
            return done.stdout.strip()
    return None


def _places(program: str) -> Iterator[str]:
    on_path = shutil.which(program)
    if on_path:
        yield on_path
    folders = (
        Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions",
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path.home() / ".local" / "share" / "uv" / "python"),
        Path(os.environ.get("RUNNER_TOOL_CACHE") or "/opt/hostedtoolcache") / "Python",
    )
    for folder in folders:
        for pattern in (f"*/bin/{program}", f"*/*/bin/{program}"):
            yield from map(str, sorted(folder.glob(pattern), reverse=True))

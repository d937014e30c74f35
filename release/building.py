"""Run the programs of the tools' environment."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DIST = ROOT / "build" / "release" / "dist"


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """What *command* prints. Fails with all of its output if it does not exit with 0."""
    ended = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if ended.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))} exited with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def tool(name: str) -> Path:
    """A program of the tools' environment."""
    return Path(sys.executable).with_name(name)


@dataclass(frozen=True)
class Built:
    """What one build has made."""

    wheel: Path
    archive: Path

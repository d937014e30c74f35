"""The older versions that are tried beside this one: one list, with the reasons. Later releases add themselves."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import celery
import pytest
from upgrade_harness import SOURCE, Software

from virtual_environments import python_with

ROOT = SOURCE.parent

YESTERDAY = "deb5c07e08cf821352343673ceb0179901742036"
"""What was published before the first migrations that a running version had to bear: `test_yesterday.py` runs it.

It is older than MariaDB, chords in the ledger and parked tasks, so it is not rehearsed.
"""

REHEARSED = {
    "f85efdc4daff2349e13656742769bcd99d9bbc48": "the last without schedules, limits and pauses (before 0018_returned)",
    "67504c3a062f51fdc2e28f6962e03a7d9d3e84db": "the last without pauses (before 0021_steering)",
    "64e78c6799a722c42bdc7e484499dfd237699f1b": "the last without at_limit (before 0022_calls_of_keys)",
}
"""Commits that are upgraded to this version and back, until there are releases. Each tag ``v*`` is rehearsed too."""


def versions() -> list[str]:
    """The commits and the tags to rehearse. A tag of this very commit is not an older version."""
    tags = _git("tag", "--list", "v*", "--no-contains", "HEAD", "--sort", "version:refname")
    return [*REHEARSED, *(tags.stdout.decode().split() if tags.returncode == 0 else ())]


def source_of(version: str, folder: Path) -> Path:
    """The files of a version, in *folder*. A history without it: skip at home, and in CI fail if it is whole."""
    archive = _git("archive", "--format=tar", version)
    if archive.returncode != 0:
        message = f"NOT RUN: git has no {version} ({archive.stderr.decode().strip()}). Fetch the whole history."
        if os.environ.get("CI") and _git("rev-parse", "--is-shallow-repository").stdout.strip() == b"false":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def installed(version: str, source: Path, cache: Path) -> Software:
    """The version in an environment of its own, from a wheel that pip builds, with the Celery that runs this."""
    commit = _git("rev-parse", "--short=12", f"{version}^{{commit}}").stdout.decode().strip()
    celeries = f"celery[redis]=={celery.__version__}"
    python = python_with(f"mirepoix-{commit}-{celery.__version__}", cache, f"{source}[postgres,mysql]", celeries)
    return Software(python=python, source=None)


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "-C", str(ROOT), *words]
    try:
        return subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(command, 127, b"", str(error).encode())

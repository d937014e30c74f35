"""Fetch Celery's source package and lay out its integration suite, nothing else of it, in a folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

VERSION = "5.7.0"
CACHE = Path(__file__).parent.parent / "build" / "conformance"
PARTS = ("t", "pyproject.toml")  # the package celery/ stays behind: it would hide the installed one


def lay_out(folder: Path, source: str | None) -> None:
    """Copy the suite and its pytest configuration to *folder*.

    *source* is Celery's source package, a folder or a ``.tar.gz``; None: that of `VERSION`, from PyPI, once.
    """
    found = Path(source) if source else _fetched()
    if not found.exists():
        raise SystemExit(f"CELERY_SOURCE={source}: there is no such file or folder.")
    if found.is_file():
        _unpack(found, folder)
        return
    shutil.copytree(found / "t", folder / "t", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(found / "pyproject.toml", folder)


def _fetched() -> Path:
    package = CACHE / f"celery-{VERSION}.tar.gz"
    if not package.exists():
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        subprocess.run(
            [*download, "--no-binary", "celery", "--no-deps", "--dest", str(CACHE), f"celery=={VERSION}"], check=True
        )
    return package


def _unpack(package: Path, folder: Path) -> None:
    with tarfile.open(package) as archive:
        for member in archive:
            _, _, path = member.name.partition("/")
            if path.partition("/")[0] in PARTS:
                archive.extract(member.replace(name=path), folder, filter="data")

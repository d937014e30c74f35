"""The package, built twice from clones of the checked-out commit, and an environment with nothing but the wheel."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from building import DIST, ROOT, Built, run, tool


@pytest.fixture(scope="session")
def epoch() -> str:
    """The time of the commit, which a build writes instead of the time of the clock."""
    return run("git", "log", "-1", "--format=%ct").strip()


@pytest.fixture(scope="session")
def clones(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two clones. The files of the second have other times and permissions."""
    changed = run("git", "status", "--porcelain", "--", "src", "pyproject.toml", "README.md", "LICENSE")
    if changed:
        pytest.fail(f"A release is built from a commit, and these files are not committed:\n{changed}", pytrace=False)
    folders = [tmp_path_factory.mktemp(name) / "mirepoix" for name in ("first", "second-with-another-name")]
    for folder in folders:
        run("git", "clone", "--quiet", ROOT, folder)
    for path in (folders[1] / "src").rglob("*.*"):
        os.utime(path, (10**9, 10**9))
        path.chmod(0o600)
    return folders


@pytest.fixture(scope="session")
def builds(clones: list[Path], epoch: str) -> list[Built]:
    """The wheel and the source archive, built from each clone."""
    made = []
    for clone, more in zip(clones, ({}, {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}), strict=True):
        run(sys.executable, "-m", "build", "--no-isolation", cwd=clone, SOURCE_DATE_EPOCH=epoch, **more)
        ((wheel,), (archive,)) = (list((clone / "dist").glob(pattern)) for pattern in ("*.whl", "*.tar.gz"))
        made.append(Built(wheel, archive))
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir(parents=True)
    for path in (made[0].wheel, made[0].archive):
        shutil.copy(path, DIST)
    return made


@pytest.fixture(scope="session")
def built(builds: list[Built]) -> Built:
    """The first build."""
    return builds[0]


@pytest.fixture(scope="session")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, what it requires, and nothing else, not even pip."""
    folder = tmp_path_factory.mktemp("stranger") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    run(tool("uv"), "pip", "install", "--quiet", "--python", folder / "bin" / "python", built.wheel)
    return folder / "bin"

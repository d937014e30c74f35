"""The wheel, readers, and the Djangos."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quickstarts.interpreters import python_between
from quickstarts.page import ROOT

sys.path.append(str(ROOT / "tests"))

from quickstarts.reader import Reader
from virtual_environments import DJANGO_RUNS_ON


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first: a process that began it last would be waited for."""
    items.sort(key=lambda item: not item.nodeid.startswith("quickstarts/test_imports.py"))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as `pip install` makes it from this clone, made once for all processes of the tests."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "wheel.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(folder.glob("wheel/*.whl")):
            command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "wheel", str(ROOT)]
            subprocess.run(command, cwd=folder, check=True)
    (made,) = folder.glob("wheel/*.whl")
    return made


@pytest.fixture
def reader(wheel: Path, tmp_path: Path) -> Iterator[Callable[..., Reader]]:
    """Make a reader, on this Python or another."""
    readers: list[Reader] = []

    def make(python: str | None = None, **more: str) -> Reader:
        python = python or python_between(sys.version_info[:2], sys.version_info[:2])
        assert python, "this Python cannot make virtual environments: it has no ensurepip"
        readers.append(Reader(tmp_path, python, {"/path/to/mirepoix": str(wheel), **more}))
        return readers[-1]

    yield make
    for one in readers:
        one.leave()


@pytest.fixture(params=DJANGO_RUNS_ON)
def django(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A version of Django, and a Python for it. Without such a Python it is not run, and the end of the run says so."""
    version = request.param
    oldest, newest = (max((3, 11), one) for one in DJANGO_RUNS_ON[version])
    python = python_between(oldest, newest)
    if python is None:
        wanted = f"Python {'.'.join(map(str, oldest))} to {'.'.join(map(str, newest))}"
        pytest.skip(f"NOT RUN: Django {version} needs {wanted}, and this machine has none")
    return version, python


@pytest.fixture
def free_port() -> str:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in CI what could not be run, where nobody overlooks it."""
    missing = sorted({str(one.longrepr[2]) for one in terminalreporter.stats.get("skipped", [])})
    for one in missing:
        terminalreporter.write_sep("!", one.removeprefix("Skipped: "), red=True, bold=True)

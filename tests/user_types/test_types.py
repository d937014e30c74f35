"""A user's module passes mypy and pyright without a plugin, and a mistake in one of its lines is found by both."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from missing import missing

SHOP = Path(__file__).parent / "typed_shop.py"

MISTAKES = {
    "an argument of the wrong type": ("ship.delay(1)", 'ship.delay("1")'),
    "a parameter that does not exist": ("charge.delay(1, cents=500)", "charge.delay(1, cent=500)"),
    "a missing argument": ("charge.delay(1, cents=500)", "charge.delay(1)"),
    "an argument too many, which is self": ('fetch.delay("https', 'fetch.delay(fetch, "https'),
    "an option of the wrong type": ("countdown=5", 'countdown="5"'),
    "a result used as another type": ("ship.delay(1).get(), str", "ship.delay(1).get(), int"),
    "a result of an async def that is awaited": (
        'fetch_later.delay("https://example.org").get(), bytes',
        'fetch_later.delay("https://example.org").get(), Any',
    ),
    "a task of shared_task": ("remind.delay(1)", 'remind.delay("1")'),
    "an upcaster that returns no arguments": ("-> tuple[list[int], dict[str, int]]:", "-> tuple[int, int]:"),
    "an upcaster without a version": ("@charge.upcast(from_version=1)", "@charge.upcast()"),
    "a call in the process": ("ship(1, express=True)", "ship(1, expres=True)"),
    "a signature": ("ship.si(1)", "ship.si('1')"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the module as it is, and a copy of it for each mistake."""
    folder = tmp_path_factory.mktemp("project")
    text = SHOP.read_text()
    (folder / "shop.py").write_text(text)
    for number, (right, wrong) in enumerate(MISTAKES.values()):
        assert right in text
        (folder / f"mistake_{number}.py").write_text(text.replace(right, wrong))
    return folder


def test_mypy_finds_the_mistakes_and_nothing_else(project: Path):
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", project / "cache", "."]
    ended = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert found(re.findall(r"^(\w+)\.py:\d+: error: ", ended.stdout, re.MULTILINE)) == all_mistakes(), ended


def test_pyright_finds_the_mistakes_and_nothing_else(project: Path):
    pyright = shutil.which("pyright", path=str(Path(sys.executable).parent))
    if pyright is None:
        missing("pyright is not installed: pip install 'pyright[nodejs]'")
    command = [pyright, "--outputjson", "--pythonpath", sys.executable, "."]
    ended = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    diagnostics = json.loads(ended.stdout)["generalDiagnostics"]
    files = [Path(one["file"]).stem for one in diagnostics if one["severity"] == "error"]
    assert found(files) == all_mistakes(), diagnostics


def found(files: list[str]) -> set[str]:
    names = list(MISTAKES)
    return {names[int(file.removeprefix("mistake_"))] if file.startswith("mistake_") else file for file in files}


def all_mistakes() -> set[str]:
    return set(MISTAKES)

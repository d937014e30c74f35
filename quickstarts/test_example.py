"""`scripts/example` and `scripts/demo`, as somebody runs them who has just cloned the repository."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from quickstarts.page import ROOT

pytestmark = pytest.mark.timeout(900)  # installing


def test_the_example_accounts_for_every_order(django: tuple[str, str], tmp_path: Path):
    version, python = django
    said = _script(tmp_path, "example", "--orders", "20", PYTHON=python, DJANGO=version, SHOP_DATA=str(tmp_path))
    assert "orders: 20 sent; paid 2560 cents, charged 2560" in said
    assert "Every order is accounted for." in said


def test_the_demo_loses_nothing(tmp_path: Path):
    said = _script(tmp_path, "demo", "--orders", "40", "--kills", "2", "--worker-kills", "1")
    assert re.search(r"all \d+ checks hold", said), said


def _script(folder: Path, name: str, *arguments: str, **variables: str) -> str:
    """What a script says in an environment that it makes, when it has succeeded."""
    told = {"VENV": str(folder / "venv"), "PIP_NO_COMPILE": "1", "PYTHONNOUSERSITE": "1", **variables}
    done = subprocess.run(
        [ROOT / "scripts" / name, *arguments],
        env=os.environ | told,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout

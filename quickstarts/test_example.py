"""`scripts/example` as somebody runs it who has just cloned the repository, on each Django."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from quickstarts.page import ROOT
from quickstarts.reader import INSTALLING_S

pytestmark = pytest.mark.timeout(INSTALLING_S)


def test_the_example_accounts_for_every_order(django: tuple[str, str], tmp_path: Path):
    version, python = django
    told = {"PYTHON": python, "DJANGO": version, "VENV": str(tmp_path / "venv"), "SHOP_DATA": str(tmp_path)}
    done = subprocess.run(
        [ROOT / "scripts" / "example", "--orders", "20"],
        env=os.environ | told | {"PIP_NO_COMPILE": "1", "PYTHONNOUSERSITE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "orders: 20 sent; paid 2560 cents, charged 2560" in done.stdout
    assert "Every order is accounted for." in done.stdout

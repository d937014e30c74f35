"""The upgrade tests start processes as the end-to-end tests do, of other versions too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

import pytest


@pytest.fixture(scope="session")
def typed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """How Python writes the typed arguments of the app."""
    import subprocess

    from upgrade_harness import TODAY, UpgradeHarness

    folder = tmp_path_factory.mktemp("typed")
    with UpgradeHarness(folder / "harness", f"sqlite:///{folder / 'ledger.db'}") as harness:
        words = "import upgrade_app; print(repr(dict(sorted(upgrade_app.TYPED.items()))))"
        told: subprocess.CompletedProcess[str] = harness.run(TODAY, "-c", words)
    assert told.returncode == 0, told.stderr
    return told.stdout.strip()

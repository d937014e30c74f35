"""Transfers in transactional tasks while processes are killed and frozen: a smaller run of `benchmarks.transfers`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from driver import Ledger
from mirepoix.connect.url import source_for

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.transfers import ACCOUNTS, BALANCE, BYS, Scene, run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("by", BYS)
def test_no_money_is_made_or_lost_and_every_transfer_is_made_once(ledger_url: str, by: str) -> None:
    with Ledger(source_for(ledger_url)) as ledger:

        def execute(*statements: str, rows: bool = False) -> list[tuple]:
            if rows:
                return ledger.query(*statements)
            for statement in statements:
                ledger.write(statement)
            return []

        scene = Scene(ledger_url, by, execute)
        try:
            found = run(scene, tasks=60, kills=10, freezes=2, seconds=0.1 if "sqlite" in ledger_url else 0.4)
        finally:
            scene.close()
    assert found.is_exact, found
    assert found.total == ACCOUNTS * BALANCE
    assert found.outcomes["succeeded"] == 60

"""`mirepoix drop-tables`: it says what it deletes, asks, and refuses while the ledger is in use."""

from __future__ import annotations

from typing import Any

from driver import Ledger
from mirepoix.ledger import workers


def test_it_says_what_it_deletes_and_asks(cli: Any, ledger: Ledger, ended: Any):
    ended("succeeded", "a")
    ended("failed", "b")
    ledger.do(workers.stop, "ender")
    refused = cli("drop-tables", code=2, answer="n\n")
    assert "with 2 tasks (1 failed, 1 succeeded) in" in refused.stderr
    assert "Nothing was deleted" in refused.stderr
    assert ledger.states() == {"a": "succeeded", "b": "failed"}
    assert cli("drop-tables", answer="y\n").stdout.startswith("Deleted 32 tables and views, with 2 tasks")
    assert "There is no ledger in" in cli("drop-tables").stdout


def test_it_refuses_while_the_ledger_is_in_use(cli: Any, ledger: Ledger):
    ledger.worker("w1")
    ledger.send("a")
    refused = cli("drop-tables", "--yes", code=1).stdout
    assert "is in use, 1 task(s) not finished (1 pending) and 1 worker(s) alive (w1@host)" in refused
    assert cli.json("drop-tables", "--yes", code=1)["dropped"] == []
    assert ledger.states() == {"a": "pending"}
    assert len(cli.json("drop-tables", "--yes", "--force")["dropped"]) == 32

"""A worker that ends by an error counts a handover against what it was about to start."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from workers import Shop

pytestmark = pytest.mark.slow


def test_a_worker_that_fails_counts_a_handover_against_what_it_was_handing_over(
    sqlite_url: str, tmp_path: Path
) -> None:
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        shutil.copyfile(Path(__file__).with_name("exploding.py"), shop.folder / "exploding.py")
        conf = {"worker_prefetch_multiplier": 2}
        worker = shop.worker("w1", "--include", "exploding", concurrency=1, conf=conf)
        running = shop.send("gate", "open")
        shop.begun(running)
        poison = shop.send("note", task_id="boom")
        worker.says("ArithmeticError")
        shop.make("open")
        assert worker.ends().exit_code == 1
        assert (shop.state(running), shop.state(poison)) == ("succeeded", "pending")
        assert [(row["handovers"], row["deaths"]) for row in (shop.row(running), shop.row(poison))] == [(0, 0), (1, 0)]
        (attempt,) = shop.ledger.attempts(poison)
        assert attempt["outcome"] == "lost"
        assert "ArithmeticError: boom" in attempt["error"]

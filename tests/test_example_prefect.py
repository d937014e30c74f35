"""The example of Prefect: five steps for each order, once, though flows and worker are killed in the middle."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from prefect_server import need_prefect

EXAMPLE = Path(__file__).parent.parent / "examples" / "prefect"
STEPS = ("reserve", "charge", "pack", "ship", "confirm")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("options", [(), ("--kill",)], ids=["plain", "killed"])
def test_every_order_comes_to_its_end_with_one_task_for_each_step(tmp_path: Path, options: tuple[str, ...]) -> None:
    need_prefect()
    environment = {**os.environ, "SHOP_DATA": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, str(EXAMPLE / "run.py"), "--orders", "3", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ends = re.findall(
        r"^Order (\d) is done: reserved, charged .* by \w+, packed, shipped, .* 4 steps\.$", done.stdout, re.MULTILINE
    )
    assert sorted(ends) == ["1", "2", "3"]
    with closing(sqlite3.connect(tmp_path / "shop.db")) as ledger:
        tasks = ledger.execute("SELECT name, state FROM mirepoix_task").fetchall()
    assert Counter(name for name, _ in tasks) == {f"shop.{step}": 3 for step in STEPS}
    assert {state for _, state in tasks} == {"succeeded"}

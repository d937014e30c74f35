"""Run an example of orders with five steps, and read what became of the orders."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

STEPS = {f"shop.{step}": 3 for step in ("reserve", "charge", "pack", "ship", "confirm")}
"""How many tasks of each name three orders need."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What an example printed, and what its ledger has."""

    finished: list[str]
    """The numbers of the orders, as their ends were printed."""
    tasks: Counter[str]
    """How many tasks there are, by their names."""
    states: set[str]


def ran(example: str, folder: Path, *options: str, python: str = sys.executable) -> Ran:
    """Run ``examples/EXAMPLE/run.py`` with *python* for three orders, with its data in *folder*."""
    script = Path(__file__).parent.parent / "examples" / example / "run.py"
    environment = {**os.environ, "SHOP_DATA": str(folder), "HOME": str(folder)}
    command = [python, str(script), "--orders", "3", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    finished = re.findall(
        r"^Order (\d) is done: reserved, charged .* by \w+, packed, shipped, .* 4 steps\.$", done.stdout, re.MULTILINE
    )
    with closing(sqlite3.connect(folder / "shop.db")) as ledger:
        tasks = ledger.execute("SELECT name, state FROM mirepoix_task").fetchall()
    return Ran(finished, Counter(name for name, _ in tasks), {state for _, state in tasks})

"""Run an example of orders with five steps, and read what became of the orders."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pace import DEADLINE_S, Timeout

LONGEST_S = 8 * DEADLINE_S

STEPS = {f"shop.{step}": 3 for step in ("reserve", "charge", "pack", "ship", "confirm")}
"""How many tasks of each name three orders need."""

ONE_ORDER = dict.fromkeys(STEPS, 1)


@dataclass(frozen=True, slots=True)
class Ran:
    """What an example printed, and what its ledger has."""

    finished: list[str]
    """The numbers of the orders, as their ends were printed."""
    tasks: Counter[str]
    """How many tasks there are, by their names."""
    states: set[str]


def ran(example: str, folder: Path, *options: str, python: str = sys.executable, orders: int = 3) -> Ran:
    """Run ``examples/EXAMPLE/run.py`` with *python* for these orders, with its data in *folder*.

    If it does not end it is interrupted, so that it ends its processes, and the test fails with what they printed.
    """
    script = Path(__file__).parent.parent / "examples" / example / "run.py"
    environment = {**os.environ, "SHOP_DATA": str(folder), "HOME": str(folder)}
    command = [python, str(script), "--orders", str(orders), *options]
    output = folder / "output"
    with output.open("w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
    try:
        code = process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait(DEADLINE_S)
        raise Timeout(f"{example} did not end within {LONGEST_S:.0f} s:\n{output.read_text()}") from None
    said = output.read_text()
    assert code == 0, said
    finished = re.findall(
        r"^Order (\d) is done: reserved, charged .* by \w+, packed, shipped, .* 4 steps\.$", said, re.MULTILINE
    )
    with closing(sqlite3.connect(folder / "shop.db")) as ledger:
        tasks = ledger.execute("SELECT name, state FROM mirepoix_task").fetchall()
    return Ran(finished, Counter(name for name, _ in tasks), {state for _, state in tasks})

"""Crash points: each stands at one place, costs nothing unarmed, and kills at the crossing it was armed for."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import timeit
from pathlib import Path

import pytest

import mirepoix.crashpoints
from mirepoix.crashpoints import Crashpoint, reached

SOURCE = Path(mirepoix.crashpoints.__file__).parent
CROSS_FOUR_TIMES = """
from mirepoix.crashpoints import Crashpoint, reached
for crossing in range(1, 5):
    reached(Crashpoint.START_AFTER_COMMIT)
    reached(Crashpoint.TAKE_AFTER_COMMIT)
    print(crossing, flush=True)
"""


@functools.cache
def places() -> dict[str, list[str]]:
    """Where each crash point is named, by its name."""
    found: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if path.name != "crashpoints.py":
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                for name in re.findall(r"\bCrashpoint\.(\w+)\b", line):
                    found.setdefault(name, []).append(f"{path.relative_to(SOURCE)}:{number}")
    return found


@pytest.mark.parametrize("point", Crashpoint, ids=lambda point: point.name)
def test_each_crash_point_stands_at_exactly_one_place(point: Crashpoint):
    found = places().get(point.name, [])
    assert len(found) == 1, f"Crashpoint.{point.name} is used at: {', '.join(found) or 'no place'}"


def test_unarmed_a_crash_point_costs_next_to_nothing():
    # 5 microseconds each would still be nothing beside a commit; it is about 0.1.
    assert min(timeit.repeat(lambda: reached(Crashpoint.TAKE_AFTER_COMMIT), number=1_000, repeat=5)) < 0.005


def test_unarmed_nothing_dies():
    assert _run({}) == (0, "1234")


def test_armed_it_kills_at_the_first_crossing():
    assert _run({"MIREPOIX_CRASHPOINT": "take.after_commit"}) == (-signal.SIGKILL, "")


@pytest.mark.parametrize("nth", [1, 2, 4])
def test_armed_it_kills_at_the_nth_crossing(nth: int):
    code, printed = _run({"MIREPOIX_CRASHPOINT": f"take.after_commit:{nth}"})
    assert (code, printed) == (-signal.SIGKILL, "1234"[: nth - 1])


def test_armed_for_more_crossings_than_there_are_nothing_dies():
    assert _run({"MIREPOIX_CRASHPOINT": "take.after_commit:5"}) == (0, "1234")


def test_another_point_does_not_kill():
    assert _run({"MIREPOIX_CRASHPOINT": "reap.after_commit"}) == (0, "1234")


def test_of_many_processes_the_token_lets_one_die_once(tmp_path: Path):
    token = tmp_path / "token"
    token.touch()
    armed = {"MIREPOIX_CRASHPOINT": "take.after_commit:2", "MIREPOIX_CRASHPOINT_TOKEN": str(token)}
    assert _run(armed) == (-signal.SIGKILL, "1")
    assert not token.exists()
    assert _run(armed) == (0, "1234")


def test_a_misspelt_crash_point_is_an_error_not_a_test_that_passes():
    code, _ = _run({"MIREPOIX_CRASHPOINT": "take.after_comit"})
    assert code == 1


def _run(armed: dict[str, str]) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MIREPOIX_CRASHPOINT")}
    done = subprocess.run(
        [sys.executable, "-c", CROSS_FOUR_TIMES],
        env={**environment, **armed},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.replace("\n", "")

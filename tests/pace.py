"""How slow this machine is just now, and how to wait for a fact with a deadline that follows from it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

QUICK_S = 0.2
"""The counting loop below takes this long on a quick machine that has nothing else to do."""

POLL_S = 0.02
_VARIABLE = "MIREPOIX_TESTS_PACE"


def pace() -> float:
    """1 on a quick machine, 10 on a machine that needs ten times as long.

    The first process of a run measures it, by the wall clock, so that other busy processes count too. The processes
    that it starts inherit it by the environment.
    """
    if _VARIABLE not in os.environ:
        os.environ[_VARIABLE] = f"{_measured():.2f}"
    return float(os.environ[_VARIABLE])


def _measured() -> float:
    begin = time.monotonic()
    for _ in range(10**7):
        pass
    return max(1.0, (time.monotonic() - begin) / QUICK_S)


DEADLINE_S = 40.0 * pace()
"""How long a test waits for a fact. The time passes only if the fact does not come about."""


class Timeout(AssertionError):
    """What a test waited for did not happen."""


def until(condition: Callable[[], T], what: str, *, deadline_s: float = DEADLINE_S) -> T:
    """The first true answer of *condition*; Timeout, saying *what* was awaited, if there is none in time.

    What the processes said in the meantime is shown with every failure (`logs`).
    """
    end = time.monotonic() + deadline_s
    while not (answer := condition()):
        if time.monotonic() > end:
            raise Timeout(f"after {deadline_s:.0f} s still not: {what}")
        time.sleep(POLL_S)
    return answer

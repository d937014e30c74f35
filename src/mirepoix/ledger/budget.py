"""Give each retry its time: within its policy, its age, and the budget of its destination.

Time is cut into slots, by the database's clock, and each slot has as many places as the budget allows in it. A retry
takes a place in the first slot with one left, from the time on that its policy gave it; the guard in the ``WHERE`` of
that one statement is what keeps the budget. It is not one time for the next retry, that each would push on: a single
long wait would hold up all the short ones behind it. What died after it had taken a place leaves it empty: the budget
is never exceeded, and once in a while not used up.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from mirepoix.ledger.tx import Tx
from mirepoix.records import Lease

NARROWEST_S = 1.0
"""No slot is narrower than this, unless fewer retries than one come in it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """*rate_per_s* retries of a destination."""

    destination: str
    rate_per_s: float

    @property
    def most(self) -> int:
        """How many places a slot has."""
        return max(1, math.floor(self.rate_per_s * NARROWEST_S))

    @property
    def width_ms(self) -> int:
        """How long a slot is."""
        return math.ceil(self.most / self.rate_per_s * 1000)


@dataclass(frozen=True, slots=True)
class Turn:
    """When a retry comes: in *wait_s*, of which the budget put *put_off_s*; never if the task *is_too_old* by then."""

    wait_s: float
    put_off_s: float = 0.0
    is_too_old: bool = False


def reserve(
    tx: Tx,
    lease: Lease,
    delay_s: float,
    max_age_s: float | None,
    budget: Budget | None,
    draw: Callable[[], float] = random.random,
) -> Turn | None:
    """Find the time of a retry that is wanted in *delay_s*, and take its place there; None if the lease was lost.

    Nothing is taken for a retry that would be too old.
    """
    found = tx.fetch("age_of_lease", task_id=lease.task_id, fence=lease.fence, worker_id=lease.worker_id)
    if not found:
        return None
    age_s, now_ms = float(found[0].age_s), int(found[0].now_ms)
    left_s = math.inf if max_age_s is None else max_age_s - age_s
    if delay_s > left_s:
        return Turn(delay_s, is_too_old=True)
    if budget is None:
        return Turn(delay_s)
    wanted_ms = now_ms + delay_s * 1000
    slot_ms = math.floor(wanted_ms / budget.width_ms) * budget.width_ms
    while True:
        (slot,) = tx.fetch(
            "free_slot", destination=budget.destination, from_ms=slot_ms, width_ms=budget.width_ms, most=budget.most
        )
        slot_ms = int(slot.slot_ms)
        due_ms = max(wanted_ms, slot_ms + draw() * budget.width_ms)
        turn = Turn((due_ms - now_ms) / 1000, max(0.0, (slot_ms - wanted_ms) / 1000))
        if turn.wait_s > left_s:
            return Turn(turn.wait_s, turn.put_off_s, is_too_old=True)
        if _reserve(tx, budget, slot_ms):
            return turn
        slot_ms += budget.width_ms  # somebody else took the last place of that one meanwhile


def _reserve(tx: Tx, budget: Budget, slot_ms: int) -> bool:
    place = {"destination": budget.destination, "slot_ms": slot_ms}
    if tx.run("reserve_slot", most=budget.most, **place):
        return True
    tx.run("open_slot", **place)
    return bool(tx.run("reserve_slot", most=budget.most, **place))


def forget(tx: Tx) -> None:
    """Drop the slots that have been over for an hour."""
    (now,) = tx.fetch("now")
    tx.run("forget_slots", before_ms=int((float(now.now_s) - 3600.0) * 1000))

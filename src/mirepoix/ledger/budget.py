"""Find the time of each retry within its policy, its age limit and the budget of its destination.

Time is divided into slots, by the database's clock. Each slot has as many places as the budget allows. A retry takes a
place in the first slot with a free place, from the time that its policy gave. The guard in the ``WHERE`` of that
statement keeps the budget. A single shared time for the next retry would not do: a retry that waits long would delay
all others behind it. If a process dies after it has taken a place, the place stays empty. So the budget is never
exceeded, but sometimes not used up.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from mirepoix.ledger.tx import Tx
from mirepoix.records import Lease

NARROWEST_S = 1.0
"""The width of a slot, unless the budget allows less than one retry in it. Then the slot is wider."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget of *rate_per_s* retries for a destination."""

    destination: str
    rate_per_s: float

    @property
    def most(self) -> int:
        """The number of places in a slot."""
        return max(1, math.floor(self.rate_per_s * NARROWEST_S))

    @property
    def width_ms(self) -> int:
        """The width of a slot in milliseconds."""
        return math.ceil(self.most / self.rate_per_s * 1000)


@dataclass(frozen=True, slots=True)
class Turn:
    """When a retry runs: in *wait_s*; *put_off_s* of that is the budget's. If *is_too_old*, it does not run."""

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
    """Find the time of a retry that is wanted in *delay_s*, and take a place there. None if the lease was lost.

    A retry that would be too old takes no place.
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
        slot_ms += budget.width_ms  # another process took the last place of that slot in the meantime


def _reserve(tx: Tx, budget: Budget, slot_ms: int) -> bool:
    place = {"destination": budget.destination, "slot_ms": slot_ms}
    if tx.run("reserve_slot", most=budget.most, **place):
        return True
    tx.run("open_slot", **place)
    return bool(tx.run("reserve_slot", most=budget.most, **place))


def forget(tx: Tx) -> None:
    """Delete the slots that have been over for an hour."""
    (now,) = tx.fetch("now")
    tx.run("forget_slots", before_ms=int((float(now.now_s) - 3600.0) * 1000))

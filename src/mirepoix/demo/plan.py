"""The plan of a demo run: how many orders at which rate, and which workers are killed."""

from __future__ import annotations

from dataclasses import dataclass

STEPS = (("reminder", 0.08), ("flaky", 0.15), ("poison", 0.22), ("broken", 0.35), ("flaky", 0.5), ("poison", 0.62))
"""The odd tasks, and after which part of the orders each is sent. Five reminders are sent at a time."""

REMINDERS = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. Both sides of a comparison follow the same plan."""

    orders: int = 500
    child_kills: int = 12
    worker_kills: int = 3
    workers: int = 2
    processes: int = 2
    orders_per_s: float = 25.0
    declined_every: int = 10
    deadline_s: float = 120.0

    @property
    def sending_s(self) -> float:
        """How long it takes to place the orders."""
        return self.orders / self.orders_per_s

    @property
    def reminder_after_s(self) -> float:
        """In how many seconds a reminder is due. That is most of the run, so that workers die while it waits."""
        return max(4.0, 0.6 * self.sending_s)

    def odd_tasks_after(self, number: int) -> list[str]:
        """Return the odd tasks that are sent after order *number*."""
        due = [step for step, part in STEPS if max(1, int(part * self.orders)) == number]
        return [task for step in due for task in ([step] * REMINDERS if step == "reminder" else [step])]

    def kills_due(self, sent: int) -> int:
        """Return how many kills are due when *sent* orders have been placed. They are spread evenly over the run."""
        kills = self.child_kills + self.worker_kills
        return min(kills, sent * (kills + 1) // max(1, self.orders))

    def is_worker_kill(self, nth: int) -> bool:
        """Return whether the *nth* kill (from 0) takes a whole worker."""
        kills = self.child_kills + self.worker_kills
        turns = {(2 * number + 1) * kills // (2 * self.worker_kills) for number in range(self.worker_kills)}
        return nth in turns

"""The leases that a worker process holds, and the progress of each. Safe for several threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mirepoix.records import Lease, Taken

Key = tuple[str, int]
"""What identifies an attempt: the id of its task, and its fence."""

GRACE_S = 0.3
"""How long a lease that is given back waits for a pool process that is just accepting its task."""


@dataclass(slots=True)
class Held:
    """One lease. Times are of the monotonic clock."""

    lease: Lease
    name: str
    started_at: float | None = None
    pid: int | None = None
    is_noted: bool = False
    """Whether the start of the attempt is recorded in the ledger."""
    abandoned_at: float | None = None
    is_suspect: bool = False
    is_given_to_worker: bool = False
    """Whether its message was given to Celery's worker, which gives it to the pool."""
    limit_key: str | None = None
    """The key of the task's limit."""
    queue: str = ""
    is_stopped: bool = False
    """Whether it is given back because its queue or its name is paused."""


class HeldLeases:
    """The leases of this process by their keys."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held: dict[Key, Held] = {}
        self._suspects: set[Key] = set()
        """The keys of suspects. Some may be held no more."""
        self._has_abandoned = False
        """Whether a lease that is held may be marked to be given back."""
        self.finished = 0
        """The number of attempts that have ended in this process."""
        self.freed: list[str] = []
        """The keys of limits of the leases that are held no more, since the last `take_freed`."""

    def __len__(self) -> int:
        return len(self._held)

    def add(self, taken: Iterable[Taken]) -> None:
        """Hold the leases of these tasks."""
        with self._lock:
            for task in taken:
                self._held[task.lease.key] = Held(
                    task.lease, task.name, is_suspect=task.is_suspect, queue=task.queue, limit_key=task.limit_key
                )
                if task.is_suspect:
                    self._suspects.add(task.lease.key)

    def get(self, key: Key) -> Held | None:
        """Return the lease, or None if it is no longer held."""
        return self._held.get(key)

    def pop(self, key: Key, *, has_ended: bool = False) -> Held | None:
        """Stop holding a lease and return it; None if it was not held."""
        with self._lock:
            held = self._held.pop(key, None)
            if held is not None and has_ended:
                self.finished += 1
            if held is not None and held.limit_key is not None:
                self.freed.append(held.limit_key)
            return held

    def take_freed(self) -> list[str]:
        """Return the keys of `freed`, and forget them."""
        with self._lock:
            freed, self.freed = self.freed, []
            return freed

    def forget(self, key: Key) -> None:
        """Stop holding an attempt that has ended and has its outcome in the ledger."""
        self.pop(key, has_ended=True)

    def clear(self) -> list[Held]:
        """Stop holding all leases; return those of running attempts."""
        with self._lock:
            running = self.running()
            self._held.clear()
            return running

    def holds(self, key: Key) -> bool:
        """Return whether this process may run the attempt."""
        return key in self._held

    def may_begin(self, key: Key) -> bool:
        """Return whether the attempt may be given to the pool: it is held, and not about to be given back."""
        held = self._held.get(key)
        return held is not None and held.abandoned_at is None

    def note_given_to_worker(self, key: Key) -> None:
        """Record that the attempt's message is given to Celery's worker now."""
        held = self._held.get(key)
        if held is not None:
            held.is_given_to_worker = True

    def note_begun(self, key: Key, pid: int | None, at: float | None = None) -> None:
        """Record that user code of the attempt has begun, in the process *pid*: now, or *at* that moment."""
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                held.started_at, held.pid, held.abandoned_at = time.monotonic() if at is None else at, pid, None

    def running(self) -> list[Held]:
        """Return the attempts that run user code now."""
        with self._lock:
            return [held for held in self._held.values() if held.started_at is not None]

    def not_noted(self, after_s: float) -> list[Held]:
        """Return the attempts that have run for *after_s* without a recorded start."""
        now = time.monotonic()
        return [
            held
            for held in self.running()
            if not held.is_noted and held.started_at is not None and now - held.started_at >= after_s
        ]

    @property
    def may_take_suspect(self) -> bool:
        """Whether no suspect is held. Each suspect runs beside no other, to find the task that kills workers."""
        if not self._suspects:
            return True
        with self._lock:
            self._suspects &= self._held.keys()
            return not self._suspects

    def abandon(
        self,
        leases: Iterable[Lease] | None = None,
        *,
        now: bool = False,
        may_have_begun: frozenset[Key] = frozenset(),
    ) -> None:
        """Mark these leases, or all that have not started, to be given back: at once, or after `GRACE_S`.

        In that time a child that is just accepting a task can report it. Leases in *may_have_begun* are not marked.
        """
        moment = time.monotonic() - (GRACE_S if now else 0.0)
        with self._lock:
            for key in self._held if leases is None else [lease.key for lease in leases]:
                held = self._held.get(key)
                if held is not None and held.started_at is None and key not in may_have_begun:
                    held.abandoned_at, self._has_abandoned = moment, True

    def abandon_stopped(
        self, stops: Callable[[str, str, str | None], bool], may_have_begun: Callable[[], frozenset[Key]]
    ) -> None:
        """Mark leases to be given back that cannot have begun: those for which *stops* is true.

        It gets the queue, the name and the key of the limit.

        The pool's processes may get a lease at the same moment. So each goes back `GRACE_S` later, and the next call
        takes the mark away if the pool has got it meanwhile.
        """
        with self._lock:
            found = [
                held
                for held in self._held.values()
                if held.started_at is None and stops(held.queue, held.name, held.limit_key)
            ]
        if not found:
            return
        given = may_have_begun()
        now = time.monotonic()
        with self._lock:
            for held in found:
                if held.lease.key not in given:
                    if held.abandoned_at is None:
                        held.abandoned_at, held.is_stopped, self._has_abandoned = now, True, True
                elif held.is_stopped:
                    held.abandoned_at, held.is_stopped = None, False

    def pop_abandoned(self) -> list[Lease]:
        """Stop holding the leases that are given back now. Then `holds` refuses such a task to the pool."""
        if not self._has_abandoned:
            return []
        now = time.monotonic()
        with self._lock:
            marked = [
                (held.lease, held.abandoned_at)
                for held in self._held.values()
                if held.abandoned_at is not None and held.started_at is None
            ]
            due = [lease for lease, at in marked if now - at >= GRACE_S]
            for lease in due:
                del self._held[lease.key]
            self._has_abandoned = len(due) < len(marked)
            return due

    def hold_abandoned(self, leases: Iterable[Lease]) -> None:
        """Hold leases again that could not be given back. They are given back later."""
        now = time.monotonic()
        with self._lock:
            for lease in leases:
                self._held[lease.key] = Held(lease, "", abandoned_at=now)
                self._has_abandoned = True

    def pop_given_to_worker(self, may_have_begun: frozenset[Key]) -> list[Lease]:
        """Stop holding the leases that Celery's worker was given and that cannot have begun; return them."""
        with self._lock:
            keys = [
                key
                for key, held in self._held.items()
                if held.is_given_to_worker and held.started_at is None and key not in may_have_begun
            ]
            return [self._held.pop(key).lease for key in keys]

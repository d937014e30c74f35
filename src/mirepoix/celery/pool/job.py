"""A job of the direct pool: a call that Celery asked for, or a row of the ledger that goes straight to a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mirepoix.celery.pool.row import Row
from mirepoix.records import Lease, Taken

if TYPE_CHECKING:
    from mirepoix.celery.pool.process import PoolProcess


class Job:
    """What a process runs, and what to do when it has ended. Celery knows it as the result of ``apply_async``."""

    __slots__ = (
        "__weakref__",
        "_accepted",
        "args",
        "callback",
        "error_callback",
        "hand_over",
        "hard_s",
        "is_limited",
        "kwargs",
        "may_go_back",
        "name",
        "number",
        "on_accept",
        "on_timeout",
        "process",
        "request",
        "row",
        "soft_s",
        "taken",
        "target",
        "terminated_by",
    )

    def __init__(
        self,
        target: Any = None,
        args: Any = (),
        kwargs: Any = None,
        *,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[Any], object] | None = None,
        on_accept: Callable[[int, float], object] | None = None,
        on_timeout: Callable[[bool, float], object] | None = None,
        soft_s: float | None = None,
        hard_s: float | None = None,
        taken: Taken | None = None,
        name: str = "",
        row: Row | None = None,
    ) -> None:
        self.target, self.args, self.kwargs = target, args, kwargs
        self.callback, self.error_callback = callback, error_callback
        self.on_accept, self.on_timeout = on_accept, on_timeout
        self.soft_s, self.hard_s = soft_s, hard_s
        self.taken, self.name, self.row = taken, name, row
        self.hand_over: Callable[[Taken], None] | None = None
        """Hands a row over to Celery's consumer, if only that can judge it."""
        self.may_go_back = False
        """Whether it may be given back to the ledger if it has to wait."""
        self.request: Any = None
        """Celery's request for a row, once something needs it."""
        self.process: PoolProcess | None = None
        self.number = 0
        self.is_limited = False
        self.terminated_by: int | None = None
        self._accepted = False

    @property
    def task_name(self) -> str:
        """The name of its task; empty for a call of Celery that is none."""
        return self.name or (self.args[0] if self.args and isinstance(self.args[0], str) else "")

    @property
    def task_id(self) -> str:
        """The id of its task, if it is known."""
        lease = self.lease
        return lease.task_id if lease is not None else str(getattr(self.request, "id", ""))

    @property
    def lease(self) -> Lease | None:
        """The lease of a row."""
        return None if self.taken is None else self.taken.lease

    @property
    def message(self) -> tuple[Any, ...]:
        """What its process is sent."""
        if self.row is not None:
            return self.number, False, None, self.row, None
        return self.number, self.on_accept is not None, self.target, self.args, self.kwargs

    def given(self, process: PoolProcess, number: int) -> None:
        """Note that a process was given it."""
        self.process, self.number = process, number

    def returned(self) -> None:
        """Note that it was taken back before it had begun."""
        self.process, self.number = None, 0

    def accept(self, pid: int, at: float) -> None:
        """Note, once, that a process has begun it, at that moment of the monotonic clock."""
        if not self._accepted:
            self._accepted = True
            if self.on_accept is not None:
                self.on_accept(pid, at)

    @property
    def has_begun(self) -> bool:
        """Whether its process has begun it."""
        return self.process is not None and self.process.began(self) is not None

    def terminate(self, signum: int) -> None:
        """End it if a process runs it now. Celery calls this to terminate a task.

        A task that has not begun is dropped before it begins, since Celery has marked it as revoked.
        """
        process = self.process
        if process is not None and self.has_begun:
            self.terminated_by = signum
            if not process.terminate(self, signum):
                self.terminated_by = None

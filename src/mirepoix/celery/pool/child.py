"""A process of the direct pool: it runs the jobs of its parent, one after the other."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections import deque
from typing import Any

from billiard.einfo import ExceptionInfo
from billiard.pool import MaybeEncodingError
from celery.concurrency.prefork import process_destructor, process_initializer
from celery.utils.log import get_logger

from mirepoix.celery import private
from mirepoix.celery.pool.frames import READ_AT_ONCE, Reader, packed
from mirepoix.celery.pool.page import Page
from mirepoix.celery.pool.row import Unsuitable, is_short, run_row
from mirepoix.celery.pool.soft_limit import SoftLimit
from mirepoix.celery.tracing import peak_memory_kb

logger = get_logger("mirepoix.pool")

READY = "ready"
LEAVES = "leaves"
"""It begins nothing more, and exits when what it runs has ended."""
STACK = "stack"
"""The parent asks for the stack of a coroutine, in place of a job."""
CANCELLED = "cancelled"
"""A coroutine that was terminated has ended."""
BEGUN = "begun"
RETURNED = "returned"
SUCCEEDED = "succeeded"
"""A row's success that leaves nothing to record but itself: whether it is recorded already, and its run time."""
RAISED = "raised"
UNSUITABLE = "unsuitable"
"""What a process reports, each with the number of the job, a value, and how many seconds the job took."""

EX_WORN_OUT = 155
"""The exit code of a process that has run its share of tasks, or uses too much memory. Another takes its place."""


class Child:
    """The life of one process, from its fork to its exit. It begins a job only if the parent has not recalled it."""

    def __init__(
        self,
        app: Any,
        hostname: str,
        page: Page,
        slot: int,
        sock: socket.socket,
        most_tasks: int | None,
        most_memory_kb: int | None,
    ) -> None:
        self._app, self._hostname = app, hostname
        self._page, self._slot, self._socket = page, slot, sock
        self._most_tasks, self._most_memory_kb = most_tasks, most_memory_kb
        self._reader = Reader()
        self._jobs: deque[Any] = deque()
        self._limit = SoftLimit(page, slot)

    def run(self) -> int:
        """Run jobs until the parent says that there are no more, or is gone, or this process is worn out."""
        process_initializer(self._app, self._hostname)
        if (number := private.soft_limit_signal()) is not None:
            signal.signal(number, self._limit)
        code = os.EX_SOFTWARE
        try:
            code = self._work()
        finally:
            process_destructor(os.getpid(), code)
        return code

    def _work(self) -> int:
        try:
            self._report(READY)
            done = 0
            while True:
                while not self._jobs:
                    arrived = self._socket.recv(READ_AT_ONCE)
                    if not arrived:
                        return os.EX_OK
                    for jobs in self._reader.feed(arrived):
                        self._jobs.extend(jobs)
                job = self._jobs.popleft()
                if job is None:
                    return os.EX_OK
                if not self._page.begin(self._slot, job[0]):
                    self._report(READY)  # it was recalled, perhaps because this process was frozen
                    continue
                leaves = self._do(*job)
                done += 1
                if leaves is not None:
                    return leaves
                if self._is_worn_out(done):
                    return EX_WORN_OUT
        except (BrokenPipeError, ConnectionResetError):  # the parent is gone
            return os.EX_OK

    def _do(self, number: int, is_reported: bool, target: Any, args: Any, kwargs: Any) -> int | None:
        """Run one job, and report its end. Return the exit code if the job has asked this process to exit."""
        if is_reported:
            self._report(BEGUN, number, os.getpid())
        began_at = time.monotonic()
        leaves: int | None = None
        what: str
        value: Any
        try:
            self._limit.number = number
            value = run_row(self._app, self._hostname, args) if target is None else target(*args, **kwargs)
            self._limit.number = 0
            what = RETURNED
        except Unsuitable as error:
            self._limit.number = 0
            what, value = UNSUITABLE, str(error)
        except BaseException as error:  # noqa: BLE001 (each is the outcome of the job)
            self._limit.number = 0
            what, value = RAISED, ExceptionInfo()
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                leaves = _exit_code(error)
        self._page.end(self._slot, number)
        if what == RETURNED and target is None and not value[0] and is_short(value[1]):
            what, value = SUCCEEDED, (value[1].is_recorded, value[2])
        self._report(what, number, value, time.monotonic() - began_at)
        return leaves

    def _report(self, what: str, number: int = 0, value: Any = None, took_s: float = 0.0) -> None:
        try:
            frame = packed((what, number, value, took_s))
        except Exception as error:  # noqa: BLE001 (the user's value may raise anything)
            _, _, trace = sys.exc_info()
            wrapped = MaybeEncodingError(error, value)
            frame = packed((RAISED, number, ExceptionInfo((MaybeEncodingError, wrapped, trace)), took_s))
        self._send(frame)

    def _send(self, frame: bytes) -> None:
        self._socket.sendall(frame)

    def _is_worn_out(self, done: int) -> bool:
        if self._most_tasks is not None and done >= self._most_tasks:
            return True
        if not self._most_memory_kb:
            return False
        used_kb = peak_memory_kb()
        if used_kb <= self._most_memory_kb:
            return False
        logger.warning(
            "this process used %d KiB, more than worker_max_memory_per_child (%d KiB). Another takes its place.",
            used_kb,
            self._most_memory_kb,
        )
        return True


def _exit_code(error: BaseException) -> int:
    code = getattr(error, "code", None)
    if code is None:
        return os.EX_OK
    return code if isinstance(code, int) else 1

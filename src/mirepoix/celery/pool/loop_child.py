"""A process of the asyncio pool: it runs the coroutines of its jobs side by side, in one event loop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from billiard.einfo import ExceptionInfo
from celery.utils.log import get_logger

from mirepoix.celery import private
from mirepoix.celery.async_def import is_coroutine
from mirepoix.celery.coroutines import is_own_code
from mirepoix.celery.pool import coroutine_stack, task_context, uvloop
from mirepoix.celery.pool.child import (
    BEGUN,
    CANCELLED,
    EX_WORN_OUT,
    LEAVES,
    RAISED,
    READY,
    RETURNED,
    STACK,
    SUCCEEDED,
    UNSUITABLE,
    Child,
)
from mirepoix.celery.pool.frames import READ_AT_ONCE, Writer
from mirepoix.celery.pool.in_loop import InLoop, Terminated, new_task
from mirepoix.celery.pool.row import Unsuitable, is_short, run_row

logger = get_logger("mirepoix.pool")

BEAT_S = 0.05
"""How often the process notes that its loop turns."""

BESIDE = 4
"""How many threads record outcomes that the parent does not record. Each may need a connection to the database."""

CANCEL_FOR_S = 1.0
"""How long asyncio tasks that were left behind may clean up when the process ends."""


class LoopChild(Child):
    """The life of one process. A ``def`` task runs in a thread; Celery's tracer of a coroutine runs in the loop."""

    def __init__(self, *args: Any, at_once: int) -> None:
        super().__init__(*args)
        self._at_once = at_once
        self._running: dict[int, InLoop | None] = {}
        """What runs, by number. None: in a thread."""
        self._done = 0
        self._code: int | None = None
        """The exit code, once it begins nothing more."""
        self._limit: Any = self._on_signal

    # ---- its life

    def _work(self) -> int:
        task_context.install(self._app)
        gc.freeze()  # hundreds of coroutines make many objects, and each full collection would look at the app's too
        loop = self._loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.set_task_factory(new_task)
        if (number := private.soft_limit_signal()) is not None:
            # asyncio's own handler makes a signal wake the loop, and ours replaces its Python part.
            loop.add_signal_handler(number, _nothing)
            signal.signal(number, self._on_signal)
        self._beside = ThreadPoolExecutor(BESIDE, "outcomes")
        self._threads = ThreadPoolExecutor(self._at_once, "def")
        self._socket.setblocking(False)
        self._writer = Writer(self._socket)
        loop.add_reader(self._socket.fileno(), self._on_readable)
        loop.call_soon(self._beat)
        loop.call_soon(self._report, READY)
        while self._code is None or self._running:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # asyncio lets it out of the loop if an asyncio task raises it. What awaits that task gets it as well.
                logger.warning("%s in an asyncio task or a callback does not end the process", type(error).__name__)
        self._close()
        return self._code

    def _beat(self) -> None:
        self._page.execute(self._slot, 0)
        self._loop.call_later(BEAT_S, self._beat)

    def _leave(self, code: int) -> None:
        if self._code is None:
            self._code = code
        if not self._running:
            self._loop.stop()

    def _close(self) -> None:
        loop = self._loop
        loop.remove_reader(self._socket.fileno())
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=CANCEL_FOR_S))
        loop.run_until_complete(loop.shutdown_asyncgens())
        self._socket.setblocking(True)
        with suppress(OSError):  # the parent is gone
            self._writer.flush()
        loop.close()

    # ---- the socket

    def _on_readable(self) -> None:
        try:
            arrived = self._socket.recv(READ_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            arrived = b""
        if not arrived:  # the parent is gone
            self._loop.remove_reader(self._socket.fileno())
            self._leave(os.EX_OK)
            return
        is_passed_over = False
        for jobs in self._reader.feed(arrived):
            for job in jobs:
                if job is None:
                    self._leave(os.EX_OK)
                elif job[0] == STACK:
                    self._write_stack(*job[1:])
                elif self._code is None:  # else the parent takes it back
                    is_passed_over |= not self._begin(*job)
        if is_passed_over:  # they were recalled, perhaps because the loop was blocked
            self._report(READY)

    def _send(self, frame: bytes) -> None:
        try:
            self._writer.send(frame)
        except OSError:  # the parent is gone, which ends the loop
            return
        if self._writer.is_behind:
            self._loop.add_writer(self._socket.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        try:
            self._writer.flush()
        except OSError:
            self._loop.remove_writer(self._socket.fileno())
            return
        if not self._writer.is_behind:
            self._loop.remove_writer(self._socket.fileno())

    # ---- jobs

    def _begin(self, number: int, is_reported: bool, target: Any, args: Any, kwargs: Any) -> bool:
        if not self._page.begin(self._slot, number):
            return False
        self._done += 1
        if is_reported:
            self._report(BEGUN, number, os.getpid())
        call = partial(run_row, self._app, self._hostname, args) if target is None else partial(target, *args, **kwargs)
        run = partial(self._run, number, call, is_row=target is None)
        if args and isinstance(args[0], str) and is_coroutine(self._app.tasks.get(args[0])):
            attempt = self._running[number] = InLoop(self._page, self._slot, number, self._beside)
            task = self._loop.create_task(attempt.run(run))
            task.add_done_callback(_raise)
        else:
            self._running[number] = None
            self._threads.submit(run)
        if self._most_tasks is not None and self._done >= self._most_tasks:
            self._wear_out()
        return True

    def _run(self, number: int, call: Callable[[], Any], *, is_row: bool) -> None:
        began_at = time.monotonic()
        what: str
        value: Any
        try:
            what, value = RETURNED, call()
        except Unsuitable as error:
            what, value = UNSUITABLE, str(error)
        except Terminated:
            what, value = CANCELLED, None
        except BaseException:  # noqa: BLE001 (each is the outcome of the job)
            what, value = RAISED, ExceptionInfo()
        self._page.end(self._slot, number)
        if what == RETURNED and is_row and not value[0] and is_short(value[1]):
            what, value = SUCCEEDED, (value[1].is_recorded, value[2])
        over = partial(self._over, what, number, value, time.monotonic() - began_at)
        if self._running[number] is None:
            self._loop.call_soon_threadsafe(over)
        else:
            over()

    def _over(self, what: str, number: int, value: Any, took_s: float) -> None:
        self._report(what, number, value, took_s)
        del self._running[number]
        if self._code is not None:
            self._leave(self._code)
        elif self._is_worn_out(0):
            self._wear_out()

    def _wear_out(self) -> None:
        self._report(LEAVES)
        self._leave(EX_WORN_OUT)

    def _write_stack(self, number: int, until: float) -> None:
        attempt = self._running.get(number)
        if attempt is not None and time.monotonic() < until:
            self._app.mirepoix.worker.stacks.write(coroutine_stack.of_attempt(attempt))

    # ---- interruptions

    def _on_signal(self, signum: int, frame: Any) -> None:
        """Handle the signal of the soft time limit: the page shows which jobs it was sent for."""
        in_its_code: InLoop | None = None
        for number, attempt in tuple(self._running.items()):
            why = self._page.interruption(self._slot, number)
            if not why or attempt is None or attempt.interruption:
                continue
            attempt.interruption = why
            if attempt.coroutine is not None and is_own_code(frame, attempt.coroutine):
                in_its_code = attempt
            else:
                self._loop.call_soon_threadsafe(attempt.cancel)
        if in_its_code is not None:
            raise in_its_code.error()


def _raise(task: asyncio.Task[None]) -> None:
    """Report an error of our own, which no job can have raised."""
    if not task.cancelled() and task.exception() is not None:
        logger.error("an attempt ended outside of its tracer", exc_info=task.exception())


def _nothing() -> None:
    """Wake up."""

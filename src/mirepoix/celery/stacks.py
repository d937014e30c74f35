"""Ask a worker, by Celery's remote control, for the Python stack of a task that it runs now.

The worker's parent sends a signal to the task's process, and `faulthandler` writes the stack there, in C and without
running Python: also if the process waits in a library or in a lock. It interrupts no call, and it writes files, lines
and functions, and no values. The signal is sent only to a process that catches it, because it would kill others.

A worker that is frozen, or that runs in the solo pool, gives no answer; the caller waits for it no longer than it asked
for. The parent waits for at most `DUMP_S` for the process.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery.app.control import Control
from kombu.exceptions import OperationalError
from kombu.pidbox import Mailbox

COMMAND = "mirepoix_stack"
ANSWER_S = 3.0
"""How long to wait for a worker's answer by default."""

DUMP_S = 1.0
"""How long the worker's parent waits for the stack of a pool process."""

QUIET_S = 0.06
LOOK_EVERY_S = 0.02
"""A stack that has not grown for `QUIET_S` is complete."""

_SIGNAL = getattr(signal, "SIGRTMAX", 0) - 7
"""A real-time signal: programs use the others. It is below zero where there is none."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The answer. *text* is the stack, or empty; then *trouble* says why."""

    text: str = ""
    trouble: str = ""
    pid: int | None = None


class Stacks:
    """Writes the stacks of this worker. Make it before the pool forks, so that its processes inherit the handler."""

    def __init__(self, *, is_forking: bool) -> None:
        self._lock = threading.Lock()
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (it lives as long as the worker)
        # Its processes share one position, which truncating does not move. What is appended needs none.
        fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) | os.O_APPEND)
        self._unanswered: set[int] = set()
        """Processes that may still write what an earlier request asked for."""
        self._is_registered = is_forking and _SIGNAL > 0
        if self._is_registered:
            faulthandler.register(_SIGNAL, self._file, all_threads=True, chain=False)

    def close(self) -> None:
        """End this, when the pool is gone."""
        if self._is_registered:
            faulthandler.unregister(_SIGNAL)
        self._file.close()

    def of_process(self, pid: int) -> Stack:
        """Return the stacks of the threads of a pool process."""
        found = _status(pid)
        if not _has_signal(found, "SigCgt"):
            return Stack(trouble=f"process {pid} cannot be asked: it does not catch the signal", pid=pid)
        if found.get("State", "")[:1] in ("T", "t"):
            return Stack(trouble=f"process {pid} gave no answer: it is stopped", pid=pid)
        self._unanswered = {other for other in self._unanswered if _has_signal(_status(other), "SigPnd", "ShdPnd")}
        if self._unanswered:
            return Stack(trouble=f"an earlier request to process {min(self._unanswered)} is not answered yet", pid=pid)
        with self._lock:
            self._file.truncate(0)
            try:
                os.kill(pid, _SIGNAL)
            except ProcessLookupError:
                return Stack(trouble=f"process {pid} has ended", pid=pid)
            text = self._written()
        if not text:
            self._unanswered.add(pid)
            return Stack(trouble=f"process {pid} gave no answer in {DUMP_S:g} s: it waits in the kernel", pid=pid)
        return Stack(text, pid=pid)

    def of_coroutine(self, pid: int, ask: Callable[[float], bool]) -> Stack | None:
        """Return the stack that the process writes itself after *ask*, or that of its threads if its loop is blocked.

        None if *ask* cannot ask it.
        """
        with self._lock:
            self._file.truncate(0)
            if not ask(time.monotonic() + DUMP_S / 2):
                return None
            text = self._written()
        return Stack(text, pid=pid) if text else self.of_process(pid)

    def write(self, text: str) -> None:
        """Write a stack for the parent, in a process of its pool."""
        os.write(self._file.fileno(), text.encode())

    def of_threads(self) -> Stack:
        """Return the stacks of all threads of this process."""
        with self._lock:
            self._file.truncate(0)
            faulthandler.dump_traceback(self._file, all_threads=True)
            return Stack(self._read(), pid=os.getpid())

    def _written(self) -> str:
        until = time.monotonic() + DUMP_S
        size, grew_at = 0, time.monotonic()
        while (now := time.monotonic()) < until and not (size and now - grew_at > QUIET_S):
            time.sleep(LOOK_EVERY_S)
            found = os.fstat(self._file.fileno()).st_size
            if found != size:
                size, grew_at = found, time.monotonic()
        return self._read()

    def _read(self) -> str:
        return os.pread(self._file.fileno(), 1_000_000, 0).decode("utf-8", "replace")


class _Mailbox(Mailbox):  # type: ignore[misc]
    """A mailbox with a queue of its own for the answers to one request.

    kombu names the queue by the address of an object, so requests may share one. Then a late answer to the first
    request ends the wait of the second.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._oid = str(uuid4())

    @property
    def oid(self) -> str:
        return self._oid


class _Control(Control):  # type: ignore[misc]
    Mailbox = _Mailbox


def answer_requests() -> None:
    """Let this worker answer `ask`. It registers a command of Celery's remote control, once."""
    from celery.worker.control import Panel, inspect_command

    if COMMAND not in Panel.data:
        inspect_command(name=COMMAND, visible=False)(_answer)


def ask(app: Any, worker: str, task_id: str, wait_s: float = ANSWER_S) -> Stack:
    """Ask the worker of that name. It returns after *wait_s* at the latest, plus what it takes to send.

    Raises the errors of the ledger's driver if the ledger is away.
    """
    try:
        replies = _Control(app).broadcast(
            COMMAND, arguments={"task_id": task_id}, destination=[worker], reply=True, timeout=wait_s, limit=1
        )
    except (OperationalError, OSError) as error:
        return Stack(trouble=f"worker {worker} cannot be asked: {type(error).__name__}: {error}")
    answers = [answer for reply in replies or () for answer in reply.values()]
    if not answers:
        silent = "it is frozen or cut off, busy in the solo pool, or its remote control is off"
        return Stack(trouble=f"worker {worker} gave no answer in {wait_s:g} s: {silent}")
    (answer,) = answers[:1]
    if isinstance(answer, dict) and isinstance(answer.get("stack"), str):
        return Stack(answer["stack"], str(answer.get("trouble") or ""), answer.get("pid"))
    why = answer.get("error") if isinstance(answer, dict) else answer
    return Stack(trouble=f"worker {worker} cannot answer: {why}")


def _answer(state: Any, task_id: str, **_: Any) -> dict[str, Any]:
    """Answer in the worker's parent."""
    worker = state.app.mirepoix.worker
    held = next((one for one in worker.leases.held.running() if one.lease.task_id == task_id), None)
    if held is None:
        found = Stack(trouble="the task does not run in this worker now")
    elif worker.is_forking:
        if held.pid is None:
            found = Stack(trouble="its process is not known yet")
        else:
            lane = worker.lane
            asked = (
                None if lane is None else worker.stacks.of_coroutine(held.pid, partial(lane.ask_stack, held.lease.key))
            )
            found = asked or worker.stacks.of_process(held.pid)
            if found.text and worker.leases.held.get(held.lease.key) is None:
                found = Stack(trouble="it ended while it was asked")
    elif worker.leases.worker.pool == "thread":
        found = worker.stacks.of_threads()
    else:
        found = Stack(trouble=f"the pool {worker.leases.worker.pool!r} cannot be asked: it runs tasks in greenlets")
    return {"stack": found.text, "trouble": found.trouble, "pid": found.pid}


def _status(pid: int) -> dict[str, str]:
    """Return what Linux says about a process; nothing if it has ended, or on another system."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _has_signal(status: dict[str, str], *masks: str) -> bool:
    """Return whether one of these masks of a process has the signal. Where none is known, it does not."""
    return _SIGNAL > 0 and any(int(status.get(mask, "0"), 16) >> (_SIGNAL - 1) & 1 for mask in masks)

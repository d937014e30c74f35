"""The direct pool, as Celery knows it: ``celery worker -P mirepoix``, or ``worker_pool`` in the configuration."""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from billiard.common import human_status
from billiard.einfo import ExceptionInfo
from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery.concurrency.base import BasePool
from celery.exceptions import ImproperlyConfigured
from celery.utils.log import get_logger

from mirepoix.celery import private
from mirepoix.celery.pool.child import BEGUN, LEAVES, READY, RETURNED, Child
from mirepoix.celery.pool.job import Job
from mirepoix.celery.pool.lane import Lane
from mirepoix.celery.pool.page import Page
from mirepoix.celery.pool.process import PoolProcess
from mirepoix.celery.request import LedgerRequest

logger = get_logger("mirepoix.pool")

SLOTS = 1_024
"""The most processes of one pool."""

LOOK_S = 0.02
"""How often the pool looks, while jobs wait behind others, whether one of these is slow."""

STUCK_S = 0.1
"""After this time, a process that has begun nothing of what it was given is given no more."""

GIVE_BACK_S = 0.1
"""If no job has ended for this time, rows that wait for a process go back to the ledger, for other workers."""

RECALL_FOR_S = 0.05
"""How long the pool tries to take jobs back from a process that is beginning one, which takes microseconds."""

RESTART_PAUSE_S = 1.0
"""How long the pool waits before it replaces a process that died before it was ready."""

TERMINATE_FOR_S = 2.0
"""How long a cold shutdown waits for processes that it sent SIGTERM, before it kills them."""


class TaskPool(BasePool):  # type: ignore[misc]
    """Processes that run tasks as Celery's prefork pool does, and take the rows of the ledger without its detours.

    All of Celery's promises for prefork hold: time limits, revoke, terminate, ``max_tasks_per_child``,
    ``max_memory_per_child``, autoscale, remote control, events, signals and the kinds of shutdown.

    It needs ``os.fork``, an app with Mirepoix, and a transport that works in Celery's event loop.
    """

    uses_semaphore = False
    signal_safe = False

    name = "mirepoix"
    """Its name on the command line and in the ledger."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not hasattr(os, "fork"):
            raise ImproperlyConfigured(
                f"The pool {self.name!r} needs os.fork(). Use -P threads or -P solo on this system."
            )
        if getattr(self.app, "mirepoix", None) is None:
            raise ImproperlyConfigured(f"The pool {self.name!r} needs mirepoix.install(app). Or use -P prefork.")
        if self.options.get("threads", True):
            raise ImproperlyConfigured(
                f"The pool {self.name!r} works with the ledger, Redis and RabbitMQ. The transport of this broker does "
                "not work in Celery's event loop. Use -P prefork."
            )
        self._page = self._new_page()
        self._processes: list[PoolProcess] = []
        self._waiting: deque[Job] = deque()
        self._hub: Any = None
        self._look: Any = None
        self._limit_timers: dict[Job, Any] = {}
        self._moved_at = time.monotonic()
        """When a job ended last, was added to an empty queue, or was about to be begun."""
        self._is_closing = False
        self._wanted = self._processes_wanted()
        self.lane = Lane(self)
        """The way of a leased row into this pool, without a message and a request."""

    def _new_page(self) -> Page:
        return Page(SLOTS)

    def _processes_wanted(self) -> int:
        return int(self.limit)

    # ---- the life of the pool

    def on_start(self) -> None:
        for _ in range(self._wanted):
            self._spawn()

    def did_start_ok(self) -> bool:
        return not self._processes or any(process.exitcode is None for process in self._processes)

    def register_with_event_loop(self, loop: Any) -> None:
        """Watch the processes in Celery's event loop. Celery calls this again after each lost connection."""
        self._hub = loop
        self._look = None
        for process in self._processes:
            self._watch(process)
        for job, timer in tuple(self._limit_timers.items()):
            timer.cancel()
            self._await_limit(job)
        self._look_soon()

    def maintain_pool(self, *_: Any, **__: Any) -> None:
        """Find dead processes, and start what is missing."""
        for process in tuple(self._processes):
            if process.exitcode is not None:
                self._on_exit(process)
        while not self._is_closing and len(self._active()) < self._wanted:
            self._spawn()

    def grow(self, n: int = 1) -> None:
        """Start *n* more processes."""
        self._wanted += n
        self.maintain_pool()
        self._pump()

    def check_scaling(self) -> None:
        """Raise ConfigurationError if Celery's autoscaler cannot work with it."""

    def shrink(self, n: int = 1) -> None:
        """End *n* processes that run nothing. Raises ValueError if fewer are idle."""
        self._recall(self._processes)
        idle = [process for process in self._active() if not process.jobs]
        if len(idle) < n:
            self._pump()
            raise ValueError("Can't shrink pool. All processes busy!")
        self._wanted -= n
        for process in idle[:n]:
            process.leave()
        self._pump()

    def restart(self) -> None:
        """Replace each process, after the job that it runs."""
        self._recall(self._processes)
        for process in self._active():
            process.leave()
        self.maintain_pool()
        self._pump()

    def on_close(self) -> None:
        self._is_closing = True

    def on_stop(self) -> None:
        """Wait for the jobs that have begun and for Celery's own calls, then end the processes.

        The event loop does not run any more.
        """
        self._is_closing = True
        self._recall(self._processes)
        self._waiting = deque(job for job in self._waiting if job.taken is None)
        self._pump()
        while self._processes:
            for process in self._processes:
                if not process.jobs and not self._waiting:
                    process.leave()
            self._wait(0.1)
            if self._hub is not None:
                self._hub.fire_timers(max_timers=100)
        self._page.close()

    def on_terminate(self) -> None:
        """End the processes now, with what they run."""
        self._is_closing = True
        self._waiting.clear()
        for process in self._processes:
            process.is_leaving = True
            process.kill(signal.SIGTERM)
        until = time.monotonic() + TERMINATE_FOR_S
        while self._processes and time.monotonic() < until:
            self._wait(0.05)
        for process in tuple(self._processes):
            process.kill()
        while self._processes:
            self._wait(0.05)
        self._page.close()

    def _wait(self, for_s: float) -> None:
        """Wait for reports and exits, without Celery's event loop."""
        watched: dict[int, PoolProcess] = {}
        for process in self._processes:
            watched[process.end.fileno()] = process
            if process.exit_fd is not None:
                watched[process.exit_fd] = process
        poller = select.poll()
        for fd in watched:
            poller.register(fd, select.POLLIN)
        for fd, _ in poller.poll(for_s * 1_000):
            process = watched[fd]
            if not process.is_dead:
                self._on_report(process)
        for process in tuple(self._processes):
            process.flush()
            if process.exitcode is not None:
                self._on_exit(process)

    # ---- what Celery asks for

    def apply_async(self, target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Job:
        """Let a process call ``target(*args, **kwargs)``, with the options of billiard's ``apply_async``."""
        callback = options.get("callback")
        job = Job(
            target,
            args or (),
            kwargs or {},
            callback=callback,
            error_callback=options.get("error_callback"),
            on_accept=options.get("accept_callback"),
            on_timeout=options.get("timeout_callback"),
            soft_s=options.get("soft_timeout") or self.options.get("soft_timeout"),
            hard_s=options.get("timeout") or self.options.get("timeout"),
        )
        owner = getattr(callback, "__self__", None)
        job.request = owner if isinstance(owner, LedgerRequest) else None
        self.add([job])
        return job

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Do nothing: Celery also calls `Job.terminate`, which cannot meet another job of the same process."""

    def flush(self) -> None:
        """Forget the jobs that no process has begun. Celery calls this when its connection is lost or closed."""
        self._recall(self._processes)
        self._waiting.clear()

    def ask_stack(self, key: tuple[str, int], until: float) -> bool:
        """Ask a process to write the stack of an attempt, until then; False if only a signal can get it."""
        return False

    def places_now(self, most: int) -> int:
        """How many tasks can run at once now, or could if the pool had *most* processes."""
        return max(self._wanted, most)

    def refusal(self, task: Any) -> str | None:
        """Why it does not run *task*; None if it does."""
        return None

    def _get_info(self) -> dict[str, Any]:
        info: dict[str, Any] = super()._get_info()
        info.update(
            {
                "max-concurrency": self._wanted,
                "processes": [process.pid for process in self._processes],
                "max-tasks-per-child": self.options.get("maxtasksperchild") or "N/A",
                "put-guarded-by-semaphore": False,
                "timeouts": (self.options.get("soft_timeout") or 0, self.options.get("timeout") or 0),
                "writes": "N/A",
            }
        )
        return info

    @property
    def is_closing(self) -> bool:
        """Whether the worker stops."""
        return self._is_closing

    @property
    def pids(self) -> list[int]:
        """The ids of its processes. Any thread may ask."""
        return [process.pid for process in tuple(self._processes)]

    @property
    def num_processes(self) -> int:
        """How many processes the pool has, or is about to have."""
        return self._wanted

    @property
    def places(self) -> int:
        """How many tasks it can run at once."""
        return self._wanted

    # ---- jobs

    def add(self, jobs: Iterable[Job]) -> None:
        """Let processes run these jobs, as soon as one is free."""
        if not self._waiting:
            self._moved_at = time.monotonic()
        self._waiting.extend(jobs)
        self._pump()

    @property
    def jobs(self) -> list[Job]:
        """All jobs that have not ended: those of the processes, and those that wait for one."""
        return self.given + list(self._waiting)

    @property
    def given(self) -> list[Job]:
        """The jobs that processes have: those that run, and those behind them."""
        return [job for process in tuple(self._processes) for job in tuple(process.jobs.values())]

    def begun(self) -> list[tuple[Job, float, int]]:
        """The jobs that run now: each with when it began, by the monotonic clock, and its process.

        Any thread may ask.
        """
        return [(job, at, process.pid) for process in tuple(self._processes) for job, at in process.running()]

    def recall(self) -> None:
        """Take back all jobs that no process has begun. They wait until `resume`."""
        self._recall(self._processes)

    def resume(self) -> None:
        """Give waiting jobs to processes."""
        self._pump()

    def _recall(self, processes: Sequence[PoolProcess]) -> None:
        """Take back what these have not begun. What a process that was frozen while it began a job has, it keeps."""
        for process in processes:
            until = time.monotonic() + RECALL_FOR_S
            while (back := process.recall()) is None and time.monotonic() < until:
                time.sleep(RECALL_FOR_S / 100)
            self._waiting.extendleft(reversed(back or ()))

    def _pump(self) -> None:
        """Give waiting jobs to processes: first to those that have least to do."""
        free = sorted((p for p in self._processes if p.room > 0), key=lambda process: len(process.jobs))
        for process in free if self._waiting else ():
            share = min(process.share(len(self._waiting), len(free)), self._room())
            batch: list[Job] = []
            while self._waiting and len(batch) < share:
                job = self._waiting.popleft()
                if self.lane.may_begin(job):
                    batch.append(job)
            if batch:
                self._give(process, batch)
        self._look_soon()

    def _room(self) -> int:
        """How many more jobs all processes together can be given."""
        return len(self._waiting)

    def _give(self, process: PoolProcess, batch: list[Job]) -> None:
        process.give(batch)
        if process.is_behind and self._hub is not None:
            self._hub.add_writer(process.write_fd, self._on_writable, process)
        for job in batch:
            if job.soft_s or job.hard_s:
                self._await_limit(job)

    # ---- processes

    def _active(self) -> list[PoolProcess]:
        return [process for process in self._processes if not process.is_leaving and process.exitcode is None]

    def _spawn(self) -> None:
        used = {process.slot for process in self._processes}
        slot = next((slot for slot in range(self._page.slots) if slot not in used), None)
        if slot is None:
            raise ImproperlyConfigured(f"The pool {self.name!r} has at most {self._page.slots} processes.")
        process = self._new_process(slot)
        process.start(self._child, lambda: self._processes)
        self._processes.append(process)
        self._watch(process)

    def _new_process(self, slot: int) -> PoolProcess:
        return PoolProcess(self._page, slot, slot)

    def _child(self, slot: int, sock: Any) -> Child:
        return Child(*self._child_options(slot, sock))

    def _child_options(self, slot: int, sock: Any) -> tuple[Any, ...]:
        app, hostname = self.options["initargs"]
        options = self.options
        limits = options.get("maxtasksperchild"), options.get("max_memory_per_child")
        return app, hostname, self._page, slot, sock, *limits

    def _watch(self, process: PoolProcess) -> None:
        if self._hub is None or process.is_dead:
            return
        self._hub.add_reader(process.end.fileno(), self._on_report, process)
        if process.exit_fd is not None:
            self._hub.add_reader(process.exit_fd, self._on_report, process)
        if process.is_behind:
            self._hub.add_writer(process.write_fd, self._on_writable, process)

    def _on_writable(self, process: PoolProcess) -> None:
        process.flush()
        if not process.is_behind:
            self._hub.remove_writer(process.write_fd)

    def _on_report(self, process: PoolProcess) -> None:
        leaves = False
        for what, number, value, took_s in process.read():
            if what == READY:  # also when it has passed over a job that was recalled
                process.is_ready = True
            elif what == LEAVES:
                process.is_leaving = leaves = True
            elif what == BEGUN:
                job = process.jobs.get(number)
                if job is not None:
                    job.accept(value, process.begun_at(number))
            else:
                job = process.ended(number, took_s)
                if job is not None:
                    self._on_end(process, job, what, value)
        if process.exitcode is not None:
            self._on_exit(process)
            return
        if leaves:  # only now: if it has exited, this settles its jobs, and the ends of some were just read
            self._recall([process])
            self.maintain_pool()
        if process.is_cut:
            self._on_cut(process)
        self._pump()

    def _on_cut(self, process: PoolProcess) -> None:
        """Give a process that reports nothing more no more jobs."""
        if self._hub is None:
            return
        process.is_leaving = True
        self._hub.remove_reader(process.end.fileno())
        if process.exit_fd is None:
            self._hub.call_later(LOOK_S, self.maintain_pool)

    def _on_end(self, process: PoolProcess, job: Job, what: str, value: Any) -> None:
        self._forget_limit(job)
        self._moved_at = time.monotonic()
        if job.taken is not None:
            self._call(self.lane.ended, job, process, what, value)
        else:
            job.accept(process.pid, time.monotonic())
            self._call(job.callback if what == RETURNED else job.error_callback, value)

    def _on_exit(self, process: PoolProcess) -> None:
        """Settle what a dead process had: what it ran is lost, and jobs that it had not begun wait again."""
        if process.is_dead:
            return
        code = process.exitcode
        for what, number, value, took_s in process.read():  # what it reported before it died
            job = process.ended(number, took_s) if what not in (READY, BEGUN, LEAVES) else None
            if job is not None:
                self._on_end(process, job, what, value)
        running = process.running()
        culprit = process.culprit(job for job, _ in running)
        begun = {job for job, _ in running}
        back = [job for job in process.jobs.values() if job not in begun]
        process.jobs.clear()
        if self._hub is not None:
            self._hub.remove(process.end.fileno())
            self._hub.remove(process.write_fd)
            if process.exit_fd is not None:
                self._hub.remove(process.exit_fd)
        process.close()
        self._processes.remove(process)
        for job in back:
            job.returned()
        self._waiting.extendleft(reversed(back))
        for job, at in running:
            if job is culprit:
                self._on_lost(job, process, at, code)
        self._on_lost_beside([(job, at) for job, at in running if job is not culprit], process, culprit, code)
        if not self._is_closing:
            self._replace(process, code)
        self._pump()

    def _replace(self, process: PoolProcess, code: int | None) -> None:
        if process.is_ready or process.is_leaving or self._hub is None:
            self.maintain_pool()
            return
        logger.error("process %d of the pool died before it was ready (%s)", process.pid, human_status(code))
        self._hub.call_later(RESTART_PAUSE_S, self.maintain_pool)

    def _on_lost(self, job: Job, process: PoolProcess, at: float, code: int | None) -> None:
        self._forget_limit(job)
        try:
            if job.terminated_by is not None:
                raise Terminated(-job.terminated_by)
            raise WorkerLostError(f"Worker exited prematurely: {human_status(code)} Job: {job.number}.")
        except (Terminated, WorkerLostError):
            info = ExceptionInfo()
        self._fail(job, process, at, info)

    def _on_lost_beside(
        self, jobs: list[tuple[Job, float]], process: PoolProcess, culprit: Job | None, code: int | None
    ) -> None:
        """Give back jobs that ran in a process that died, without blame. A process that runs one at a time has none."""

    def _fail(self, job: Job, process: PoolProcess, at: float, info: ExceptionInfo) -> None:
        if job.taken is not None:
            self.lane.as_call(job)
        job.accept(process.pid, at)
        self._call(job.error_callback, info)

    def _call(self, callback: Callable[..., object] | None, *args: Any) -> None:
        """Call back. An error of what is called must not end the worker, but a lost connection must reach it."""
        if callback is None:
            return
        try:
            callback(*args)
        except self.callbacks_propagate:
            raise
        except Exception:
            logger.exception("what follows the end of a task failed")

    # ---- slow jobs, and time limits

    def _look_soon(self) -> None:
        is_needed = self._waiting or any(process.has_not_begun_all for process in self._processes)
        if self._hub is not None and self._look is None and is_needed:
            self._look = self._hub.call_later(LOOK_S, self._look_for_slow)

    def _look_for_slow(self) -> None:
        """Take back what waits behind a slow job, and give it to others: here, or through the ledger."""
        self._look = None
        slow = [process for process in self._processes if process.is_slow(LOOK_S) or process.is_stuck(STUCK_S)]
        self._recall(slow)
        self._pump()
        if any(process.will_begin(STUCK_S) for process in self._processes):
            self._moved_at = time.monotonic()
        if self._waiting and time.monotonic() - self._moved_at > GIVE_BACK_S:
            self.lane.give_back([job for job in self._waiting if job.may_go_back])
            self._waiting = deque(job for job in self._waiting if not job.may_go_back)
        self._look_soon()

    def _await_limit(self, job: Job) -> None:
        if self._hub is None:
            return
        at = None if job.process is None else job.process.began(job)
        ran_s = 0.0 if at is None else time.monotonic() - at
        limits = [s - ran_s for s in (None if job.is_limited else job.soft_s, job.hard_s) if s]
        if limits:
            self._limit_timers[job] = self._hub.call_later(max(0.001, min(limits)), self._on_limit, job)

    def _forget_limit(self, job: Job) -> None:
        timer = self._limit_timers.pop(job, None)
        if timer is not None:
            timer.cancel()

    def _on_limit(self, job: Job) -> None:
        self._limit_timers.pop(job, None)
        process = job.process
        if process is None or job.number not in process.jobs:
            return
        at = process.began(job)
        if at is not None:
            ran_s = time.monotonic() - at
            if job.hard_s and ran_s >= job.hard_s:
                self._on_hard_limit(job, process, at)
                return
            if job.soft_s and not job.is_limited and ran_s >= job.soft_s:
                self._on_soft_limit(job, process, at)
        self._await_limit(job)

    def _on_soft_limit(self, job: Job, process: PoolProcess, at: float) -> None:
        job.is_limited = True
        number = private.soft_limit_signal()
        if number is None or not process.limit_softly(job, number):
            return
        if job.taken is not None:
            self.lane.as_call(job)
        job.accept(process.pid, at)
        self._call(job.on_timeout, True, float(job.soft_s or 0))

    def _on_hard_limit(self, job: Job, process: PoolProcess, at: float) -> None:
        """Kill the process, and report the limit. If the job has just ended, its own end counts."""
        if not process.end_with(job, signal.SIGKILL):
            return
        process.jobs.pop(job.number, None)
        try:
            raise TimeLimitExceeded(job.hard_s)
        except TimeLimitExceeded:
            self._fail(job, process, at, ExceptionInfo())
        self._call(job.on_timeout, False, float(job.hard_s or 0))

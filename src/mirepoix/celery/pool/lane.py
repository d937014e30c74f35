"""The short way of a leased row into the direct pool: without a message, a request, or a place in Celery's prefetch.

A row takes it if nothing in the worker would look at its request: no receiver of ``task_received``, no events, no rate
limit, no strategy or request class of the task's own, no revocation and no expiry. Every other row goes through
Celery's consumer, into the same processes. If something needs the request later (a failure, a time limit, remote
control), it is made then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery import signals
from celery.app import trace
from celery.utils.log import get_logger
from celery.worker import state
from celery.worker.request import create_request_cls
from kombu.message import Message

from mirepoix.celery.pool.child import RETURNED, SUCCEEDED, UNSUITABLE
from mirepoix.celery.pool.job import Job
from mirepoix.celery.pool.row import pack
from mirepoix.celery.pool_result import Reported
from mirepoix.celery.request import LedgerRequest
from mirepoix.protocol.canonical import WRITER
from mirepoix.protocol.delivered import as_message
from mirepoix.protocol.options import wrong_limits
from mirepoix.records import AttemptFailure, Completion, Taken
from mirepoix.states import AttemptOutcome

if TYPE_CHECKING:
    from mirepoix.celery.pool.direct import TaskPool
    from mirepoix.celery.pool.process import PoolProcess
    from mirepoix.celery.worker_process import WorkerProcess
    from mirepoix.daemons.leases import Leases

received_logger = get_logger("celery.worker.strategy")

STRATEGY = "celery.worker.strategy:default"


@dataclass(frozen=True, slots=True)
class Plan:
    """How the calls of one task run."""

    request_class: Any
    soft_s: float | None
    hard_s: float | None


class Lane:
    """Decides which rows take the short way, and reports how they ended."""

    def __init__(self, pool: TaskPool) -> None:
        self._pool = pool
        self._consumer: Any = None
        self._plans: dict[str, Plan | None] = {}

    def open(self, consumer: Any) -> None:
        """Learn the tasks of the consumer. Called when it has connected, and when the tasks' strategies changed."""
        self._consumer = consumer
        self._plans = {}

    @property
    def _worker(self) -> WorkerProcess:
        worker: WorkerProcess = self._pool.app.mirepoix.worker
        return worker

    @property
    def _leases(self) -> Leases:
        return self._worker.leases

    def __len__(self) -> int:
        """The number of rows in the pool that took the short way."""
        return sum(job.taken is not None for job in self._pool.jobs)

    @property
    def places(self) -> int:
        """How many tasks may be leased to run at once: Celery's autoscaler may start more processes."""
        most = getattr(self._consumer.controller, "max_concurrency", None) if self._consumer is not None else None
        return self._pool.places_now(most or 0)

    def refusal(self, task: Any) -> str | None:
        """Why the pool does not run *task*; None if it does."""
        return self._pool.refusal(task)

    # ---- into the pool

    def take(
        self, rows: Iterable[Taken], hand_over: Callable[[Taken], None], *, may_go_back: bool = True
    ) -> list[Taken]:
        """Give the rows that can take the short way to the pool; return the others.

        *hand_over* gets a row that only then turns out to be one for Celery's consumer. With *may_go_back*, rows that
        have to wait behind slow tasks are given back to the ledger.
        """
        if self._consumer is None or self._has_observers():
            return list(rows)
        others: list[Taken] = []
        jobs: list[Job] = []
        held = self._leases.held
        for taken in rows:
            try:
                job = self._job(taken)
            except Exception:  # noqa: BLE001 (the row may hold anything: Celery's consumer judges it)
                job = None
            if job is None:
                others.append(taken)
            else:
                held.note_given_to_worker(taken.lease.key)
                job.hand_over, job.may_go_back = hand_over, may_go_back
                jobs.append(job)
        if jobs:
            if received_logger.isEnabledFor(logging.INFO):
                for job in jobs:
                    self._log_received(job)
            self._pool.add(jobs)
        return others

    def _has_observers(self) -> bool:
        """Whether something looks at the request of each task when it is received or when it ends."""
        consumer = self._consumer
        events = consumer.event_dispatcher
        sends_events = events and events.enabled and (not events.groups or "task" in events.groups)
        return bool(signals.task_received.receivers or consumer.on_task_message or sends_events)

    def _job(self, taken: Taken) -> Job | None:
        headers = taken.headers
        if not isinstance(headers, dict) or not isinstance(taken.properties, dict) or taken.body_encoding != "utf-8":
            return None
        if taken.written_by != WRITER or taken.expires or headers.get("expires"):
            return None
        task_id = taken.lease.task_id
        if headers.get("id") != task_id or headers.get("task") != taken.name or task_id in state.revoked:
            return None
        if not isinstance(headers.get("shadow") or "", str):
            return None
        if state.revoked_stamps and headers.get("stamped_headers"):
            return None
        name = self._pool.app.mirepoix.catalog.current_name(taken.name)
        plan = self._plan(name)
        if plan is None or self._consumer.task_buckets.get(name):
            return None
        soft_s, hard_s = plan.soft_s, plan.hard_s
        limits = headers.get("timelimit")
        if limits is not None:
            if not isinstance(limits, list) or wrong_limits(limits) is not None:
                return None
            hard_s, soft_s = limits[0] or hard_s, limits[1] or soft_s
        return Job(soft_s=soft_s, hard_s=hard_s, taken=taken, name=name, row=pack(taken, name))

    def _plan(self, name: str) -> Plan | None:
        if name not in self._plans:
            self._plans[name] = self._new_plan(self._pool.app.tasks.get(name))
        return self._plans[name]

    def _new_plan(self, task: Any) -> Plan | None:
        if task is None or task.Strategy != STRATEGY or task.name not in self._consumer.strategies:
            return None
        if task.Request is not LedgerRequest or wrong_limits((task.time_limit, task.soft_time_limit)) is not None:
            return None
        consumer, options = self._consumer, self._pool.options
        made = create_request_cls(
            task.Request, task, self._pool, consumer.hostname, consumer.event_dispatcher, app=self._pool.app
        )
        return Plan(
            made,
            task.soft_time_limit or options.get("soft_timeout"),
            task.time_limit or options.get("timeout"),
        )

    def _log_received(self, job: Job) -> None:
        headers = job.taken.headers if job.taken is not None else {}
        context = {
            "id": headers.get("id"),
            "name": headers.get("shadow") or job.name,
            "args": headers.get("argsrepr", ""),
            "kwargs": headers.get("kwargsrepr", ""),
            "eta": None,
        }
        received_logger.info(trace.LOG_RECEIVED, context, extra={"data": context})

    def may_begin(self, job: Job) -> bool:
        """Whether a waiting job may be given to a process now. If not, it is dropped: it was revoked, or lost."""
        if job.request is not None:
            return not job.request.revoked()
        if job.taken is None:
            return True
        if not self._leases.held.may_begin(job.taken.lease.key):
            return False
        if job.taken.lease.task_id in state.revoked:
            return not self.as_call(job).revoked()
        return True

    def give_back(self, jobs: Iterable[Job]) -> None:
        """Give rows that no process has begun back to the ledger."""
        jobs = list(jobs)
        self._leases.held.abandon([job.taken.lease for job in jobs if job.taken is not None], now=True)
        for job in jobs:
            if job.request is not None:
                state.task_ready(job.request)

    # ---- out of the pool

    def ended(self, job: Job, process: PoolProcess, what: str, value: Any) -> None:
        """Report the end of a row that took the short way."""
        taken = job.taken
        if taken is None:
            return
        if what == UNSUITABLE:
            if self._pool.is_closing or job.hand_over is None:
                self.give_back([job])
            else:
                job.hand_over(taken)
            return
        state.total_count[job.name] += 1
        state.all_total_count[0] += 1
        if what == SUCCEEDED:
            value, what = (0, Reported("", is_recorded=value[0]), value[1]), RETURNED
        if job.request is None and what == RETURNED and not value[0]:
            self._succeeded(taken, process.pid, value[1], value[2])
            return
        self.as_call(job)
        job.accept(process.pid, process.begun_at(job.number))
        if what == RETURNED:
            job.request.on_success(value)
        else:
            job.request.on_failure(value)

    def is_suspect(self, job: Job) -> bool:
        """Whether the job was lost before without a known cause: it runs beside no other such job."""
        held = None if job.lease is None else self._leases.held.get(job.lease.key)
        return held is not None and held.is_suspect

    def lost_beside(self, job: Job, process: PoolProcess, at: float, why: str, suspect_after: int) -> None:
        """Give back, without blame, a job that was not alone in a process that died.

        It becomes a suspect when it was lost *suspect_after* times; 0: never.
        """
        taken = job.taken
        if taken is None:
            if job.request is not None:
                job.accept(process.pid, at)
                job.request.lost_beside(why, suspect_after)
            return
        if job.request is not None:
            state.task_ready(job.request)
        held = self._leases.held
        held.note_begun(taken.lease.key, process.pid, at)
        failure = AttemptFailure(why, "WorkerLostError", pid=process.pid, run_time_s=round(time.monotonic() - at, 6))
        self._leases.note_lost(
            taken.lease.key, failure, outcome=AttemptOutcome.KILLED, is_culprit=False, suspect_after=suspect_after
        )

    def _succeeded(self, taken: Taken, pid: int, shown: Any, runtime: float | None) -> None:
        held = self._leases.held
        lease = taken.lease
        if isinstance(shown, Reported):
            if shown.is_recorded:
                held.forget(lease.key)
                return
            if shown.parts:  # the last part of a chord sends the body, in the name of this member
                request = self.request_of(taken)
                request.succeeded(shown, runtime)
                request.over()
                return
            results = shown.results
        else:
            results = ()
        self._leases.complete(Completion(lease, runtime, self._worker.meter.read(pid), pid=pid, results=results))

    # ---- when Celery's request is needed after all

    def as_call(self, job: Job) -> Any:
        """Make Celery's request for the row, once, and return it. From now on Celery's state names it."""
        if job.request is not None or job.taken is None:
            return job.request
        request = job.request = self.request_of(job.taken)
        request.belongs_to(job)
        job.callback, job.error_callback = request.on_success, request.on_failure
        job.on_accept, job.on_timeout = request.on_accepted, request.on_timeout
        state.task_reserved(request)
        return request

    def request_of(self, taken: Taken) -> Any:
        """Celery's request for a row."""
        name = self._pool.app.mirepoix.catalog.current_name(taken.name)
        plan = self._plan(name)
        message = _message_of(taken, self._pool.app, name)
        consumer = self._consumer
        kind = plan.request_class if plan is not None else LedgerRequest
        return kind(
            message,
            on_ack=_nothing,
            on_reject=_nothing,
            app=self._pool.app,
            hostname=consumer.hostname,
            eventer=consumer.event_dispatcher,
            task=self._pool.app.tasks[name],
            connection_errors=consumer.connection_errors,
            body=message.body,
            headers=message.headers,
            decoded=False,
            utc=self._pool.app.uses_utc_timezone(),
        )

    def show(self) -> None:
        """Make the requests of all rows in the pool. Remote control and others read them from Celery's state."""
        self._pool.recall()
        self.show_begun()
        for job in self._pool.jobs:
            self.as_call(job)
        self._pool.resume()

    def show_begun(self) -> None:
        """Make the requests of the rows that run now. Safe in the handler of a signal."""
        for job, at, pid in self._pool.begun():
            if job.taken is not None:
                self.as_call(job)
                job.accept(pid, at)

    def close(self) -> None:
        """Forget the rows that no process has begun: the connection is lost, or the worker stops."""
        self._pool.flush()

    def note_begun(self) -> None:
        """Note in the leases which attempts have begun. The maintenance thread calls this."""
        held = self._leases.held
        for job, at, pid in self._pool.begun():
            if job.taken is not None:
                held.note_begun(job.taken.lease.key, pid, at)

    def ask_stack(self, key: tuple[str, int], until: float) -> bool:
        """Ask the attempt's process to write its stack until then; False if only a signal can get it."""
        return self._pool.ask_stack(key, until)

    def given_keys(self) -> frozenset[tuple[str, int]]:
        """The attempts that the processes have: those that run, and those behind them. Safe in a signal's handler."""
        return frozenset(job.taken.lease.key for job in self._pool.given if job.taken is not None)


def _message_of(taken: Taken, app: Any, name: str) -> Any:
    """The message of a row, which needs no channel: the worker may be stopping."""
    made = as_message(taken, app, lambda _: name)
    properties = made["properties"]
    return Message(
        body=made["body"],
        content_type=made["content-type"],
        content_encoding=made["content-encoding"],
        delivery_info=properties["delivery_info"],
        delivery_tag=properties["delivery_tag"],
        properties=properties,
        headers=made["headers"],
    )


def _nothing(*_: Any, **__: Any) -> None:
    """Acknowledge nothing: a row on the short way has no message."""

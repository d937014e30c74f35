"""The rules about the app's configuration and its tasks. They need neither a broker nor a database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mirepoix.celery.scheduling import defined
from mirepoix.doctor.facts import ACKNOWLEDGE_S, Facts, names, number
from mirepoix.doctor.rules import Severity, rule
from mirepoix.errors import ConfigurationError

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
SMALLEST_CHILD_KB = 51_200
"""Less memory than a Python process with Celery needs, so such a limit is a mistake of the unit."""
LONG_S = 60.0


def _options(facts: Facts) -> dict[str, Any]:
    return dict(facts.conf.broker_transport_options or {})


def _schedule(facts: Facts) -> list[tuple[Any, Any]]:
    return sorted((facts.conf.beat_schedule or {}).items(), key=lambda item: str(item[0]))


def _of_entry(entry: Any, name: str) -> Any:
    """Return a field of an entry of beat_schedule: a dict, or a ScheduleEntry of celery.beat."""
    return entry.get(name) if isinstance(entry, Mapping) else getattr(entry, name, None)


def _queue_name(queue: Any) -> str:
    if isinstance(queue, list | tuple):
        return str(queue[0]) if queue else ""
    return str(getattr(queue, "name", queue))


@rule("MD101", ERROR, "a worker that is killed loses its tasks", "Set task_acks_late = True, or install Mirepoix.")
def early_acknowledgement(facts: Facts) -> Iterator[str]:
    early = [task for task in facts.tasks if not facts.acknowledges_late(task)]
    if early and not facts.has_ledger:
        yield f"messages are acknowledged before the task runs: {names(early)}"


@rule(
    "MD102",
    ERROR,
    "a pool process that is killed loses its task",
    "Set task_reject_on_worker_lost = True, or install Mirepoix, which also stops a task that kills every worker.",
)
def acknowledged_though_lost(facts: Facts) -> Iterator[str]:
    default = facts.conf.task_reject_on_worker_lost
    lost = [
        task
        for task in facts.tasks
        if facts.acknowledges_late(task)
        and not (default if task.reject_on_worker_lost is None else task.reject_on_worker_lost)
    ]
    if lost and not facts.has_ledger:
        yield f"task_acks_late without task_reject_on_worker_lost: {names(lost)}"


@rule(
    "MD103",
    ERROR,
    "a long task is delivered again while it runs",
    "Set broker_transport_options = {'visibility_timeout': …} to more than the longest time limit, or use the ledger.",
)
def visibility_timeout(facts: Facts) -> Iterator[str]:
    if facts.broker_kind != "redis" or facts.has_ledger:
        return
    late = [
        (limit, task.name) for task in facts.tasks if facts.acknowledges_late(task) and (limit := facts.limit_s(task))
    ]
    if late and max(late)[0] >= facts.visibility_s:
        limit, name = max(late)
        yield f"{name} may run {limit:g} s, and Redis delivers again after {facts.visibility_s:g} s"


@rule(
    "MD104",
    ERROR,
    "a task that waits is delivered again and again",
    "Set a visibility_timeout above the longest countdown, or use the ledger, where due tasks wait in SQL.",
)
def countdown_beyond_visibility(facts: Facts) -> Iterator[str]:
    if facts.broker_kind != "redis" or facts.has_ledger:
        return
    late = [task for task in facts.tasks if (number(task.default_retry_delay) or 0) >= facts.visibility_s]
    if late:
        yield f"default_retry_delay is at least the visibility timeout of {facts.visibility_s:g} s: {names(late)}"


@rule(
    "MD105",
    ERROR,
    "RabbitMQ closes the channel of a long task",
    "Raise consumer_timeout in RabbitMQ above the longest time limit, or use the ledger.",
)
def consumer_timeout(facts: Facts) -> Iterator[str]:
    if facts.broker_kind != "amqp" or facts.has_ledger:
        return
    late = [
        (limit, task.name) for task in facts.tasks if facts.acknowledges_late(task) and (limit := facts.limit_s(task))
    ]
    if late and max(late)[0] >= ACKNOWLEDGE_S:
        limit, name = max(late)
        yield f"{name} may run {limit:g} s before it is acknowledged; RabbitMQ's default limit is {ACKNOWLEDGE_S:g} s"


@rule(
    "MD106",
    ERROR,
    "messages that RabbitMQ did not store are lost in silence",
    "Set broker_transport_options = {'confirm_publish': True}.",
)
def unconfirmed(facts: Facts) -> Iterator[str]:
    is_captured = facts.has_ledger and facts.settings.capture  # type: ignore[union-attr]
    if facts.broker_kind == "amqp" and not is_captured and not _options(facts).get("confirm_publish"):
        yield "broker_transport_options has no confirm_publish"


@rule("MD107", ERROR, "messages do not survive a restart of the broker", "Set task_default_delivery_mode = 2.")
def transient(facts: Facts) -> Iterator[str]:
    mode = facts.conf.task_default_delivery_mode
    if facts.broker_kind == "amqp" and not facts.has_ledger and str(mode) in ("1", "transient"):
        yield f"task_default_delivery_mode is {mode!r}"


@rule(
    "MD108",
    WARNING,
    "a task that hangs holds its place in the pool for ever",
    "Set task_time_limit, or time_limit on the task.",
)
def no_limit(facts: Facts) -> Iterator[str]:
    free = [task for task in facts.tasks if not facts.limit_s(task)]
    if free:
        yield f"no time limit: {names(free)}"


@rule("MD109", ERROR, "the soft time limit never comes", "Make soft_time_limit smaller than time_limit.")
def soft_limit(facts: Facts) -> Iterator[str]:
    for task in facts.tasks:
        soft, hard = number(task.soft_time_limit) or number(facts.conf.task_soft_time_limit), facts.limit_s(task)
        if soft and hard and soft >= hard:
            yield f"{task.name}: soft limit {soft:g} s, hard limit {hard:g} s"


@rule(
    "MD110", ERROR, "any program that reaches the broker can run code in the workers", "Set accept_content = ['json']."
)
def pickle(facts: Facts) -> Iterator[str]:
    dangerous: set[str] = {"pickle", "application/x-python-serialize"} & set(facts.conf.accept_content or ())
    if dangerous:
        yield f"accept_content has {', '.join(sorted(dangerous))}"


@rule("MD111", ERROR, "workers refuse what the app sends", "Add the serializer to accept_content, or send JSON.")
def unaccepted(facts: Facts) -> Iterator[str]:
    serializer, accepted = facts.conf.task_serializer, set(facts.conf.accept_content or ())
    if serializer not in accepted and f"application/{serializer}" not in accepted:
        yield f"task_serializer is {serializer!r}, accept_content is {sorted(accepted, key=str)}"


@rule(
    "MD112",
    WARNING,
    "short tasks wait behind a long one in the same process' queue",
    "Set worker_prefetch_multiplier = 1, or send long tasks to a queue of their own.",
)
def prefetch(facts: Facts) -> Iterator[str]:
    multiplier = number(facts.conf.worker_prefetch_multiplier)
    if facts.has_ledger or multiplier == 1 or facts.longest is None or facts.longest[0] < LONG_S:
        return
    amount = "without a limit" if not multiplier else f"{multiplier:g} for each process"
    yield f"{facts.longest[1]} may run {facts.longest[0]:g} s, and a worker reserves messages ahead, {amount}"


@rule(
    "MD113",
    ERROR,
    "pool processes are replaced after every task",
    "worker_max_memory_per_child is in kilobytes: 200 MB are 200_000.",
)
def memory_unit(facts: Facts) -> Iterator[str]:
    limit = number(facts.conf.worker_max_memory_per_child)
    if limit and limit < SMALLEST_CHILD_KB:
        yield f"worker_max_memory_per_child is {limit:g} kB, less than a process needs to start"


@rule("MD114", ERROR, "tasks run in the process that sends them", "Set task_always_eager = False outside of tests.")
def eager(facts: Facts) -> Iterator[str]:
    if facts.conf.task_always_eager:
        yield "task_always_eager is on"


@rule("MD115", WARNING, "times are read in another zone than they were sent in", "Set enable_utc = True.")
def local_time(facts: Facts) -> Iterator[str]:
    if not facts.conf.enable_utc:
        yield "enable_utc is off"


@rule("MD116", ERROR, "a schedule sends a task that does not exist", "Correct the name in beat_schedule.")
def schedule_of_unknown(facts: Facts) -> Iterator[str]:
    for name, entry in _schedule(facts):
        task = _of_entry(entry, "task")
        if task not in facts.app.tasks:
            yield f"{name!r} sends {task!r}, which no module of the app defines"


@rule("MD117", WARNING, "a route names a task that does not exist", "Correct the name in task_routes, or remove it.")
def route_of_unknown(facts: Facts) -> Iterator[str]:
    routes = facts.conf.task_routes or {}
    for name in sorted(routes, key=str) if isinstance(routes, dict) else ():
        if isinstance(name, str) and not any(sign in name for sign in "*?[") and name not in facts.app.tasks:
            yield f"task_routes has {name!r}, which no module of the app defines"


@rule(
    "MD118",
    WARNING,
    "a task is retried for ever",
    "Give the task max_retries, or a mirepoix.RetryPolicy with max_age_s.",
)
def endless_retries(facts: Facts) -> Iterator[str]:
    endless = [task for task in facts.tasks if task.max_retries is None]
    if endless:
        yield f"max_retries is None: {names(endless)}"


@rule(
    "MD119",
    WARNING,
    "all failed tasks try again at the same moment",
    "Set retry_backoff = True on the task (jitter is on by default), or use a mirepoix.RetryPolicy.",
)
def no_backoff(facts: Facts) -> Iterator[str]:
    steady = [
        task for task in facts.tasks if getattr(task, "autoretry_for", ()) and not getattr(task, "retry_backoff", False)
    ]
    if steady:
        yield f"autoretry_for without retry_backoff: {names(steady)}"


@rule("MD120", WARNING, "a dead connection to RabbitMQ is not noticed", "Remove broker_heartbeat = 0.")
def no_heartbeat(facts: Facts) -> Iterator[str]:
    if facts.broker_kind == "amqp" and number(facts.conf.broker_heartbeat) == 0:
        yield "broker_heartbeat is 0"


@rule("MD121", WARNING, "a send fails at the first error of the broker", "Remove task_publish_retry = False.")
def no_publish_retry(facts: Facts) -> Iterator[str]:
    if not facts.has_ledger and not facts.conf.task_publish_retry:
        yield "task_publish_retry is off"


@rule("MD122", WARNING, "results are kept for ever", "Set result_expires.")
def results_kept(facts: Facts) -> Iterator[str]:
    backend = facts.conf.result_backend
    if not facts.has_ledger and backend and not str(backend).startswith("rpc") and facts.conf.result_expires is None:
        scheme = re.match(r"([\w.+-]+)://", str(backend))  # anything else can be a part of a password
        yield f"result_expires is None, and results go to {scheme[1] if scheme else 'result_backend'}"


@rule(
    "MD123",
    INFO,
    "a stopped worker ends its long tasks at once",
    "Set worker_soft_shutdown_timeout to a few seconds less than the grace period of your supervisor.",
)
def no_soft_shutdown(facts: Facts) -> Iterator[str]:
    is_late = any(facts.acknowledges_late(task) for task in facts.tasks)
    is_at_once = not number(facts.conf.worker_soft_shutdown_timeout)
    if facts.broker_kind == "redis" and not facts.has_ledger and is_late and is_at_once:
        yield "worker_soft_shutdown_timeout is 0: after SIGQUIT messages return only after the visibility timeout"


@rule(
    "MD124",
    INFO,
    "a rate limit holds for each worker alone",
    "Divide the rate by the number of workers, or limit the rate where the work is done.",
)
def rate_of_each_worker(facts: Facts) -> Iterator[str]:
    limited = [task for task in facts.tasks if task.rate_limit or facts.conf.task_default_rate_limit]
    if limited:
        yield f"rate_limit: {names(limited)}"


@rule("MD125", ERROR, "workers never take from the queue of a schedule or route", "Add the queue to task_queues.")
def unknown_queue(facts: Facts) -> Iterator[str]:
    queues = facts.conf.task_queues
    if not queues or facts.conf.task_create_missing_queues:
        return
    known = {_queue_name(queue) for queue in queues}
    for name, entry in _schedule(facts):
        queue = _queue_name((_of_entry(entry, "options") or {}).get("queue") or "")
        if queue and queue not in known:
            yield f"schedule {name!r} sends to {queue!r}, which is not in task_queues"


@rule("MD151", INFO, "failures are not tied to a release", "Set mirepoix_release or MIREPOIX_RELEASE at each deploy.")
def no_release(facts: Facts) -> Iterator[str]:
    if facts.settings is not None and facts.settings.release is None:
        yield "mirepoix_release is not set"


@rule("MD152", INFO, "nobody is notified of failures", "Set mirepoix_alerts to a channel: docs/how-to/alerts.md.")
def no_alerts(facts: Facts) -> Iterator[str]:
    if facts.settings is not None and not facts.settings.alerts:
        yield "mirepoix_alerts is empty"


@rule("MD153", WARNING, "the ledger grows for ever", "Set mirepoix_retention_s, or run mirepoix prune on a schedule.")
def no_retention(facts: Facts) -> Iterator[str]:
    if facts.settings is not None and facts.settings.retention_s is None:
        yield "mirepoix_retention_s is None"


@rule(
    "MD154",
    WARNING,
    "a pause of the host or the database looks like a worker's death",
    "Set mirepoix_lease_ttl_s to 15 or more. A dead process is detected in about a second anyway.",
)
def short_lease(facts: Facts) -> Iterator[str]:
    if facts.settings is not None and facts.settings.lease_ttl_s < 5:  # noqa: PLR2004 (three heartbeats of 1.7 s)
        yield f"mirepoix_lease_ttl_s is {facts.settings.lease_ttl_s:g}"


@rule(
    "MD155",
    WARNING,
    "workers publish nothing that a sender could not",
    "Turn mirepoix_relay on, or run mirepoix relay.",
)
def no_relay(facts: Facts) -> Iterator[str]:
    settings = facts.settings
    if settings is not None and settings.delivery == "broker" and not settings.relay:
        yield "mirepoix_relay is off with delivery='broker': make sure that mirepoix relay runs"


@rule("MD156", ERROR, "no worker starts, because a schedule cannot be recorded", "Do what the finding says.")
def schedule_not_recorded(facts: Facts) -> Iterator[str]:
    if facts.settings is not None and facts.settings.schedules:
        try:
            defined(facts.app)
        except ConfigurationError as error:
            yield str(error)

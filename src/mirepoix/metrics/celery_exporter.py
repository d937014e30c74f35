"""The same numbers under the names of celery-exporter, so that its dashboards and alerts work.

Not promised: ``celery_task_sent_total`` and ``celery_task_received_total``, because these are events and not states of
the ledger; the label ``exception``; and the label ``hostname`` of tasks. ``hostname`` of workers is the part of their
name before the ``@``, because the other part is a pod's name in Kubernetes.
"""

from __future__ import annotations

from mirepoix.ledger.totals import Kind
from mirepoix.metrics.families import Reading, buckets, run_times
from mirepoix.metrics.text import Family
from mirepoix.states import AttemptOutcome as Outcome

_COUNTED = {
    "succeeded": {Outcome.SUCCEEDED},
    "failed": {Outcome.FAILED, Outcome.KILLED, Outcome.LOST},
    "retried": {Outcome.RETRIED},
    "rejected": {Outcome.REJECTED},
    "revoked": {Outcome.CANCELLED, Outcome.EXPIRED},
}
"""Which outcomes each counter of celery-exporter counts. There a killed task counts as failed."""


def families(reading: Reading) -> list[Family]:
    """Return the families under celery-exporter's names."""
    return [*_tasks(reading), *_queues(reading), *_workers(reading)]


def _tasks(reading: Reading) -> list[Family]:
    found = []
    for verb, outcomes in _COUNTED.items():
        family = Family(
            f"celery_task_{verb}_total", "counter", f"Attempts that ended as {', '.join(sorted(outcomes))}."
        )
        counts: dict[tuple[str, str], int] = {}
        for key, attempts in reading.tally.attempts.items():
            if key.kind is Kind.RUN and key.outcome in outcomes:
                counts[key.name, key.queue] = counts.get((key.name, key.queue), 0) + attempts
        for (name, queue), attempts in sorted(counts.items()):
            family.add(attempts, name=name, queue_name=queue)
        found.append(family)
    runtime = Family("celery_task_runtime", "histogram", "How long user code ran.")
    for name, counts_by_bucket, seconds in run_times(reading.tally):
        runtime.add_histogram(buckets(counts_by_bucket), seconds, name=name)
    return [*found, runtime]


def _queues(reading: Reading) -> list[Family]:
    length = Family("celery_queue_length", "gauge", "Tasks that wait in the queue and are ready.")
    consumers = Family("celery_active_consumer_count", "gauge", "Live workers that consume the queue.")
    workers = Family("celery_active_worker_count", "gauge", "Live workers that consume the queue.")
    processes = Family("celery_active_process_count", "gauge", "Tasks that these workers can run at once.")
    for load in reading.seen.queues:
        serving = [worker for worker in reading.seen.alive if load.queue in worker.queues]
        length.add(load.waiting, queue_name=load.queue)
        consumers.add(len(serving), queue_name=load.queue)
        workers.add(len(serving), queue_name=load.queue)
        processes.add(sum(worker.concurrency for worker in serving), queue_name=load.queue)
    return [length, consumers, workers, processes]


def _workers(reading: Reading) -> list[Family]:
    up = Family("celery_worker_up", "gauge", "Whether a worker of that name lives.")
    active = Family("celery_worker_tasks_active", "gauge", "Tasks that workers of that name run.")
    alive: dict[str, int] = {}
    running: dict[str, int] = {}
    for worker in reading.seen.workers:
        name = worker.name.partition("@")[0]
        alive[name] = max(alive.get(name, 0), int(worker.is_alive and not worker.is_silent))
        running[name] = running.get(name, 0) + worker.running
    for name in sorted(alive):
        up.add(alive[name], hostname=name)
        active.add(running[name], hostname=name)
    return [up, active]

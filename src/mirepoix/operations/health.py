"""Judge the health of the ledger and its workers, for the command line, the alerts and the admin.

`overview` reads everything at one moment, `mirepoix.operations.findings` lists the problems, and
`checks` answers the questions of a monitor. Each function returns records; the caller prints them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from mirepoix.daemons import probe
from mirepoix.ledger import holds, limits, queue_probes, sending
from mirepoix.ledger.query import health as read
from mirepoix.ledger.query.health import HOUR_S, RELAY_POOL, Kept, QueueLoad, Stranded, WorkerSeen
from mirepoix.ledger.query.limits import waiting_names
from mirepoix.ledger.query.planning import at_once
from mirepoix.ledger.tx import Tx
from mirepoix.operations import steering
from mirepoix.operations.broker_losses import stalled_listeners
from mirepoix.operations.format import count, duration, one_line
from mirepoix.operations.schedules import OVERDUE_S, lines
from mirepoix.operations.steering import Waiting
from mirepoix.states import State

LOOK_AGAIN_S = 2.0
LOOK_EVERY_S = 0.2
"""How long to wait for late heartbeats before a worker counts as silent, and how often to look in that time. The cause
that delayed this look may have delayed the heartbeats too."""


class Reader(Protocol):
    """A ledger that can be read."""

    def reading(self) -> AbstractContextManager[Tx]:
        """Begin a transaction that only reads and blocks no writer."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of one ledger at one moment."""

    late_after_s: float
    queues: tuple[QueueLoad, ...]
    kept: tuple[Kept, ...]
    last_hour: dict[State, int]
    workers: tuple[WorkerSeen, ...]
    stranded: tuple[Stranded, ...]
    paused: tuple[Waiting, ...] = ()
    """What is paused, the oldest first, and how many tasks wait because of it."""

    @property
    def alive(self) -> list[WorkerSeen]:
        """The workers with a heartbeat in time."""
        return alive(self.workers)

    @property
    def gone(self) -> list[WorkerSeen]:
        """The workers that died lately or are silent."""
        return [worker for worker in self.workers if not worker.is_alive or worker.is_silent]


class Answer(StrEnum):
    """The result of all checks together."""

    WELL = "well"
    NOT_WELL = "not well"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. *name* is stable. *is_ok* is None for unknown.

    ``ledger``, ``schema``, ``workers``, ``queues``, ``reaper``; ``paused``, if something is paused; with a broker also
    ``relay`` and ``listeners``; and, always well, ``alerts``, if some are open; and ``probes``, if queues are probed.
    With --worker and --live only ``worker``.
    """

    name: str
    is_ok: bool | None
    message: str


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """A worker that is alive or silent, or the latest death of all workers of one name."""

    worker: WorkerSeen
    deaths: int = 0


def overview(tx: Tx, late_after_s: float, dead_within_s: float = HOUR_S) -> Overview:
    """Read everything that `mirepoix status` shows. *late_after_s* is how long a ready task may wait for a worker."""
    at_once(tx)
    seen = read.workers(tx, dead_within_s)
    queues = read.queues(tx, late_after_s, seen)
    return Overview(
        late_after_s=late_after_s,
        queues=queues,
        paused=tuple(steering.waiting(tx, queues)),
        kept=read.kept(tx),
        last_hour=read.last_hour(tx),
        workers=seen,
        stranded=read.stranded(tx),
    )


def settled_overview(ledger: Reader, late_after_s: float) -> Overview:
    """Read the `overview`. If heartbeats are late, wait for them and read again."""
    with ledger.reading() as tx:
        seen = overview(tx, late_after_s)
    if not any(worker.is_silent for worker in seen.workers):
        return seen
    until = time.monotonic() + LOOK_AGAIN_S
    is_silent = True
    while is_silent and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
        with ledger.reading() as tx:
            is_silent = any(worker.is_silent for worker in read.workers(tx))
    with ledger.reading() as tx:
        return overview(tx, late_after_s)


def alive(workers: Iterable[WorkerSeen]) -> list[WorkerSeen]:
    """Return the workers that run tasks and have a heartbeat in time. A relay in a process of its own runs none."""
    return [worker for worker in workers if worker.is_alive and not worker.is_silent and worker.pool != RELAY_POOL]


def is_unserved(load: QueueLoad) -> bool:
    """Return whether tasks wait in a queue that no live worker takes from, although nobody has paused it."""
    return bool(load.waiting) and not load.is_served and load.paused is None


def overdue(loads: Iterable[QueueLoad], objectives_s: Mapping[str, float]) -> list[tuple[QueueLoad, float]]:
    """Return the queues with a task that has waited longer than the objective, with that. ``*`` is for other queues.

    A paused queue is not late.
    """
    found = []
    for load in loads:
        if load.paused is not None:
            continue
        objective_s = objectives_s.get(load.queue, objectives_s.get("*"))
        if objective_s is not None and load.oldest_s is not None and load.oldest_s > objective_s:
            found.append((load, objective_s))
    return found


def by_urgency(loads: Iterable[QueueLoad]) -> list[QueueLoad]:
    """Sort the queues: first those with tasks and without a consumer, then by the longest wait."""
    return sorted(loads, key=lambda load: (not is_unserved(load), -(load.oldest_s or 0.0), load.queue))


def by_life(workers: Iterable[WorkerSeen]) -> list[WorkerLine]:
    """Sort the workers: first the silent, then the live, then the dead, with one line for each dead worker's name."""
    living: list[WorkerSeen] = []
    dead: dict[str, list[WorkerSeen]] = {}
    for worker in workers:
        if worker.is_alive:
            living.append(worker)
        else:
            dead.setdefault(worker.name, []).append(worker)
    living.sort(key=lambda worker: not worker.is_silent)
    latest = [(min(died, key=lambda worker: worker.ended_s or 0.0), len(died)) for died in dead.values()]
    return [WorkerLine(worker) for worker in living] + [WorkerLine(*died) for died in latest]


def by_name(workers: Iterable[WorkerSeen]) -> list[WorkerLine]:
    """Return one line for each worker's name: first the silent, then the dead, then the others.

    The line has the live worker of that name and how often workers of that name died, or else the latest death.
    """
    lines = by_life(workers)
    deaths = {line.worker.name: line.deaths for line in lines if line.deaths}
    living = {line.worker.name for line in lines if not line.deaths}
    found = [
        line if line.deaths else WorkerLine(line.worker, deaths.get(line.worker.name, 0))
        for line in lines
        if not line.deaths or line.worker.name not in living
    ]
    return sorted(found, key=lambda line: (not line.worker.is_silent, line.worker.is_alive))


def answer(checks: Iterable[Check]) -> Answer:
    """Return NOT_WELL if a check failed, or else UNKNOWN if a check could not be made."""
    seen = {check.is_ok for check in checks}
    return Answer.NOT_WELL if False in seen else Answer.UNKNOWN if None in seen else Answer.WELL


def checks(seen: Overview) -> Iterator[Check]:
    """Check that workers are alive, that no queue is late, and that the tasks of dead workers are taken back."""
    living = seen.alive
    message = f"{count(len(living), 'live worker')}" if living else "no worker is alive"
    if silent := sum(worker.is_silent for worker in seen.workers):
        message += f"; the heartbeats of {count(silent, 'worker')} stopped"
    yield Check("workers", bool(living), message)
    yield _check_of_queues(seen)
    yield from _check_of_paused(seen)
    lost = sum(held.count for held in seen.stranded)
    stuck = [worker for worker in living if worker.stuck_s is not None]
    message = (
        f"{count(lost, 'task')} held by workers that are not alive" if lost else "no task is held by a dead worker"
    )
    for worker in stuck:
        message += (
            f"; the maintenance of {one_line(worker.name)} has not completed a round for {duration(worker.stuck_s)}"
        )
    yield Check("reaper", not lost and not stuck, message)


def checks_of_broker(tx: Tx, probe_interval_s: float) -> Iterator[Check]:
    """Check that a relay publishes and that every worker receives messages, if there is a broker."""
    leader = sending.leader(tx)
    unsent = sending.count_unsent(tx)
    if leader is None and not unsent:
        return
    waiting = f"{count(unsent, 'task')} to be published"
    if leader is None:
        yield Check("relay", is_ok=False, message=f"{waiting}, and no relay is alive")
    elif leader.trouble:
        yield Check("relay", is_ok=False, message=f"{waiting}; {one_line(leader.name)}: {one_line(leader.trouble)}")
    else:
        yield Check("relay", is_ok=True, message=f"{one_line(leader.name)} publishes; {waiting}")
    stalled = stalled_listeners(sending.listeners(tx), sending.seen(tx), probe_interval_s)
    if stalled:
        named = ", ".join(f"{one_line(listener.name)} for {duration(listener.silent_s)}" for listener in stalled)
        message = f"connected to the broker, and receiving nothing: {named}; restart it"
    else:
        message = "every live worker receives messages"
    yield Check("listeners", not stalled, message)


def checks_of_probes(tx: Tx, late_after_s: float) -> Iterator[Check]:
    """Check that the probe of each queue runs, if queues are probed."""
    probes = queue_probes.latest(tx)
    paused = {hold.value for hold in holds.read(tx) if hold.kind is holds.Kind.QUEUE}
    late = [
        probe for probe in probes if probe.queue not in paused and probe.is_pending and probe.asked_ago_s > late_after_s
    ]
    if late:
        worst = max(late, key=lambda probe: probe.asked_ago_s)
        more = f", and those of {count(len(late) - 1, 'other queue')}" if late[1:] else ""
        message = f"the probe of queue {one_line(worst.queue)!r} has not run for {duration(worst.asked_ago_s)}{more}"
        yield Check("probes", is_ok=False, message=message)
    elif probes:
        slowest = max((probe.took_s or 0.0 for probe in probes), default=0.0)
        message = f"every queue runs its probes; the slowest took {duration(slowest)}"
        yield Check("probes", is_ok=True, message=message)


def checks_of_limits(tx: Tx, queues: Iterable[QueueLoad]) -> Iterator[Check]:
    """Check that the ledger has the limits of the tasks that wait, if it has limits or such tasks."""
    known = limits.read(tx)
    waiting = waiting_names(tx, [load.queue for load in queues if load.waiting])
    unknown = sorted(waiting - known.keys())
    if unknown:
        message = (
            f"tasks wait with the limit {one_line(unknown[0])!r}, which the ledger does not have: they run without one"
        )
        yield Check("limits", is_ok=False, message=message)
    elif known:
        stopped = sorted(name for name in waiting if known[name].bounds.running == 0)
        words = f"; {one_line(stopped[0])!r} lets no task begin" if stopped else ""
        yield Check("limits", is_ok=True, message=f"{count(len(known), 'limit')}{words}")


def checks_of_schedules(tx: Tx) -> Iterator[Check]:
    """Check that schedules are fired and that none missed a fire time within an hour, if there are schedules."""
    found = lines(tx, lately_s=HOUR_S)
    if not found:
        return
    overdue = max(found, key=lambda line: line.overdue_s)
    missed = [line for line in found if line.missed]
    if overdue.overdue_s > OVERDUE_S:
        message = (
            f"{one_line(overdue.name)!r} has been due for {duration(overdue.overdue_s)}: no worker fires schedules "
            "(mirepoix_schedules), or none is alive"
        )
        yield Check("schedules", is_ok=False, message=message)
    elif missed:
        worst = max(missed, key=lambda line: line.missed)
        more = f", and {count(len(missed) - 1, 'other schedule')} missed some" if missed[1:] else ""
        message = f"{one_line(worst.name)!r} missed {count(worst.missed, 'fire time')} within an hour{more}"
        yield Check("schedules", is_ok=False, message=message)
    else:
        paused = sum(line.state == "paused" for line in found)
        words = f" ({paused} paused)" if paused else ""
        yield Check("schedules", is_ok=True, message=f"{count(len(found), 'schedule')} on time{words}")


def checks_of_processes() -> list[Check]:
    """Check every worker of this host that this user runs, by the files that they write. This needs no database."""
    names = probe.names()
    if not names:
        where = f"no worker runs here as this user: there is no file in {probe.folder()}"
        return [Check("worker", None, f"{where} (see {probe.FOLDER})")]
    return [check_of_process(name) for name in names]


def check_of_process(name: str) -> Check:
    """Check whether a worker of this host lives, by the file that it writes. This needs no database."""
    path = probe.path_of(name)
    try:
        beat = probe.last_beat(name)
    except (OSError, ValueError) as error:
        return Check("worker", None, f"{path} cannot be read: {one_line(str(error))}")
    if beat is None:
        where = f"no worker {one_line(name)!r} runs here as this user: there is no {path}"
        return Check("worker", None, f"{where} (see {probe.FOLDER})")
    if beat.is_gone:
        return Check("worker", is_ok=False, message=f"the process {beat.pid} of {one_line(name)} is gone")
    message = f"the threads of {one_line(name)} (process {beat.pid}) were at work {beat.age_s:.1f} s ago"
    if not beat.is_alive:
        return Check("worker", is_ok=False, message=f"{message}, more than {beat.good_for_s:g} s")
    if beat.ledger_away_s is not None:
        message += f"; the ledger has given it no answer for {duration(beat.ledger_away_s)}"
    return Check("worker", is_ok=True, message=message)


def _check_of_paused(seen: Overview) -> Iterator[Check]:
    """Say what is paused. What has been paused for a day, and has tasks, may have been forgotten."""
    forgotten = [found for found in seen.paused if found.is_forgotten]
    worst = (forgotten or list(seen.paused))[:1]
    for found in worst:
        more = f"; {count(len(seen.paused) - 1, 'other pause')}" if seen.paused[1:] else ""
        yield Check("paused", is_ok=not forgotten, message=f"{steering.sentence(found)}{more}")


def _check_of_queues(seen: Overview) -> Check:
    late = [
        load
        for load in seen.queues
        if load.paused is None and (is_unserved(load) or (load.oldest_s or 0.0) > seen.late_after_s)
    ]
    if not late:
        return Check("queues", is_ok=True, message=f"nothing has waited more than {duration(seen.late_after_s)}")
    worst = max(late, key=lambda load: (not load.is_served, load.oldest_s or 0.0))
    more = f", and {count(len(late) - 1, 'other queue')}" if late[1:] else ""
    served = "" if worst.is_served else "; the queue has no consumer"
    waited = f"has waited {duration(worst.oldest_s)}" if worst.oldest_s is not None else "waits"  # with a limit: no age
    message = f"a task in queue {one_line(worst.queue)!r} {waited}{served}{more}"
    return Check("queues", is_ok=False, message=message)

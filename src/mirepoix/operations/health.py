"""Judge how the ledger and its workers stand. The command line, the alerts and the admin take their answers from here.

`overview` reads everything at one moment, `mirepoix.operations.findings` lists what is not as it should be, and
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
from mirepoix.ledger import sending
from mirepoix.ledger.query import health as read
from mirepoix.ledger.query.health import HOUR_S, RELAY_POOL, Kept, QueueLoad, Stranded, WorkerSeen
from mirepoix.ledger.query.planning import at_once
from mirepoix.ledger.tx import Tx
from mirepoix.operations.broker_losses import stalled_listeners
from mirepoix.operations.format import count, duration, one_line
from mirepoix.states import State

LOOK_AGAIN_S = 2.0
LOOK_EVERY_S = 0.2
"""What held up this look at the ledger may have held up heartbeats as well: late heartbeats are waited for so long, and
looked for so often, before a worker is called silent."""


class Reader(Protocol):
    """A ledger that can be read."""

    def reading(self) -> AbstractContextManager[Tx]:
        """A transaction that only reads, and holds up nobody who writes."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of one ledger at one moment."""

    late_after_s: float
    queues: tuple[QueueLoad, ...]
    kept: tuple[Kept, ...]
    last_hour: dict[State, int]
    workers: tuple[WorkerSeen, ...]
    stranded: tuple[Stranded, ...]

    @property
    def alive(self) -> list[WorkerSeen]:
        """The workers whose heartbeat is in time."""
        return alive(self.workers)

    @property
    def gone(self) -> list[WorkerSeen]:
        """The workers that died lately, or whose heartbeat stayed out."""
        return [worker for worker in self.workers if not worker.is_alive or worker.is_silent]


class Answer(StrEnum):
    """The sum of all checks."""

    WELL = "well"
    NOT_WELL = "not well"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One answer. *name* is stable. *is_ok* is None if it cannot be told.

    ``ledger``, ``schema``, ``workers``, ``queues``, ``reaper``; with a broker also ``relay`` and ``listeners``; and,
    always well, ``alerts``, if some are open. With --worker only ``worker``.
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
    """Everything that `mirepoix status` shows. *late_after_s*: how long a ready task may wait for a worker."""
    at_once(tx)
    seen = read.workers(tx, dead_within_s)
    return Overview(
        late_after_s=late_after_s,
        queues=read.queues(tx, late_after_s, seen),
        kept=read.kept(tx),
        last_hour=read.last_hour(tx),
        workers=seen,
        stranded=read.stranded(tx),
    )


def settled_overview(ledger: Reader, late_after_s: float) -> Overview:
    """Like `overview`. If heartbeats are late, wait for them and read again: this look may have held them up."""
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
    """The workers that run tasks and whose heartbeat is in time. A relay in a process of its own runs none."""
    return [worker for worker in workers if worker.is_alive and not worker.is_silent and worker.pool != RELAY_POOL]


def is_unserved(load: QueueLoad) -> bool:
    """Whether tasks wait in a queue that no living worker takes from."""
    return bool(load.waiting) and not load.is_served


def overdue(loads: Iterable[QueueLoad], objectives_s: Mapping[str, float]) -> list[tuple[QueueLoad, float]]:
    """The queues whose oldest task has waited longer than the queue's objective, with that; ``*`` is for all others."""
    found = []
    for load in loads:
        objective_s = objectives_s.get(load.queue, objectives_s.get("*"))
        if objective_s is not None and load.oldest_s is not None and load.oldest_s > objective_s:
            found.append((load, objective_s))
    return found


def by_urgency(loads: Iterable[QueueLoad]) -> list[QueueLoad]:
    """The queues: first those with tasks that no worker serves, then by the longest wait."""
    return sorted(loads, key=lambda load: (not is_unserved(load), -(load.oldest_s or 0.0), load.queue))


def by_life(workers: Iterable[WorkerSeen]) -> list[WorkerLine]:
    """The workers: first the silent, then the living, then the dead, with one line for each name."""
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


def answer(checks: Iterable[Check]) -> Answer:
    """Not well if a check failed, unknown if a check could not be made."""
    seen = {check.is_ok for check in checks}
    return Answer.NOT_WELL if False in seen else Answer.UNKNOWN if None in seen else Answer.WELL


def checks(seen: Overview) -> Iterator[Check]:
    """Whether workers live, no queue is late, and somebody takes back the tasks of dead workers."""
    living = seen.alive
    said = f"{count(len(living), 'live worker')}" if living else "no worker is alive"
    if silent := sum(worker.is_silent for worker in seen.workers):
        said += f"; the heartbeat of {count(silent, 'worker')} stayed out"
    yield Check("workers", bool(living), said)
    yield _check_of_queues(seen)
    lost = sum(held.count for held in seen.stranded)
    stuck = [worker for worker in living if worker.stuck_s is not None]
    said = f"{count(lost, 'task')} held by workers that are not alive" if lost else "no task is held by a dead worker"
    for worker in stuck:
        said += f"; the maintenance of {one_line(worker.name)} has not come round for {duration(worker.stuck_s)}"
    yield Check("reaper", not lost and not stuck, said)


def checks_of_broker(tx: Tx, probe_interval_s: float) -> Iterator[Check]:
    """Whether a relay publishes and every worker receives, where a broker stands in front of the ledger."""
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
        named = ", ".join(f"{one_line(one.name)} for {duration(one.silent_s)}" for one in stalled)
        said = f"connected to the broker, and receiving nothing: {named}; restart it"
    else:
        said = "every live worker hears its queues"
    yield Check("listeners", not stalled, said)


def check_of_process(name: str) -> Check:
    """Whether a worker of this host lives, by the file that it writes. Asks no database."""
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
    said = f"the threads of {one_line(name)} (process {beat.pid}) came round {beat.age_s:.1f} s ago"
    if not beat.is_alive:
        return Check("worker", is_ok=False, message=f"{said}, more than {beat.good_for_s:g} s")
    if beat.ledger_away_s is not None:
        said += f"; the ledger has given it no answer for {duration(beat.ledger_away_s)}"
    return Check("worker", is_ok=True, message=said)


def _check_of_queues(seen: Overview) -> Check:
    late = [load for load in seen.queues if is_unserved(load) or (load.oldest_s or 0.0) > seen.late_after_s]
    if not late:
        return Check("queues", is_ok=True, message=f"nothing has waited more than {duration(seen.late_after_s)}")
    worst = max(late, key=lambda load: (not load.is_served, load.oldest_s or 0.0))
    more = f", and {count(len(late) - 1, 'other queue')}" if late[1:] else ""
    served = "" if worst.is_served else "; nobody takes from it"
    said = f"a task in queue {one_line(worst.queue)!r} has waited {duration(worst.oldest_s)}{served}{more}"
    return Check("queues", is_ok=False, message=said)

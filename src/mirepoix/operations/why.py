"""Judge why a task does not run, in words: what it waits for, the facts behind that, and what to do.

`why` reads a task's detail, the overview and the pace of its queue, which `look` collects at one moment. It changes
nothing. The forecast assumes that the queue goes on as in the last five minutes, and is None if nothing ended then.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from mirepoix.ledger import holds, sending
from mirepoix.ledger.holds import Hold, Kind
from mirepoix.ledger.query.health import WorkerSeen
from mirepoix.ledger.query.health import workers as read_workers
from mirepoix.ledger.query.limits import HOLDERS_SHOWN, AtLimit, at_limit
from mirepoix.ledger.query.pace import AHEAD_MOST, Pace, Place, pace, place
from mirepoix.ledger.query.task_detail import TaskDetail
from mirepoix.ledger.tx import Tx
from mirepoix.operations import steering
from mirepoix.operations.format import count, duration, one_line, when
from mirepoix.operations.health import alive
from mirepoix.operations.limits import words
from mirepoix.operations.verdict import start_worker
from mirepoix.states import HELD, State


@dataclass(frozen=True, slots=True)
class Why:
    """Why a task does not run. *answer* is one sentence. *is_stuck* says that it will not run unless somebody acts."""

    answer: str
    facts: tuple[str, ...] = ()
    next_step: str = ""
    is_stuck: bool = False
    starts_in_s: float | None = None
    """When it will probably start, in seconds from now; None if that is unknown."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What surrounds a task: the workers, its place in the queue, the queue's pace, and the relay and limit, if any."""

    workers: tuple[WorkerSeen, ...]
    place: Place | None = None
    pace: Pace = field(default_factory=lambda: Pace(1.0, ()))
    relay: sending.Leader | None = None
    paused: tuple[Hold, ...] = ()
    limit: AtLimit | None = None

    def hold(self, kind: Kind, value: str) -> Hold | None:
        """Return what is paused under that name, or None."""
        return next((hold for hold in self.paused if (hold.kind, hold.value) == (kind, value)), None)

    def hold_of(self, detail: TaskDetail) -> Hold | None:
        """Return the pause that the task waits for, or would wait for if it were due."""
        return self.hold(Kind.QUEUE, detail.queue) or self.hold(Kind.TASK, detail.name) or self.hold_of_limit

    @property
    def hold_of_limit(self) -> Hold | None:
        """The pause of the task's limit, or of its key."""
        if self.limit is None:
            return None
        return self.hold(Kind.LIMIT, self.limit.name) or self.hold(Kind.LIMIT, self.limit.key)

    def without_values(self) -> Scene:
        """Return it without the values of keys of limits, which are made of arguments."""
        if self.limit is None:
            return self
        paused = tuple(hold for hold in self.paused if hold.kind is not Kind.LIMIT)
        key = self.limit.name
        if self.hold_of_limit is not None:
            shown = steering.without_value(self.hold_of_limit)
            paused, key = (*paused, shown), shown.value
        return replace(self, paused=paused, limit=replace(self.limit, key=key))


def look(tx: Tx, detail: TaskDetail) -> Scene:
    """Read what surrounds the task."""
    seen = read_workers(tx)
    if detail.state is not State.PENDING:
        return Scene(seen, paused=tuple(holds.read(tx)))
    paused = tuple(holds.read(tx))
    return Scene(seen, place(tx, detail.id), pace(tx), sending.leader(tx), paused, at_limit(tx, detail.id))


def why(detail: TaskDetail, scene: Scene) -> Why:
    """Return why the task does not run, or that it runs or has ended."""
    if detail.state in HELD:
        return _held(detail, scene)
    if detail.state is not State.PENDING:
        return _ended(detail)
    hold = scene.hold_of(detail)
    if detail.due_in_s is not None and detail.due_in_s > 0:
        found = _scheduled(detail, detail.due_in_s)
        return found if hold is None else _paused_when_due(found, hold)
    if hold is not None:
        return _paused(hold)
    if detail.held_by is not None:
        return Why(
            f"It was held by {one_line(detail.held_by)}, which is resumed.",
            next_step="A worker releases it in seconds.",
        )
    return _ready(detail, scene)


def _paused(hold: Hold) -> Why:
    what = {Kind.QUEUE: "Its queue", Kind.LIMIT: "Its limit"}.get(hold.kind, "Task")
    subject = f"{what} {one_line(hold.value)!r}"
    return Why(
        f"{subject} is paused {steering.since(hold)}.",
        next_step=f"Resume it: mirepoix {steering.command(hold)}",
        is_stuck=True,
    )


def _paused_when_due(found: Why, hold: Hold) -> Why:
    fact = (
        f"{steering.what(hold.kind, hold.value)} is paused {steering.since(hold)}. The task waits until it is resumed."
    )
    facts = (*found.facts, fact[:1].upper() + fact[1:])
    return replace(found, facts=facts, next_step=f"Resume it: mirepoix {steering.command(hold)}", starts_in_s=None)


def _held(detail: TaskDetail, scene: Scene) -> Why:
    name = one_line(detail.worker or detail.worker_id)
    holder = next((worker for worker in scene.workers if worker.id == detail.worker_id), None)
    if detail.worker_state != "alive" or holder is None:
        if alive(scene.workers):
            return Why(f"Its worker {name} is dead. A live worker takes the task back within seconds.")
        return Why(
            f"Its worker {name} is dead, and no other worker is alive to take the task back.",
            next_step="Start a worker. It takes the task back.",
            is_stuck=True,
        )
    silent = (f"The heartbeats of {name} stopped {duration(holder.heartbeat_s)} ago.",) if holder.is_silent else ()
    if detail.state is State.RUNNING:
        since = duration(detail.running_for_s) or "a moment"
        where = f" in process {detail.pid}" if detail.pid else ""
        return Why(f"It runs: {name} has run it for {since}{where}.", silent)
    busy = f"{name} runs {count(holder.running, 'task')} with a concurrency of {holder.concurrency}."
    return Why(
        f"Worker {name} has it, and has not begun it yet.",
        (busy, *silent),
        "A worker takes a few tasks ahead. If this lasts, look at what the worker runs, or cancel the task.",
    )


def _ended(detail: TaskDetail) -> Why:
    reason = one_line(detail.reason)
    because = (f"Reason: {reason}.".replace("..", "."),) if reason else ()
    decided = tuple(
        f"{when(decision.decided_at)}: {one_line(decision.verb)} by {one_line(decision.decided_by)}: "
        f"{one_line(decision.reason)}"
        for decision in detail.decisions[-1:]
    )
    facts = (*because, *decided)
    match detail.state:
        case State.SUCCEEDED:
            return Why(f"It has run: it succeeded at {when(detail.finished_at)}.", decided)
        case State.FAILED:
            return Why(
                "It failed, and no retry is left. It waits for a decision.",
                facts,
                "Fix the cause, then retry it, or discard it.",
                is_stuck=True,
            )
        case State.QUARANTINED:
            lost = "it was handed to workers and lost too often"
            died = f"{detail.deaths:,} process{'es' if detail.deaths != 1 else ''} died while it ran"
            return Why(
                f"It is quarantined: {died if detail.deaths else lost}.",
                facts,
                "Read its attempts, then requeue or discard it.",
                is_stuck=True,
            )
        case State.PARKED:
            help_ = "Deploy code that can take it, or edit it." if detail.parked_for else "Edit, requeue or discard it."
            return Why("It is parked: no running code can take it.", facts, help_, is_stuck=True)
        case State.EXPIRED:
            expired = f"It expired at {when(detail.expires_at or detail.finished_at)}, before a worker began it."
            return Why(expired, facts, "Requeue it to run it without an expiry.", is_stuck=True)
        case _:
            return Why("It was cancelled.", facts, "Requeue it to run it again.", is_stuck=True)


def _scheduled(detail: TaskDetail, due_in_s: float) -> Why:
    moment = f"{when(detail.due_at)}, in {duration(due_in_s)}"
    if detail.fence and detail.retries:
        return Why(
            f"It failed and waits for its retry at {moment}.",
            (f"Last error: {one_line(detail.reason)}",) if detail.reason else (),
            "Retry runs it now.",
            starts_in_s=due_in_s,
        )
    if detail.fence:
        facts = (f"Reason: {one_line(detail.reason)}",) if detail.reason else ()
        return Why(f"It waits until {moment}, to be tried again.", facts, "Retry runs it now.", starts_in_s=due_in_s)
    return Why(
        f"It is scheduled for {moment}.", ("Its sender asked for that time.",), "Retry runs it now.", False, due_in_s
    )


def _ready(detail: TaskDetail, scene: Scene) -> Why:
    queue = one_line(detail.queue)
    living = alive(scene.workers)
    if not living:
        silent = [one_line(worker.name) for worker in scene.workers if worker.is_alive and worker.is_silent]
        facts = (f"The heartbeats of {', '.join(silent)} stopped.",) if silent else ()
        return Why("No worker is alive.", facts, f"Start a worker for queue {queue!r}.", is_stuck=True)
    serving = [worker for worker in living if detail.queue in worker.queues]
    if not serving:
        return _unserved(queue, living)
    stopped = [steering.stopped_by(worker, scene.paused) for worker in serving]
    if all(stopped):
        return _drained(queue, [hold for hold in stopped if hold is not None])
    serving = [worker for worker, hold in zip(serving, stopped, strict=True) if hold is None]
    if scene.place is not None and scene.place.has_message is False:
        return _unsent(scene)
    if scene.limit is not None:
        return _limited(scene.limit)
    return _behind(detail, scene, serving)


def _limited(at: AtLimit) -> Why:
    """Why a task with a limit is not taken."""
    name, limit = one_line(at.name), at.limit
    of_key = f" for {one_line(at.value)!r}" if at.value else ""
    if limit is None:
        return Why(
            "A worker takes it when its turn comes.",
            (f"The ledger has no limit {name!r}, so this task has none.",),
        )
    facts = [
        f"The limit {name!r} allows {words(limit.bounds)} for each key. It was set by {one_line(limit.changed_by)}."
    ]
    if at.ahead:
        more = "more than " if at.ahead >= AHEAD_MOST else ""
        facts.append(
            f"{more.capitalize()}{count(at.ahead, 'task')} of the same key {'go' if at.ahead != 1 else 'goes'} first."
        )
    raise_it = f"mirepoix limits set {name} changes the limit."
    most = limit.bounds.running
    if most is not None and at.in_use >= most:
        shown = ", ".join(f"{one_line(holder.task_id)} ({one_line(holder.worker_id)})" for holder in at.holders)
        others = f" and {at.in_use - HOLDERS_SHOWN:,} more" if at.in_use > HOLDERS_SHOWN else ""
        held = (f"These have the slots: {shown}{others}.",) if shown else ()
        return Why(
            f"It waits at the limit {name!r}: {at.in_use:,} of {most:,} tasks{of_key} are with workers.",
            (*held, *facts),
            raise_it,
            is_stuck=most == 0,
        )
    if not at.rate.tasks:
        return Why(
            f"It waits at the limit {name!r}: its rate{of_key} is used up, and allows the next task in "
            f"{duration(at.rate.next_in_s)}.",
            tuple(facts),
            raise_it,
            starts_in_s=None if at.ahead else at.rate.next_in_s,
        )
    return Why(f"Its limit {name!r} has room{of_key}: a worker takes it when its turn comes.", tuple(facts))


def _unserved(queue: str, living: Iterable[WorkerSeen]) -> Why:
    served = sorted({one_line(name) for worker in living for name in worker.queues})
    near = difflib.get_close_matches(queue, served, n=1)
    facts = [f"Live workers consume: {', '.join(map(repr, served)) or 'no queue'}."]
    if near:
        facts.append(f"{near[0]!r} is spelled almost like {queue!r}.")
    return Why(f"No live worker consumes queue {queue!r}.", tuple(facts), start_worker(queue), is_stuck=True)


def _drained(queue: str, stopped: list[Hold]) -> Why:
    facts = tuple(
        f"{what[:1].upper()}{what[1:]} takes nothing more, {steering.since(hold)}."
        for hold in dict.fromkeys(stopped)
        for what in (steering.what(hold.kind, hold.value),)
    )
    return Why(
        f"Every live worker that consumes queue {queue!r} takes nothing more.",
        facts,
        f"Start another worker with -Q {queue}, or resume one: mirepoix {steering.command(stopped[0])}",
        is_stuck=True,
    )


def _unsent(scene: Scene) -> Why:
    if scene.relay is None:
        return Why(
            "Its message is not in the broker, and no relay is alive to publish it.",
            next_step="Start a worker, or mirepoix relay.",
            is_stuck=True,
        )
    trouble = (f"{one_line(scene.relay.name)}: {one_line(scene.relay.trouble)}",) if scene.relay.trouble else ()
    return Why(
        "Its message is not in the broker yet.",
        trouble,
        "Look at the broker." if trouble else "The relay publishes it in a moment.",
        is_stuck=bool(trouble),
    )


def _behind(detail: TaskDetail, scene: Scene, serving: list[WorkerSeen]) -> Why:
    slots = sum(worker.concurrency or 1 for worker in serving)
    running = sum(worker.running for worker in serving)
    ahead = scene.place.ahead if scene.place is not None else None
    queue = one_line(detail.queue)
    room = f"{count(len(serving), 'live worker')} for {count(slots, 'task')} at once"
    facts = [f"Queue {queue!r} has {room}: {running:,} {'run' if running != 1 else 'runs'} now."]
    rate = scene.pace.rates().get(detail.queue, 0.0)
    starts_in_s = None
    if rate and ahead is not None:
        starts_in_s = ahead / rate
        facts.append(f"{rate:.3g} tasks a second of this queue succeeded in the last {duration(scene.pace.span_s)}.")
    elif detail.due_in_s is None:
        span = duration(scene.pace.span_s)
        facts.append(f"No task of this queue succeeded in the last {span}, so nothing shows when this one starts.")
    if scene.place is not None and scene.place.is_suspect:
        facts.append("A worker died while it held this task, so it runs only when no other such task runs.")
    if ahead:
        more = "more than " if ahead >= AHEAD_MOST else ""
        return Why(
            f"{more.capitalize()}{count(ahead, 'task')} of its queue {'go' if ahead != 1 else 'goes'} first.",
            tuple(facts),
            "Add workers for the queue, or cancel what need not run.",
            starts_in_s=starts_in_s,
        )
    if running >= slots:
        return Why(
            "It is the next of its queue, and every worker that takes it is busy.",
            tuple(facts),
            "Add workers for the queue, or look at what they run.",
            starts_in_s=starts_in_s,
        )
    if scene.place is not None and scene.place.has_message:
        sent = f"The broker confirmed its message {duration(scene.place.sent_s)} ago."
        return Why("Its message is in the broker, and no worker has received it yet.", (*facts, sent))
    return Why("It is the next of its queue: a worker takes it in a moment.", tuple(facts), starts_in_s=starts_in_s)

"""Fire schedules: decide once about each fire time, and send its run in the same transaction.

Any number of workers may do this at the same time. `mirepoix.ledger.schedules.advance` lets one of them decide about a
fire time. A worker that dies before its commit has decided nothing, and another decides. All moments are those of the
ledger's clock: a worker only measures how long to wait until the next one.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Protocol

from mirepoix.connect.source import OwnConnection
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import ConfigurationError, MirepoixError
from mirepoix.ledger import outgoing, schedules
from mirepoix.ledger.schedules import Decision, EndedFire, ScheduleRow, Waiting
from mirepoix.ledger.tx import Tx
from mirepoix.records import Envelope, Outgoing
from mirepoix.schedules.decide import BUFFERED, ENDED, FAILED, MISSED, RAN, SENT, SKIPPED, Due, due, overlapping
from mirepoix.schedules.definition import Definition

logger = logging.getLogger("mirepoix.schedules")

LOOK_S = 1.0
"""How often a worker looks for changed schedules, and for runs that have ended."""
SHORTEST_WAIT_S = 0.001
TOGETHER = 20
"""So many schedules that are due are decided in one transaction."""
UNKNOWN_TASK_S = 2.0
"""A worker that does not know the task leaves a fire time so long to workers that do."""

STATES = {"succeeded": RAN, "failed": FAILED, "quarantined": FAILED}
"""How a fire time ends, by the state of its task. Any other end is `ENDED`."""


class NoApp(ConfigurationError):
    """A run cannot be sent here, because this process has no app."""


class Nothing:
    """A sender for a process without an app. It can skip fire times, and cannot send."""

    def knows(self, task: str) -> bool:
        return True

    def make(self, name: str, definition: Definition, fire_at: datetime) -> list[Outgoing]:
        raise NoApp("This needs the app, which makes the messages: celery -A YOUR_APP mirepoix schedules …")

    def promised(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        return list(items)

    def announce(self, items: Sequence[Outgoing]) -> None:
        pass

    def end(self, task_ids: Sequence[str], *, kill: bool) -> None:
        pass


class Sender(Protocol):
    """How messages are made and published. Celery's part of firing."""

    def knows(self, task: str) -> bool:
        """Whether the app of this process has the task."""

    def make(self, name: str, definition: Definition, fire_at: datetime) -> list[Outgoing]:
        """Make the message of a run, and write nothing. Raises what ``apply_async`` raises."""

    def promised(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """Mark the items that `announce` will publish."""

    def announce(self, items: Sequence[Outgoing]) -> None:
        """Publish what was committed. Never raises."""

    def end(self, task_ids: Sequence[str], *, kill: bool) -> None:
        """Cancel runs that wait, and end those that run: with SIGKILL, or else with SIGTERM."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What a look has read."""

    now: datetime
    due: list[str]
    next_due_at: datetime | None
    ended: list[EndedFire]
    buffered: list[Waiting]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The due fire times of one schedule, with the messages of those that are sent."""

    row: ScheduleRow
    definition: Definition
    found: Due
    messages: dict[datetime, list[Outgoing]]


class Firing:
    """The firing of one process. All that it knows about schedules is in the ledger."""

    def __init__(self, sender: Sender, clock: Callable[[Tx], datetime] = schedules.clock) -> None:
        self.sender = sender
        self.clock = clock
        self._has_fired = False
        """Whether something was due in this call that could be fired here."""
        self._unreadable: set[str] = set()
        """The schedules that this code could not read, so that each is logged once."""

    def fire(self, connection: OwnConnection) -> float:
        """Decide about everything that is due. Return how many seconds to wait before the next call."""
        read = self._look(connection)
        looked_at = time.monotonic()
        ended = {name: list(fires) for name, fires in groupby(read.ended, lambda fire: fire.name)}
        for name in ended.keys() & set(read.due):  # its failed runs may pause it
            self._do(name, partial(self._settle, connection, name, ended.pop(name)))
        for name, waiting in groupby(read.buffered, lambda fire: fire.name):
            self._do(name, partial(self._send_buffered, connection, name, next(waiting)))
        parts = _parts(sorted(read.due))
        random.shuffle(parts)  # so that workers that wake up together begin with different schedules
        self._has_fired = False
        have_more = [self._fire_together(connection, names) for names in parts]
        if any(have_more) or (self._has_fired and len(read.due) >= schedules.AT_ONCE):
            return 0.0  # what is due goes before the record of what has ended
        for name, fires in ended.items():
            self._do(name, partial(self._settle, connection, name, fires))
        wait_s = LOOK_S
        if read.next_due_at is not None:
            wait_s = min(LOOK_S, (read.next_due_at - read.now).total_seconds())
        return max(SHORTEST_WAIT_S, wait_s - (time.monotonic() - looked_at))

    def fire_one(self, connection: OwnConnection, name: str, *, is_early: bool = False) -> bool:
        """Decide about the due fire times of one schedule. Return whether there are more than one transaction takes.

        With *is_early* a fire time that has come is decided before its jitter is over, and a task that this process
        does not know is sent at once.
        """
        with connection.reading() as tx:
            row, now = schedules.find(tx, name), self.clock(tx)
        firing = None if row is None else self._prepared(connection, row, now, is_early=is_early)
        return firing is not None and self._decide(connection, [firing], now)

    def _fire_together(self, connection: OwnConnection, names: Sequence[str]) -> bool:
        """Decide about the due fire times of several schedules in one transaction. Return whether there are more.

        The names are in order. So two workers lock the schedules in the same order, and cannot block each other.
        """
        with connection.reading() as tx:
            rows, now = schedules.find_all(tx, names), self.clock(tx)
        prepared: list[_Prepared] = []

        def prepare(row: ScheduleRow) -> None:
            firing = self._prepared(connection, row, now)
            if firing is not None:
                prepared.append(firing)

        for row in rows:
            self._do(row.name, partial(prepare, row))
        self._has_fired = self._has_fired or bool(prepared)
        with suppress(Exception):
            return bool(prepared) and self._decide(connection, prepared, now)
        # The database may have refused what one of them sends. The others must not wait for it.
        one_by_one = random.sample(names, len(names))
        have_more = [self._do(name, partial(self.fire_one, connection, name)) for name in one_by_one]
        return any(have_more)

    def _prepared(
        self, connection: OwnConnection, row: ScheduleRow, now: datetime, *, is_early: bool = False
    ) -> _Prepared | None:
        """Make ready what a transaction needs to decide about the due fire times of a schedule; None if none is due."""
        if row.removed_at is not None or row.next_due_at is None:
            return None
        definition = Definition.from_text(row.definition)
        late_s = (now - row.next_due_at).total_seconds()
        if not is_early and late_s < (0 if self.sender.knows(definition.task) else UNKNOWN_TASK_S):
            return None
        found = due(row, definition.plan, now, is_early=is_early)
        if not found.decisions:
            return None
        messages, found = self._made(row, definition, found)
        self._end_others(connection, row, definition, found)
        return _Prepared(row, definition, found, messages)

    def _do(self, name: str, act: Callable[[], bool | None]) -> bool:
        """Do something for one schedule. Leave a schedule that this code cannot read to workers of other code."""
        try:
            return bool(act())
        except ConfigurationError as error:
            if name not in self._unreadable:
                logger.warning("schedule %s is left to other workers, because this one cannot read it: %s", name, error)
            self._unreadable.add(name)
            return False

    def _look(self, connection: OwnConnection) -> _Read:
        with connection.reading() as tx:
            now = self.clock(tx)
            coming = schedules.next_due(tx)
            ended, buffered = schedules.ended(tx), schedules.buffered(tx)
        is_due = [name for name, due_at in coming if due_at <= now]
        next_due_at = next((due_at for _, due_at in coming if due_at > now), None)
        return _Read(now, is_due, next_due_at, ended, buffered)

    def _made(self, row: ScheduleRow, definition: Definition, found: Due) -> tuple[dict[datetime, list[Outgoing]], Due]:
        """Make the messages before the transaction begins, because user code runs then: routers and signals."""
        messages: dict[datetime, list[Outgoing]] = {}
        decisions = []
        for decision in found.decisions:
            if decision.state == SENT:
                made = self._message(row, definition, decision)
                if isinstance(made, Decision):
                    decisions.append(made)
                    continue
                messages[decision.fire_at] = made
                decision = replace(decision, task_id=task_id_of(made))  # noqa: PLW2901
            decisions.append(decision)
        return messages, Due(decisions, found.following)

    def _message(self, row: ScheduleRow, definition: Definition, decision: Decision) -> list[Outgoing] | Decision:
        try:
            return self.sender.promised(self.sender.make(row.name, definition, decision.fire_at))
        except NoApp:
            raise
        except Exception as error:
            logger.exception("schedule %s could not be sent for %s", row.name, decision.fire_at.isoformat())
            what = str(error) if isinstance(error, MirepoixError) else ""
            reason = f"it could not be sent: {type(error).__name__}" + (f": {what}" if what else "")
            return replace(decision, state=MISSED, reason=reason)

    def _end_others(self, connection: OwnConnection, row: ScheduleRow, definition: Definition, found: Due) -> None:
        """End the earlier runs, before the transaction. If this process dies then, the fire time is still due."""
        overlap = definition.plan.overlap
        if overlap not in ("cancel", "terminate") or not any(one.state == SENT for one in found.decisions):
            return
        with connection.reading() as tx:
            running = [run.task_id for run in schedules.open_runs(tx, row.name) if run.task_id is not None]
        if running:
            self.sender.end(running, kill=overlap == "terminate")

    def _decide(self, connection: OwnConnection, prepared: Sequence[_Prepared], now: datetime) -> bool:
        """Record the decisions and send the runs. Return whether more is due."""
        sent: list[Outgoing] = []
        with connection.transaction() as tx:
            for one in prepared:
                sent += self._decide_one(tx, one, now)
            outgoing.add(tx, sent)
            reached(Crashpoint.FIRE_BEFORE_COMMIT)
        reached(Crashpoint.FIRE_AFTER_COMMIT)
        self.sender.announce(sent)
        later = [one.found.following.due_at for one in prepared]
        return any(due_at is not None and due_at <= now for due_at in later)

    def _decide_one(self, tx: Tx, prepared: _Prepared, now: datetime) -> list[Outgoing]:
        row, found = prepared.row, prepared.found
        if not schedules.advance(tx, row, found.until, found.following):
            return []
        reached(Crashpoint.FIRE_BEFORE_INSERT)
        sent: list[Outgoing] = []
        running = schedules.open_runs(tx, row.name)
        waiting = [fire.fire_at for fire in schedules.buffered_of(tx, row.name)]
        for decision in overlapping(prepared.definition.plan, found.decisions, running, waiting):
            is_replaced = decision.state == SKIPPED and decision.fire_at in waiting
            if is_replaced:
                schedules.change(tx, row.name, BUFFERED, decision, now)
            elif schedules.decide(tx, row, decision, now) and decision.state == SENT:
                sent += prepared.messages[decision.fire_at]
        return sent

    def _send_buffered(self, connection: OwnConnection, name: str, first: Waiting) -> None:
        """Send the run that waits for the end of an earlier one, if none runs any more."""
        with connection.reading() as tx:
            row, is_free = schedules.find(tx, name), not schedules.open_runs(tx, name)
        if row is None or not is_free:
            return
        definition = Definition.from_text(row.definition)
        decision = Decision(first.fire_at, first.fire_at, SENT, "sent when the run before had ended", cause=first.cause)
        made = self._message(row, definition, decision)
        if isinstance(made, Decision):
            decision, made = made, []
        with connection.transaction() as tx:
            schedules.lock(tx, name)
            now = self.clock(tx)
            if schedules.open_runs(tx, name):
                return
            if not schedules.change(tx, name, BUFFERED, replace(decision, task_id=task_id_of(made)), now):
                return
            outgoing.add(tx, made)
            reached(Crashpoint.FIRE_BUFFERED_BEFORE_COMMIT)
        reached(Crashpoint.FIRE_BUFFERED_AFTER_COMMIT)
        self.sender.announce(made)

    def _settle(self, connection: OwnConnection, name: str, ended: list[EndedFire]) -> None:
        """Record how runs have ended, and pause the schedule if too many failed in a row."""
        with connection.transaction() as tx:
            schedules.lock(tx, name)
            row, now = schedules.find(tx, name), self.clock(tx)
            if row is None:
                return
            failures = row.failures
            for fire in ended:
                state = STATES.get(fire.task_state or "", ENDED)
                reason = fire.reason if fire.task_state is not None else "its task was deleted"
                if state == ENDED and fire.task_state is not None:
                    reason = f"{fire.task_state}: {fire.reason}" if fire.reason else fire.task_state
                if schedules.end(tx, fire, state, reason, now):
                    failures = failures + 1 if state == FAILED else 0 if state == RAN else failures
            if failures != row.failures:
                schedules.count_failures(tx, name, failures)
            limit = Definition.from_text(row.definition).plan.pause_after_failures
            is_paused = limit is not None and failures >= limit
            if is_paused:
                schedules.pause(tx, name, "mirepoix", f"{failures} runs in a row failed", now)
            reached(Crashpoint.SETTLE_BEFORE_COMMIT)
        reached(Crashpoint.SETTLE_AFTER_COMMIT)
        if is_paused and row.paused_at is None:
            logger.error("schedule %s is paused: %d runs in a row failed", name, failures)


def task_id_of(items: Sequence[Outgoing]) -> str | None:
    """The id of the task in the message of a run."""
    return next((item.id for item in items if isinstance(item, Envelope)), None)


def _parts(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[first : first + TOGETHER] for first in range(0, len(names), TOGETHER)]

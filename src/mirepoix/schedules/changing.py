"""Add, change and remove schedules, so that no fire time is lost or repeated.

A change first decides about every fire time that has come, by the old definition. The new definition begins after that
moment. The revision and ``fired_until`` are guarded: if a worker fires in between, the change begins anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from mirepoix.connect.source import OwnConnection
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import schedules
from mirepoix.ledger.schedules import ScheduleRow
from mirepoix.schedules.decide import following
from mirepoix.schedules.definition import CODE, DATABASE, Definition, check_name
from mirepoix.schedules.firing import Firing

MOST_TRIES = 100


def put(
    connection: OwnConnection,
    firing: Firing,
    name: str,
    definition: Definition,
    *,
    owner: str,
    app: str,
    by: str,
    may_exist: bool = True,
) -> bool:
    """Add the schedule *name*, or give it this definition. Return whether anything changed.

    Raises ConfigurationError if the schedule has another owner, or exists although *may_exist* is False.
    """
    check_name(name)
    text = definition.as_text()
    for _ in range(MOST_TRIES):
        with connection.reading() as tx:
            row = schedules.find(tx, name)
        if row is not None and row.removed_at is None:
            _check_owner(row, owner, app)
            if not may_exist:
                raise ConfigurationError(f"There is a schedule {name!r} already. `schedules edit` changes it.")
            if row.definition == text and (row.owner, row.app) == (owner, app):
                return False
            while firing.fire_one(connection, name, is_early=True):
                pass
        if _put(connection, firing, name, definition, owner, app, by):
            return True
    raise ConfigurationError(f"The schedule {name!r} changes too often to be changed. Try again.")


def remove(connection: OwnConnection, firing: Firing, name: str, by: str, owner: str = DATABASE) -> bool:
    """Remove a schedule, after deciding about every fire time that has come. Return False if there is none."""
    with connection.reading() as tx:
        row = schedules.find(tx, name)
    if row is None or row.removed_at is not None:
        return False
    if row.owner != owner:
        raise ConfigurationError(_OWNED_BY_CODE.format(name=name))
    while firing.fire_one(connection, name, is_early=True):
        pass
    with connection.transaction() as tx:
        return schedules.remove(tx, name, by, firing.clock(tx))


def record(
    connection: OwnConnection, firing: Firing, app: str, found: Mapping[str, Definition], by: str
) -> Collection[str]:
    """Record the schedules that the code of *app* defines, and remove those that it defines no more.

    Return the names that changed. A schedule of that name that people own is left alone, and named in an error.
    """
    changed = [
        name
        for name, definition in found.items()
        if put(connection, firing, name, definition, owner=CODE, app=app, by=by)
    ]
    with connection.reading() as tx:
        gone = [
            row.name for row in schedules.all_of(tx) if (row.owner, row.app) == (CODE, app) and row.name not in found
        ]
    return changed + [name for name in gone if remove(connection, firing, name, by, owner=CODE)]


def _put(
    connection: OwnConnection, firing: Firing, name: str, definition: Definition, owner: str, app: str, by: str
) -> bool:
    given = {"owner": owner, "app": app, "task": definition.task, "definition": definition.as_text(), "by": by}
    with connection.transaction() as tx:
        schedules.lock(tx, name)  # so that an SQLite transaction begins with a write
        row, now = schedules.find(tx, name), firing.clock(tx)
        if row is None:
            is_done = schedules.add(tx, name, now=now, following=following(definition.plan, name, now, now), **given)
        elif row.removed_at is None and _has_come(row, now):
            return False
        else:
            until = max(now, row.fired_until)
            then = following(definition.plan, name, row.created_at, until)
            is_done = schedules.redefine(tx, row, now=now, until=until, following=then, **given)
        reached(Crashpoint.SCHEDULE_BEFORE_COMMIT)
    reached(Crashpoint.SCHEDULE_AFTER_COMMIT)
    return is_done


def _has_come(row: ScheduleRow, now: datetime) -> bool:
    return row.next_fire_at is not None and row.next_fire_at <= now


def _check_owner(row: ScheduleRow, owner: str, app: str) -> None:
    if row.owner == CODE and owner != CODE:
        raise ConfigurationError(_OWNED_BY_CODE.format(name=row.name))
    if row.owner == CODE and row.app != app:
        raise ConfigurationError(
            f"The schedule {row.name!r} belongs to the app {row.app!r}, and {app!r} defines one of the same name. A "
            "name stands for one schedule of the ledger: rename one of them."
        )
    if row.owner != CODE and owner == CODE:
        raise ConfigurationError(
            f"The schedule {row.name!r} is in the database, and the code defines one of the same name. Remove one of "
            f"them: `celery -A ... mirepoix schedules remove {row.name!r}`."
        )


_OWNED_BY_CODE = (
    "The schedule {name!r} is defined by the app's code, so it is changed there. It can be paused and resumed here."
)

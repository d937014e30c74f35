"""Health and metrics report a schedule that nobody fires, and one that missed a fire time."""

from __future__ import annotations

from clocks import Scheduled

from mirepoix.connect.source import OwnConnection
from mirepoix.ledger import schedules
from mirepoix.operations.health import checks_of_schedules
from mirepoix.operations.look import look_in
from mirepoix.operations.schedules import lines
from mirepoix.operations.verdict import sentence


def check(connection: OwnConnection) -> tuple[bool | None, str] | None:
    """The check of schedules, if there is one."""
    with connection.reading() as tx:
        found = list(checks_of_schedules(tx))
    return (found[0].is_ok, found[0].message) if found else None


def said(connection: OwnConnection) -> list[str]:
    """What the overview says of schedules."""
    with connection.reading() as tx:
        return [sentence(finding, 60.0) for finding in look_in(tx).findings if finding.kind == "schedule"]


def now_of(connection: OwnConnection) -> object:
    with connection.reading() as tx:
        return schedules.clock(tx)


def test_a_schedule_that_missed_or_that_nobody_fires_is_not_well(scheduled: Scheduled, connection: OwnConnection):
    assert check(connection) is None
    scheduled.clock.now = now_of(connection)
    scheduled.clock.passes(hours=-5)
    scheduled.add("old", every_s=4 * 3600, catch_up_s=600)
    scheduled.add("hourly", every_s=3600)
    is_ok, message = check(connection)
    assert not is_ok
    assert message.startswith("'hourly' has been due for 4h")
    assert "no worker fires schedules" in message
    assert [words.partition(" has been due for ")[0] for words in said(connection)] == [
        "schedule 'hourly'",
        "schedule 'old'",
    ]
    scheduled.clock.passes(hours=5, seconds=-10)
    scheduled.fire_all()
    assert check(connection) == (True, "2 schedules on time")
    with connection.reading() as tx:
        missed = {line.name: line.missed for line in lines(tx)}
    assert missed == {"old": 1, "hourly": 3}


def test_misses_within_an_hour_are_not_well(scheduled: Scheduled, connection: OwnConnection):
    scheduled.clock.now = now_of(connection)
    scheduled.clock.passes(minutes=-30)
    scheduled.add("often", every_s=300)
    scheduled.clock.passes(minutes=30, seconds=-5)
    scheduled.fire_all()
    assert check(connection) == (False, "'often' missed 4 fire times within an hour")
    assert said(connection) == ["schedule 'often' missed 4 fire times in the last hour"]
    with connection.transaction() as tx:
        schedules.pause(tx, "often", "ana", None, scheduled.clock.now)
        tx.script("UPDATE mirepoix_fire SET state = 'skipped', reason = 'decided' WHERE state = 'missed'")
    assert check(connection) == (True, "1 schedule on time (1 paused)")
    assert said(connection) == []

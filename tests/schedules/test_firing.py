"""Each fire time of a schedule is decided once, with a reason, whatever the clock, the workers and the runs do."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clocks import Scheduled

from driver import Ledger
from mirepoix.connect.source import Source
from mirepoix.errors import ConfigurationError
from mirepoix.records import Outgoing
from mirepoix.schedules.changing import put, remove
from mirepoix.schedules.definition import CODE, Definition
from mirepoix.schedules.plan import Plan


def tasks(ledger: Ledger) -> int:
    ((number,),) = ledger.query("SELECT count(*) FROM mirepoix_task")
    return number


def ends(ledger: Ledger, how: str = "succeeded") -> None:
    """The oldest run that waits is taken and ends so."""
    if not ledger.query("SELECT 1 FROM mirepoix_worker"):
        ledger.worker("w")
    lease = ledger.lease("w")
    ledger.start(lease)
    assert ledger.succeed(lease) if how == "succeeded" else ledger.fail(lease)


def test_each_fire_time_sends_one_task_in_the_transaction_of_its_row(scheduled: Scheduled, ledger: Ledger):
    assert scheduled.add("report", cron="*/5 * * * *")
    assert 0 < scheduled.fire() <= 1.0  # the next look, for changes
    for _ in range(3):
        scheduled.clock.passes(minutes=5)
        scheduled.fire()
        scheduled.fire()
    assert scheduled.fires("report") == [(f"03-01 12:{minute}:00", "sent", None) for minute in ("05", "10", "15")]
    assert tasks(ledger) == 3
    ((linked,),) = ledger.query("SELECT count(*) FROM mirepoix_fire AS f JOIN mirepoix_task AS t ON t.id = f.task_id")
    assert linked == 3


def test_of_very_many_schedules_that_are_due_at_once_none_waits_for_the_next_look(scheduled: Scheduled, ledger: Ledger):
    for number in range(130):
        scheduled.add(f"s{number}", every_s=60)
    scheduled.clock.passes(minutes=1)
    scheduled.fire_all()
    assert tasks(ledger) == 130


def test_what_is_due_does_not_wait_for_the_record_of_other_runs(scheduled: Scheduled, ledger: Ledger):
    scheduled.add("early", cron="* * * * *", end="2026-03-01T12:01:30")
    scheduled.clock.passes(minutes=1)
    scheduled.fire()
    ends(ledger)
    for number in range(130):
        scheduled.add(f"s{number}", every_s=60)
    scheduled.clock.passes(minutes=1)
    assert scheduled.fire() == 0.0
    assert scheduled.states("early") == ["sent"]
    assert scheduled.fire() > 0.0
    assert scheduled.states("early") == ["ran"]
    assert tasks(ledger) == 131


def test_a_failure_that_is_not_recorded_yet_pauses_its_schedule_before_the_next_run(
    scheduled: Scheduled, ledger: Ledger
):
    scheduled.add("report", cron="* * * * *", pause_after_failures=1)
    scheduled.clock.passes(minutes=1)
    scheduled.fire()
    ends(ledger, "failed")
    scheduled.clock.passes(minutes=1)
    scheduled.fire()
    assert scheduled.states("report") == ["failed", "skipped"]


def test_a_run_that_the_database_refuses_holds_up_no_other(scheduled: Scheduled, monkeypatch: pytest.MonkeyPatch):
    for name in ("a", "bad", "c"):
        scheduled.add(name, every_s=60)
    make = scheduled.sender.make

    def made(name: str, *given: Any) -> list[Outgoing]:
        return [replace(one, queue=None) if name == "bad" else one for one in make(name, *given)]

    monkeypatch.setattr(scheduled.sender, "make", made)
    scheduled.clock.passes(minutes=1)
    for _ in range(50):
        with pytest.raises(Exception, match=r"(?i)null"):
            scheduled.fire()
    assert [scheduled.states(name) for name in ("a", "bad", "c")] == [["sent"], [], ["sent"]]


def test_the_wait_is_until_the_next_due_time(scheduled: Scheduled):
    scheduled.add("report", every_s=10)
    scheduled.clock.passes(seconds=9.75)
    assert 0 < scheduled.fire() <= 0.25


def test_a_clock_that_is_set_back_repeats_nothing_and_one_that_is_set_ahead_gives_every_fire_time_a_reason(
    scheduled: Scheduled, ledger: Ledger
):
    scheduled.add("report", cron="* * * * *")
    scheduled.clock.passes(minutes=1)
    scheduled.fire_all()
    scheduled.clock.passes(minutes=-30)
    scheduled.fire_all()
    assert scheduled.states("report") == ["sent"]
    scheduled.clock.passes(minutes=33)
    scheduled.fire_all()
    assert scheduled.states("report") == ["sent", "missed", "missed", "sent"]
    reasons = [reason for _, _, reason in scheduled.fires("report")]
    assert reasons[1] == "no worker fired it for 120 s, and only the latest fire time is caught up"
    scheduled.clock.passes(minutes=-3)
    scheduled.fire_all()
    assert tasks(ledger) == 2


def test_after_an_outage_what_is_in_the_window_is_caught_up_and_the_rest_is_missed(scheduled: Scheduled):
    scheduled.add("all", cron="0 * * * *", catch_up="all", catch_up_s=2.5 * 3600)
    scheduled.add("latest", cron="0 * * * *")
    scheduled.add("old", cron="0 13 * * *", catch_up_s=3600)
    scheduled.clock.passes(hours=5, minutes=10)
    scheduled.fire_all()
    assert scheduled.states("all") == ["missed", "missed", "sent", "sent", "sent"]
    assert scheduled.fires("all")[0][2] == "no worker fired it for 15000 s; it is caught up for 9000 s"
    assert scheduled.fires("all")[-1][2] == "caught up 600 s late"
    assert scheduled.states("latest") == ["missed"] * 4 + ["sent"]
    assert scheduled.states("old") == ["missed"]


def test_a_long_outage_is_decided_in_several_transactions(scheduled: Scheduled, ledger: Ledger):
    scheduled.add("often", every_s=10, catch_up="all", catch_up_s=300)
    scheduled.clock.passes(hours=3)
    scheduled.fire_all()
    assert scheduled.states("often") == ["missed"] * 1049 + ["sent"] * 31
    assert tasks(ledger) == 31


@pytest.mark.parametrize(
    ("overlap", "states", "sent"),
    [
        ("allow", ["sent", "sent", "sent"], 3),
        ("skip", ["sent", "skipped", "skipped"], 1),
        ("buffer_one", ["sent", "buffered", "skipped"], 1),
        ("buffer_all", ["sent", "buffered", "buffered"], 1),
        ("cancel", ["sent", "skipped", "buffered"], 1),
        ("terminate", ["sent", "sent", "sent"], 3),
    ],
)
def test_what_happens_while_the_run_before_has_not_ended(
    scheduled: Scheduled, ledger: Ledger, overlap: str, states: list[str], sent: int
):
    scheduled.add("report", cron="* * * * *", overlap=overlap)
    for _ in range(3):
        scheduled.clock.passes(minutes=1)
        scheduled.fire_all()
    assert scheduled.states("report") == states
    assert tasks(ledger) == sent
    reason = scheduled.fires("report")[1][2]
    if states[1] in ("skipped", "buffered") and overlap != "cancel":
        assert reason == "the run of 2026-03-01T12:01:00+00:00 is pending"
    elif overlap == "cancel":
        assert reason == "the run of 2026-03-01T12:03:00+00:00 replaced it"
    assert [kill for _, kill in scheduled.sender.ended] == {"cancel": [False] * 2, "terminate": [True] * 2}.get(
        overlap, []
    )


def test_what_is_buffered_is_sent_one_after_another(scheduled: Scheduled, ledger: Ledger):
    scheduled.add("report", cron="* * * * *", overlap="buffer_all", end="2026-03-01T12:03")
    for _ in range(3):
        scheduled.clock.passes(minutes=1)
        scheduled.fire_all()
    for number in range(1, 4):
        ends(ledger)
        scheduled.fire_all()
        assert scheduled.states("report").count("ran") == number
        assert tasks(ledger) == min(3, number + 1)
    assert scheduled.fires("report")[1][2] is None  # the reason of a run that ran is its own


def test_how_a_run_ended_stays_when_its_task_is_gone(scheduled: Scheduled, ledger: Ledger):
    scheduled.add("report", cron="* * * * *")
    for _ in range(4):
        scheduled.clock.passes(minutes=1)
        scheduled.fire()
    ends(ledger)
    ends(ledger, "failed")
    ledger.cancel(*[id for id, state in ledger.states().items() if state == "pending"][:1])
    ledger.write("DELETE FROM mirepoix_task WHERE state = 'pending'")
    scheduled.fire()
    assert scheduled.states("report") == ["ran", "failed", "ended", "ended"]
    assert [reason for _, _, reason in scheduled.fires("report")][2:] == [
        "cancelled: cancelled by an operator",
        "its task was deleted",
    ]


def test_failures_in_a_row_pause_the_schedule_and_its_fire_times_are_skipped(scheduled: Scheduled, ledger: Ledger):
    scheduled.add("report", cron="* * * * *", pause_after_failures=2)
    for how in ("failed", "succeeded", "failed", "failed"):
        scheduled.clock.passes(minutes=1)
        scheduled.fire()
        ends(ledger, how)
        scheduled.fire()
    row = scheduled.row("report")
    assert (row.failures, row.paused_by, row.paused_reason) == (2, "mirepoix", "2 runs in a row failed")
    scheduled.clock.passes(minutes=1)
    scheduled.fire()
    assert scheduled.fires("report")[-1][1:] == ("skipped", "paused by mirepoix: 2 runs in a row failed")


def test_excluded_fire_times_are_skipped(scheduled: Scheduled):
    scheduled.add("report", cron="0 13 * * *", exclude=["03-02"])
    for _ in range(3):
        scheduled.clock.passes(days=1)
        scheduled.fire()
    assert scheduled.states("report") == ["sent", "skipped", "sent"][: len(scheduled.states("report"))]
    assert scheduled.fires("report")[1][2] == "excluded by 03-02"


def test_an_edit_loses_no_fire_time_and_repeats_none(scheduled: Scheduled):
    scheduled.add("report", cron="*/10 * * * *", jitter_s=300)
    scheduled.clock.passes(minutes=10)  # it has come, and its jitter is not over
    scheduled.add("report", cron="*/5 * * * *")
    assert scheduled.fires("report") == [("03-01 12:10:00", "sent", None)]
    assert scheduled.row("report").revision == 1
    scheduled.clock.passes(minutes=5)
    scheduled.fire()
    scheduled.add("report", cron="*/15 * * * *")
    scheduled.clock.passes(minutes=15)
    scheduled.fire()
    assert [at[-8:] for at, _, _ in scheduled.fires("report")] == ["12:10:00", "12:15:00", "12:30:00"]
    assert not scheduled.add("report", cron="*/15 * * * *")  # nothing changed


def test_a_removed_schedule_fires_no_more_and_one_added_again_repeats_nothing(scheduled: Scheduled):
    scheduled.add("report", cron="* * * * *")
    scheduled.clock.passes(minutes=1)
    assert remove(scheduled.connection, scheduled.firing, "report", "ana")
    assert not remove(scheduled.connection, scheduled.firing, "report", "ana")
    scheduled.clock.passes(minutes=1)
    scheduled.fire()
    scheduled.clock.passes(seconds=-70)
    scheduled.add("report", cron="* * * * *")
    scheduled.clock.passes(seconds=130)
    scheduled.fire_all()
    found = [at[-8:] for at, _, _ in scheduled.fires("report")]
    assert found == sorted(set(found))
    assert found[0] == "12:01:00"


def test_a_schedule_of_the_code_is_not_changed_in_the_database(scheduled: Scheduled):
    definition = Definition("note", Plan(every_s=60))
    arguments = {"owner": CODE, "app": "shop", "by": "worker"}
    put(scheduled.connection, scheduled.firing, "report", definition, **arguments)
    with pytest.raises(ConfigurationError, match="is defined by the app's code"):
        scheduled.add("report", every_s=30)
    with pytest.raises(ConfigurationError, match="is defined by the app's code"):
        remove(scheduled.connection, scheduled.firing, "report", "ana")
    with pytest.raises(ConfigurationError, match="belongs to the app 'shop'"):
        put(scheduled.connection, scheduled.firing, "report", definition, **{**arguments, "app": "other"})


def test_a_run_that_cannot_be_sent_is_missed_and_its_arguments_are_not_told(scheduled: Scheduled):
    scheduled.sender.broken = frozenset({"report"})
    scheduled.add("report", cron="* * * * *")
    scheduled.clock.passes(minutes=1)
    scheduled.fire()
    assert scheduled.fires("report") == [("03-01 12:01:00", "missed", "it could not be sent: ValueError")]


def test_a_worker_leaves_a_task_that_it_does_not_know_to_others_for_a_while(scheduled: Scheduled):
    scheduled.sender.unknown = frozenset({"note"})
    scheduled.add("report", cron="* * * * *")
    scheduled.clock.passes(minutes=1)
    scheduled.fire()
    assert scheduled.states("report") == []
    scheduled.clock.passes(seconds=3)
    scheduled.fire()
    assert scheduled.states("report") == ["sent"]


def test_many_workers_that_fire_at_once_send_one_task_for_each_fire_time(source: Source, ledger: Ledger):
    """Real threads, each with a connection of its own, race for the same fire times."""
    connections = [source.open() for _ in range(4)]
    workers = [Scheduled(connection) for connection in connections]
    for number in range(5):
        workers[0].add(f"s{number}", every_s=60)
    now = workers[0].clock
    for worker in workers:
        worker.firing.clock = now
    for _ in range(4):
        now.passes(seconds=60)
        threads = [threading.Thread(target=worker.fire_all) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number in range(5):
        assert workers[0].states(f"s{number}") == ["sent"] * 4
    assert tasks(ledger) == 20
    for connection in connections:
        connection.close()


def test_the_clock_is_the_ledgers(scheduled: Scheduled):
    from mirepoix.ledger import schedules

    with scheduled.connection.reading() as tx:
        assert abs(schedules.clock(tx) - datetime.now(UTC)) < timedelta(seconds=30)


def test_a_schedule_of_newer_code_is_left_to_its_workers_and_holds_up_no_other(
    scheduled: Scheduled, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    scheduled.add("new", cron="* * * * *")
    scheduled.add("old", cron="* * * * *")
    ledger.write(
        'UPDATE mirepoix_schedule SET definition = REPLACE(definition, \'"cron"\', \'"colour": 1, "cron"\')'
        " WHERE id = 'new'"
    )
    for _ in range(3):
        scheduled.clock.passes(minutes=1)
        scheduled.fire()
    assert (scheduled.states("old"), scheduled.states("new")) == (["sent"] * 3, [])
    (said,) = [record.message for record in caplog.records if "left to other workers" in record.message]
    assert said.startswith("schedule new is left to other workers, because this one cannot read it: A schedule has no")

"""What a person would want to hear is opened, told once, and closed, on every database."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import unquote

import pytest
from django.contrib.admin.utils import unquote as in_admin
from receivers import Hook, http
from watching import Watch, fail

from driver import OOPS, Ledger
from mirepoix.alerts.deliver import SUMMARY_S
from mirepoix.config import Settings
from mirepoix.ledger import alerts, failures, finish, reap
from mirepoix.records import Alert, AttemptFailure, Lease


def group(ledger: Ledger) -> str:
    ledger.count_failures()
    ((id,),) = ledger.query("SELECT id FROM mirepoix_failure_group")
    return id


def test_a_new_failure_is_told_once_and_over_when_it_is_resolved(ledger: Ledger, hook: Hook):
    ledger.worker("w1")
    watched = Watch(ledger, hook.url)
    fail(ledger, "t1")
    assert watched() == [1]
    fail(ledger, "t2")
    assert watched() == [0]
    (told,) = hook.told
    assert (told["kind"], told["subject"], told["name"], told["task_id"]) == (
        *("new_failure", group(ledger), "shop.pay", "t1"),
    )
    ledger.do(failures.resolve, group(ledger), "me")
    assert (watched(), watched.open) == ([0], [])


def test_a_regression_is_told_and_so_is_the_next(ledger: Ledger, hook: Hook):
    ledger.worker("w1")
    watched = Watch(ledger, hook.url)
    for number in range(3):
        fail(ledger, f"t{number}")
        assert watched() == [1]
        ledger.do(failures.resolve, group(ledger), "me")
        assert watched() == [0]
    assert [(one["kind"], one["occasion"]) for one in hook.told if one["state"] == "open"] == [
        *[("new_failure", 1), ("regression", 1), ("regression", 2)],
    ]
    assert len(hook.told) == 6  # each is over, too


def test_what_is_ignored_is_not_told(ledger: Ledger, hook: Hook):
    ledger.worker("w1")
    fail(ledger, "t1")
    ledger.do(failures.ignore, group(ledger), "me", failures.Ignoring())
    assert Watch(ledger, hook.url)() == [0]


def on_its_last_chance(ledger: Ledger) -> Lease:
    """Run a task that the next death puts in quarantine."""
    ledger.settings = Settings(max_deaths=1)
    ledger.worker("w1")
    ledger.send("t1")
    lease = ledger.lease("w1")
    ledger.start(lease)
    return lease


def test_a_quarantine_is_told_and_over_when_somebody_requeues_it(ledger: Ledger, hook: Hook):
    watched = Watch(ledger, hook.url)
    lease = on_its_last_chance(ledger)
    ledger.lose(lease)
    assert ledger.state("t1") == "quarantined"
    watched()
    assert "quarantine:shop.pay" in watched.open
    assert "shop.pay: 1 task is quarantined, waiting for you" in hook.titles
    ledger.requeue("t1")
    watched()
    assert "quarantine:shop.pay" not in watched.open


def test_a_parked_payload_is_told_if_it_stays_so(ledger: Ledger, hook: Hook):
    ledger.worker("w1")
    ledger.send("t1")
    park(ledger)
    patient = Watch(ledger, hook.url, alerts_grace_s=100.0)
    assert patient() == [0]
    ledger.requeue("t1")
    assert (patient(), patient.open) == ([0], [])  # it mended itself
    park(ledger)
    assert patient() == [0]
    ledger.passes(101)
    assert patient() == [1]
    assert hook.titles == ["shop.pay: 1 task is parked, waiting for you"]


def park(ledger: Ledger) -> None:
    assert ledger.do(finish.park, ledger.lease("w1"), OOPS)


def test_a_queue_later_than_its_objective_is_told_until_it_is_not(ledger: Ledger, hook: Hook):
    ledger.worker("w1")
    ledger.send("t1")
    ledger.send("t2", queue="slow")
    watched = Watch(ledger, hook.url, queue_objectives_s={"celery": 60, "*": 600})
    assert watched() == [0]
    ledger.passes(100)
    keep_alive(ledger)
    assert (watched(), watched()) == ([1], [0])
    assert watched.open == ["late_queue:celery"]
    ledger.lease("w1")
    watched()
    assert watched.open == []


def test_a_dead_fleet_is_told_until_a_worker_lives(ledger: Ledger, hook: Hook):
    watched = Watch(ledger, hook.url)
    assert watched() == [0]  # nothing has begun yet
    ledger.worker("w1")
    assert watched() == [0]
    ledger.die("w1")
    assert (watched(), watched()) == ([1], [0])
    ledger.passes(100_000)  # however long ago it died
    assert (watched(), watched.open) == ([0], ["no_workers:"])
    ledger.worker("w2")
    watched()
    assert watched.open == []


def test_two_watchers_at_once_tell_once(ledger: Ledger, hook: Hook):
    ledger.worker("w1")
    for number in range(4):
        fail(ledger, f"t{number}", error=f"Odd{'abcd'[number]}Error")
    with Ledger(ledger.source) as other:
        both = [Watch(ledger, hook.url), Watch(other, hook.url)]
        together(*both)
    assert len(hook.requests) == 4
    assert ledger.query("SELECT count(*) FROM mirepoix_alert_telling WHERE told_at IS NOT NULL") == [(4,)]


def together(*acts: Any) -> None:
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_channel_that_is_away_is_tried_again_and_keeps_no_other_waiting(ledger: Ledger, hook: Hook):
    ledger.worker("w1")
    fail(ledger, "t1")
    hook.status = 503
    with http() as well:
        watched = Watch(ledger, hook.url, well.url)
        assert watched() == [0, 1]
        assert watched() == [0, 0]  # not before its time
        assert len(hook.requests) == 1
        (one,) = ledger.do(alerts.all_open)
        assert one.trouble == "HTTPError 503"
        hook.status = 200
        ledger.passes(10)
        keep_alive(ledger)
        assert watched() == [1, 0]
        assert len(hook.requests) == 2


def test_a_redirect_tells_nobody_and_is_a_failure(ledger: Ledger, hook: Hook):
    ledger.worker("w1")
    fail(ledger, "t1")
    hook.status = 302
    assert Watch(ledger, hook.url)() == [0]
    assert [path for path, _, _ in hook.requests] == ["/hook"]


def test_more_than_so_many_an_hour_are_one_summary(ledger: Ledger, hook: Hook):
    ledger.worker("w1")
    for number in range(5):
        fail(ledger, f"t{number}", error=f"Odd{'abcdef'[number]}Error")
    watched = Watch(ledger, hook.url, alerts_per_hour=2)
    assert watched() == [5]
    assert [one["kind"] for one in hook.told] == ["new_failure", "new_failure", "summary"]
    assert hook.titles[-1].startswith("3 more alerts: ")
    assert len({one["id"] for one in hook.told}) == 3
    fail(ledger, "t5", error="OddfError")
    for number in range(3):
        fail(ledger, f"again{number}", error="OddeError")
    fail(ledger, "t6", error="OddeError")
    assert watched() == [0]
    with ledger.connection.reading() as tx:
        held = alerts.held_back(tx, 2, SUMMARY_S)
    assert set(held) == {one.alert.id for one in ledger.do(alerts.all_open) if not one.told_at}
    ledger.passes(700)
    keep_alive(ledger)
    assert watched() == [1]  # late, and not lost: well before the hour is over


def test_a_summary_begins_with_what_failed_most(ledger: Ledger, hook: Hook):
    ledger.worker("w1")
    for number, times in enumerate((1, 1, 1, 7)):
        for again in range(times):
            fail(ledger, f"t{number}-{again}", error=f"Odd{'abcd'[number]}Error")
    Watch(ledger, hook.url, alerts_per_hour=1)()
    summary = hook.told[-1]
    if "OdddError" not in hook.titles[0]:
        assert "OdddError" in summary["lines"][0]
        assert "(7 failed attempts)" in summary["lines"][0]
    assert len(summary["lines"]) == 3


def test_a_quarantine_is_told_once_and_not_by_its_cause_as_well(ledger: Ledger, hook: Hook):
    watched = Watch(ledger, hook.url)
    lease = on_its_last_chance(ledger)
    died = AttemptFailure("its process died", error_type="WorkerLostError")
    ledger.do(reap.lose, lease, died, ledger.settings, is_blamed=True, outcome="lost", delay_s=0.0)
    watched()
    assert hook.titles == ["shop.pay: 1 task is quarantined, waiting for you"]


def test_a_webhook_is_told_once_that_an_alert_is_over(ledger: Ledger, hook: Hook):
    watched = Watch(ledger, hook.url)
    ledger.worker("w1")
    ledger.send("t1")
    park(ledger)
    assert watched() == [1]
    hook.status = 500
    ledger.requeue("t1")
    watched()
    hook.status = 200
    ledger.passes(61)  # a claim is over
    keep_alive(ledger)
    watched()
    watched()
    told = [(one["state"], one["text"]) for one in hook.told]
    assert told[0][0] == "open"
    assert told[1:] == [("closed", "over: parked: shop.pay: 1 task is parked, waiting for you")] * 2
    assert hook.told[0]["id"] == hook.told[1]["id"]
    assert hook.told[-1]["closed_at"] is not None


def test_a_teller_that_dies_before_it_noted_the_end_tells_it_again(ledger: Ledger, hook: Hook):
    watched = Watch(ledger, hook.url)
    ledger.worker("w1")
    ledger.send("t1")
    park(ledger)
    watched()
    ledger.requeue("t1")
    watched.look()
    with ledger.connection.transaction() as tx:
        (one,) = alerts.ended(tx, watched.channels[0].label)
        assert alerts.claim_end(tx, one)
        assert not alerts.claim_end(tx, one)
    watched()
    assert len(hook.told) == 1  # the claim stands
    ledger.passes(61)
    keep_alive(ledger)
    watched()
    assert hook.told[-1]["state"] == "closed"


def test_a_watcher_whose_look_is_old_does_not_close_what_was_just_opened(ledger: Ledger):
    alert = Alert("parked:a", "parked", "a", "1 a task is parked")
    assert ledger.do(alerts.open_, alert, ["logging"])
    assert not ledger.do(alerts.open_, alert, ["logging"])
    assert not ledger.do(alerts.close, alert.id, 60.0)
    assert ledger.do(alerts.close, alert.id, 0.0)
    assert not ledger.do(alerts.close, alert.id, 0.0)
    assert ledger.do(alerts.open_, alert, ["logging"])
    (one,) = ledger.do(alerts.all_open)
    assert one.alert.occasion == 2


def test_what_has_been_over_for_long_is_forgotten(ledger: Ledger):
    ledger.do(alerts.open_, Alert("parked:a", "parked", "a", "it"), ["logging"])
    ledger.do(alerts.close, "parked:a")
    ledger.passes(100)
    assert ledger.do(alerts.prune, 1_000.0) == 0
    assert ledger.do(alerts.prune, 50.0) == 1
    assert ledger.query("SELECT count(*) FROM mirepoix_alert_telling") == [(0,)]


@pytest.mark.parametrize("letters", [10, 400])
def test_a_name_of_any_length_is_an_alert_of_its_own(ledger: Ledger, hook: Hook, letters: int):
    ledger.worker("w1")
    ledger.send("t1", name="n" * letters)
    park(ledger)
    assert Watch(ledger, hook.url)() == [1]
    assert hook.told[0]["subject"] == "n" * letters


def keep_alive(ledger: Ledger) -> None:
    ledger.write("UPDATE mirepoix_worker SET alive_until = '2037-01-01 00:00:00'")


def test_an_alert_links_to_the_admin_and_shows_where_it_was_raised_without_values(ledger: Ledger, hook: Hook):
    ledger.worker("w1")
    ledger.send("t1")
    raised = (
        'Traceback:\n  File "/srv/shop.py", line 7, in pay\n    charge(card)\nValueError: card 4111111111111111 is bad'
    )
    ledger.fail(ledger.lease("w1"), AttemptFailure("ValueError: card 4111111111111111 is bad", "ValueError", raised))
    Watch(ledger, hook.url, alerts_base_url="https://shop.example/admin/")()
    (told,) = hook.told
    assert told["url"] == f"https://shop.example/admin/mirepoix/failuregroup/{told['subject']}/change/"
    assert told["traceback"] == '  File "/srv/shop.py", line 7, in pay\n    charge(card)'
    assert b"4111" not in hook.requests[0][2]


def test_an_alert_that_is_of_no_group_links_to_its_example(ledger: Ledger, hook: Hook):
    ledger.worker("w1")
    ledger.send("order_22/a é")
    park(ledger)
    Watch(ledger, hook.url, alerts_base_url="https://shop.example/admin/", alerts_grace_s=0)()
    (told,) = hook.told
    assert told["url"].startswith("https://shop.example/admin/mirepoix/task/")
    assert in_admin(unquote(told["url"].split("/")[-3])) == "order_22/a é"


def test_without_objectives_or_channels_nothing_is_late_and_nobody_is_told(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t1")
    ledger.passes(10_000)
    keep_alive(ledger)
    watched = Watch(ledger)
    assert (watched.look(), watched.tell()) == (0, [])

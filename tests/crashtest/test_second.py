"""A second crash: the redelivery dies as well, and what is delivered then runs to its end."""

from __future__ import annotations

import json
import re

import pytest
from corpus import safe, unsafe
from corpus.apps import ledger, plain
from corpus.shop import Order, Payment, Tag
from django.core.mail import send_mail
from django.db import transaction

import mirepoix
from mirepoix.crashtest.check import NotSafe, Report
from mirepoix.crashtest.page import page
from mirepoix.crashtest.plan import scheduled
from mirepoix.crashtest.record import record
from mirepoix.errors import ConfigurationError


@plain.task(shared=False, name="recovers_once")
def recovers_once(order):
    """Its redelivery recovers; but it says so first, and a third delivery takes that for done."""
    found = Order.objects.get(pk=order)
    if found.status in {"recovering", "paid"}:
        return
    Order.objects.filter(pk=order).update(status="recovering" if found.status == "started" else "started")
    if not Payment.objects.filter(order_id=order).exists():
        Payment.objects.create(order_id=order, amount=100)
    Order.objects.filter(pk=order).update(status="paid")


@plain.task(shared=False, name="recovers_each_time")
def recovers_each_time(order):
    if Order.objects.get(pk=order).status == "paid":
        return
    Order.objects.filter(pk=order).update(status="started")
    if not Payment.objects.filter(order_id=order).exists():
        Payment.objects.create(order_id=order, amount=100)
    Order.objects.filter(pk=order).update(status="paid")


@plain.task(shared=False, name="clears_its_mark")
def clears_its_mark(order):
    """A redelivery finds the mark of the first and takes it away, so that a third begins anew."""
    if Tag.objects.filter(name="done").exists():
        Tag.objects.all().delete()
        return
    with transaction.atomic():
        Tag.objects.create(name="done")
        Payment.objects.create(order_id=order, amount=1)


@ledger.task(shared=False, name="commits_its_end", transactional=True)
def commits_its_end(order):
    Payment.objects.create(order_id=order, amount=1)


@ledger.task(shared=False, name="two_steps")
def two_steps(order):
    for name in ("ann", "bob"):
        mirepoix.step(name, send_mail, "Hello", "x", None, [f"{name}@example.com"])


def told(report: Report) -> set[str]:
    return {one.code for one in report.findings if one.fails}


def test_what_survives_each_crash_but_not_two_is_found(exploring, any_order):
    assert exploring(recovers_once, any_order).is_safe
    report = exploring(recovers_once, any_order, second=True)
    assert {one.code: str(one.schedule) for one in report.findings} == {
        "lost-row:corpus_payment": "2:before,2:before",
        "changed-row:corpus_order.status": "2:before,3:before",
    }


def test_what_recovers_each_time_is_safe(exploring, order):
    for task in (recovers_each_time, commits_its_end):
        report = exploring(task, order, second=True)
        assert report.is_safe, report


def test_the_report_tells_both_crashes_and_a_line_that_tries_them_again(crashpoints, order):
    with pytest.raises(NotSafe) as raised:
        crashpoints(recovers_once, order, second=True)
    text = str(raised.value)
    assert "3 points (3 durable)" in text
    assert re.search(r"crashes tried \(\d+ of them two in a row\)", text)
    assert "the worker dies after  [1] UPDATE corpus_order" in text
    assert "it is delivered again, and\n     the worker dies again after  [1] UPDATE corpus_order" in text
    assert "     and before [2] INSERT corpus_payment" in text
    at = "2:before,2:before"
    assert f"rerun: crashpoints(recovers_once, {order}, at={at!r})" in text
    with pytest.raises(NotSafe, match="LOST ROW"):
        crashpoints(recovers_once, order, at=at)
    assert crashpoints(recovers_once, order, at="2:before").is_safe


def test_the_page_and_the_record_tell_both(exploring, order):
    report = exploring(recovers_once, order, second=True)
    assert page([report]).count("the worker dies here") == 4
    assert "at=&#x27;2:before,2:before&#x27;" in page([report])
    finding, _ = json.loads(record([report]))[0]["findings"]
    assert finding["at"] == "2:before,2:before"
    assert [point["label"] for point in finding["redelivery"]] == ["UPDATE corpus_order", "INSERT corpus_payment"]


def test_two_whole_redeliveries_are_tried_too(exploring, order):
    report = exploring(clears_its_mark, order, second=True)
    doubles = {str(one.schedule) for one in report.explored.tried if one.schedule.then}
    assert "end,end" in doubles
    alone = exploring(clears_its_mark, order, at="end,end")
    assert "duplicate-row:corpus_payment" in told(alone)
    assert "the worker dies again after the task's last line" in str(alone)


def test_at_one_place_only_what_follows_that_is_tried(exploring, order):
    report = exploring(recovers_once, order, at="2:before", second=True)
    assert {one.schedule.dies_at for one in report.explored.tried} == {(1, "before")}
    assert "lost-row:corpus_payment" in told(report)


def test_the_corpus_has_the_same_findings(exploring, order):
    for name in safe.NAMES[::2]:
        task = (ledger if name in ledger.tasks else plain).tasks[name]
        report = exploring(task, order, second=True)
        assert report.is_safe, report
    for task in (unsafe.charge_then_save, unsafe.save_then_mail, unsafe.lock_left_behind, unsafe.swallow_all):
        report = exploring(task, order, second=True)
        assert told(report) == unsafe.EXPECTED[task.name], report


def test_two_crashes_in_the_instants_before_steps_are_kept_are_a_note(exploring, order):
    report = exploring(two_steps, order, second=True)
    assert {one.severity for one in report.findings} == {"note"}, report


def test_what_the_budget_leaves_out_is_told(exploring, order):
    report = exploring(recovers_once, order, second=True, budget_s=0)
    assert "NOT EXPLORED: 2 more crashes, and the second ones that would follow them" in str(report)
    assert "and the second ones that would follow them" in page([report])


def test_a_loop_is_sampled_in_both(exploring, order):
    report = exploring(unsafe.import_in_a_loop, order, second=True)
    assert len(report.explored.tried) < 40, len(report.explored.tried)


@pytest.mark.parametrize("at", ["3:before", "end", "1:after,2:before", "end,end", "end,1:before", "2:overlap"])
def test_a_place_is_read_as_it_is_written(at):
    assert str(scheduled(at)) == at


@pytest.mark.parametrize("at", ["3", "0:before", "1:before,", "1:before,1:overlap", "1:before,1:before,1:before"])
def test_what_is_no_place_is_refused(exploring, order, at):
    with pytest.raises(ConfigurationError, match='For two crashes in a row, write at="3:before,1:before"'):
        exploring(recovers_once, order, at=at)

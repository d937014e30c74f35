"""What is told, and how bad it is."""

from __future__ import annotations

import subprocess

import requests
from corpus import safe, unsafe
from corpus.apps import plain
from corpus.shop import Order, Payment, Tag
from django.core.mail import send_mail

import mirepoix
from mirepoix.crashtest.check import explore


@plain.task(shared=False, name="recover")
def recover(order):
    if not Order.objects.filter(pk=order, status="new").update(status="half"):
        Tag.objects.create(name="recovered")
    Order.objects.filter(pk=order).update(total=1)


@plain.task(shared=False, name="post_only")
def post_only():
    requests.post("https://pay.example/charges", json={}, timeout=5)


@plain.task(shared=False, name="finally_mails")
def finally_mails(order):
    try:
        Order.objects.filter(pk=order).update(status="a")
        Order.objects.filter(pk=order).update(status="b")
    finally:
        send_mail("Done", "", None, ["ann@example.com"])


def test_a_table_that_only_a_redelivery_writes_to_is_compared_with_what_it_held(exploring, order):
    Tag.objects.create(name="was there before")
    report = exploring(recover, order)
    (finding,) = [one for one in report.findings if one.kind == "duplicate-row"]
    assert finding.words == "1 new rows in corpus_tag (clean run: 0)"
    assert Tag.objects.count() == 1


def test_a_dead_process_does_nothing_in_its_finally(exploring, order):
    report = exploring(finally_mails, order, at="2:before")
    assert report.is_safe, report


def test_a_task_without_a_database_is_explored_as_well():
    report = explore(post_only, http=lambda method, url, body: {}, django=False)
    assert [one.kind for one in report.findings] == ["duplicate-http"]
    assert "no database" in str(report)


def test_the_instant_before_a_step_is_kept_is_a_note(exploring, order):
    report = exploring(safe.mail_in_a_step, order)
    assert [(one.kind, one.severity) for one in report.findings] == [("duplicate-mail", "note")]
    assert report.is_safe


def test_what_is_acknowledged_early_is_lost_and_the_rest_is_told_too(exploring, order):
    (finding,) = exploring(unsafe.acknowledged_early, order).findings
    assert finding.code == "early-ack:corpus.unsafe.acknowledged_early"
    assert "acks_late=True" in finding.remedy


def test_what_follows_from_a_cause_is_folded_under_it(exploring, order):
    (finding,) = exploring(unsafe.charge_then_save, order).findings
    assert finding.code == "duplicate-http:POST https://pay.example/charges"
    assert "2 new rows in corpus_payment (clean run: 1)" in finding.consequences


@plain.task(shared=False, name="charge")
def charge(order, stage):
    """The task of docs/how-to/safe-to-retry.md, from its first version to its last."""
    found = Order.objects.get(pk=order)
    headers = {"Idempotency-Key": mirepoix.idempotency_key("charge")} if stage > 1 else {}
    body = {"order": order, "amount": found.total}
    answer = requests.post("https://pay.example/charges", json=body, headers=headers, timeout=5)
    if stage < 3:
        Payment.objects.create(order=found, amount=1, token=answer.json()["id"])
    else:
        Payment.objects.get_or_create(token=answer.json()["id"], defaults={"order": found, "amount": 1})


def test_the_story_of_the_page_is_true(order):
    told = [
        [one.kind for one in explore(charge, (order, stage), http=lambda method, url, body: {"id": "ch_1"}).findings]
        for stage in (1, 2, 3)
    ]
    assert told == [["duplicate-http"], ["duplicate-row"], []]


@plain.task(shared=False, name="starts_a_process")
def starts_a_process(order):
    subprocess.run(["true"], check=True)
    Order.objects.filter(pk=order).update(status="a")


def test_what_no_hook_understands_is_told(order):
    report = explore(starts_a_process, (order,))
    assert "UNMODELLED, no crash around it was tried: subprocess.Popen at test_verdicts.py:" in str(report)
    assert explore(recover, (order,)).explored.unmodelled == ()

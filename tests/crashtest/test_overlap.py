"""A second delivery while the first one runs."""

from __future__ import annotations

import pytest
from corpus import safe
from corpus.apps import plain
from corpus.shop import Order, Tag
from django.db import connection, transaction

from mirepoix.crashtest import explore
from mirepoix.errors import ConfigurationError


@plain.task(shared=False, name="tag")
def tag(order):
    Tag.objects.get_or_create(name=f"order {order}")


@plain.task(shared=False, name="count_unlocked")
def count_unlocked(order):
    with transaction.atomic():
        found = Order.objects.get(pk=order)
        if found.status == "new":
            Tag.objects.create(name="counted")
            Order.objects.filter(pk=order).update(status="counted")


@pytest.mark.parametrize("task", [tag, count_unlocked], ids=lambda task: task.name)
def test_a_look_before_a_write_is_found_though_it_survives_every_crash(exploring, shared_order, task):
    assert exploring(task, shared_order).is_safe
    report = exploring(task, shared_order, overlap=True)
    assert [one.code for one in report.findings] == ["duplicate-row:corpus_tag"]
    assert "a second delivery runs while the first one waits before [1] INSERT corpus_tag" in str(report)
    assert "at='1:overlap'" in str(report)


def test_a_delivery_that_is_only_slow_is_not_taken_for_one_that_waits(exploring, shared_order, monkeypatch):
    monkeypatch.setattr(explore, "BLOCKED_AFTER_S", 0.0)
    report = exploring(tag, shared_order, overlap=True)
    assert [one.code for one in report.findings] == ["duplicate-row:corpus_tag"]


@pytest.mark.parametrize("task", [safe.guarded_increment, safe.get_or_create_unique], ids=lambda task: task.name)
def test_a_lock_or_a_unique_constraint_is_safe(exploring, shared_order, task):
    report = exploring(task, shared_order, overlap=True)
    assert report.is_safe, report


@plain.task(shared=False, name="shares_then_writes", acks_late=True)
def shares_then_writes(order):
    with transaction.atomic(), connection.cursor() as cursor:
        how = "FOR SHARE" if connection.vendor == "postgresql" else "LOCK IN SHARE MODE"
        cursor.execute(f"SELECT id FROM corpus_order WHERE id = %s {how}", [order])
        Order.objects.filter(pk=order).update(status="a")


def test_two_that_wait_for_each_other_are_told(exploring, shared_order):
    assert exploring(shares_then_writes, shared_order).is_safe
    report = exploring(shares_then_writes, shared_order, overlap=True)
    (finding,) = report.findings
    assert (finding.code, finding.severity) == ("deadlock:shares_then_writes", "warning")
    assert "two deliveries at once wait for each other's locks" in str(report)
    assert "select_for_update()" in str(report)


def test_where_two_cannot_run_at_once_it_says_so(exploring, order):
    with pytest.raises(ConfigurationError, match="real commits"):
        exploring(tag, order, overlap=True)

"""A second delivery while the first one runs."""

from __future__ import annotations

import pytest
from corpus import safe
from corpus.apps import plain
from corpus.shop import Order, Tag
from django.db import transaction

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


@pytest.mark.parametrize("task", [safe.guarded_increment, safe.get_or_create_unique], ids=lambda task: task.name)
def test_a_lock_or_a_unique_constraint_is_safe(exploring, shared_order, task):
    report = exploring(task, shared_order, overlap=True)
    assert report.is_safe, report


def test_where_two_cannot_run_at_once_it_says_so(exploring, order):
    with pytest.raises(ConfigurationError, match="real commits"):
        exploring(tag, order, overlap=True)

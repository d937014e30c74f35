"""The fixture ``crashpoints`` as somebody meets it who never read the manual."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import safe, unsafe
from corpus.apps import plain
from corpus.shop import Order
from django.db.models import F
from hypothesis import strategies as st

from mirepoix.crashtest.check import NotSafe
from mirepoix.crashtest.unusable import Unusable
from mirepoix.errors import ConfigurationError
from mirepoix.pytest.plugin import _OPTIONS


@plain.task(shared=False, name="nothing")
def nothing():
    pass


@plain.task(shared=False, name="broken")
def broken():
    raise ValueError("no such order")


@plain.task(shared=False, name="fickle")
def fickle(seen):
    Order.objects.create(total=1)
    if next(NUMBERS) % 2:
        Order.objects.create(total=2)


@plain.task(shared=False, name="large_orders")
def large_orders(order, total):
    if total < 10:
        Order.objects.filter(pk=order).update(total=total)
    else:
        Order.objects.filter(pk=order).update(count=F("count") + 1)


NUMBERS = iter(range(100))


def test_a_safe_task_passes_and_returns_its_report(crashpoints, order):
    report = crashpoints(safe.set_values, order)
    assert report.is_safe
    assert "survived every crash" in str(report)


def test_an_unsafe_task_fails_with_the_line_the_remedy_and_a_line_to_rerun(crashpoints, order):
    with pytest.raises(NotSafe) as raised:
        crashpoints(unsafe.increment, order)
    text = str(raised.value)
    assert "corpus.unsafe.increment is NOT safe to retry" in text
    assert "corpus_order[1].count is 2 (clean run: 1)" in text
    assert "fix:" in text
    assert f"rerun: crashpoints(increment, {order}, at='end')" in text


def test_the_source_line_of_the_crash_is_shown_and_its_rerun_finds_the_same(crashpoints, order):
    with pytest.raises(NotSafe) as raised:
        crashpoints(unsafe.save_then_mail, order)
    assert "> found.save()" in str(raised.value)
    assert "at='2:before'" in str(raised.value)
    with pytest.raises(NotSafe, match="LOST MAIL"):
        crashpoints(unsafe.save_then_mail, order, at="2:before")


def test_afterwards_everything_is_as_it_was(crashpoints, order):
    crashpoints(safe.set_values, order)
    with pytest.raises(NotSafe):
        crashpoints(unsafe.increment, order)
    assert Order.objects.get().count == 0
    assert Order.objects.get().status == "new"


def test_what_is_allowed_does_not_fail(crashpoints, order):
    assert crashpoints(unsafe.fan_out, order, allow=["duplicate-enqueue:corpus.*"]).is_safe
    assert crashpoints(unsafe.increment, order, ignore=["corpus_order.count"]).is_safe


def test_an_invariant_is_asked_after_each_redelivery(crashpoints, order):
    with pytest.raises(NotSafe, match="INVARIANT"):
        crashpoints(
            unsafe.increment,
            order,
            ignore=["corpus_order.count"],
            invariant=lambda: Order.objects.get(pk=order).count < 2,
        )


def test_masked_columns_are_listed(crashpoints, order):
    report = crashpoints(safe.put_with_a_nonce, order, http=lambda method, url, body: {})
    assert "nonce" in str(report)


def test_what_is_not_explored_is_told(crashpoints, order):
    report = crashpoints(safe.set_values, order, budget_s=0)
    assert "NOT EXPLORED: 1 more crashes" in str(report)


def test_a_task_that_does_nothing_is_told_of(crashpoints, order):
    with pytest.raises(Unusable, match="did nothing that crashpoints can see"):
        crashpoints(nothing)


def test_a_task_that_fails_without_a_crash_is_told_of(crashpoints, order):
    with pytest.raises(Unusable, match="fails in its clean run, without any crash: ValueError: no such order"):
        crashpoints(broken)


def test_a_task_that_does_not_do_the_same_each_time_is_told_of(crashpoints, order):
    with pytest.raises(Unusable, match=r"Two clean runs of fickle .* differ \(rows of corpus_order\)"):
        crashpoints(fickle, order)


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        (print, {}, "takes a Celery task"),
        (nothing, {"mode": "all"}, "there are sampled, pruned, exhaustive"),
        (nothing, {"at": "3"}, 'Write at="3:before"'),
    ],
)
def test_what_cannot_be_meant_is_refused(crashpoints, order, task, options, words):
    with pytest.raises(ConfigurationError, match=words):
        crashpoints(task, **options)


@pytest.mark.parametrize("mode", ["pruned", "exhaustive"])
def test_the_other_modes_find_the_same(exploring, order, mode):
    for task in (unsafe.charge_then_save, unsafe.save_then_mail, unsafe.lock_left_behind, unsafe.create_after_commit):
        codes = {one.code for one in exploring(task, order, mode=mode).findings if one.fails}
        assert codes == unsafe.EXPECTED[task.name]


def test_a_loop_is_sampled(exploring, order):
    report = exploring(unsafe.import_in_a_loop, order)
    assert len(report.explored.points) == 30
    assert len(report.explored.tried) == 4


def test_pytest_starts_without_celery_and_django():
    code = (
        "import sys, mirepoix.pytest.plugin\n"
        "print([name for name in ('celery', 'django', 'sqlalchemy', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_arguments_may_be_made_up_and_the_simplest_bad_one_is_told(crashpoints, order):
    with pytest.raises(NotSafe, match=rf"rerun: crashpoints\(large_orders, {order}, 10, at='end'\)"):
        crashpoints(large_orders, order, st.integers(0, 1000))
    assert crashpoints(large_orders, order, st.integers(0, 9), examples=3).is_safe


def test_the_page_names_every_option():
    page = Path(__file__).parent.parent.parent / "docs" / "reference" / "crashpoints.md"
    named = set(
        re.findall(r"`(\w+)=", "\n".join(row for row in page.read_text("utf-8").splitlines() if row[:1] == "|"))
    )
    assert named == _OPTIONS | {"kwargs"}

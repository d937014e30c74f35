"""The text format: Prometheus' own parser reads back what was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scraped import samples

from mirepoix.metrics.text import Family, number, written

HOSTILE = ['a"b', "a\\b", "a\nb", "a\\nb", "{}", "#", "ä🧅", "", " ", 'x="y",z="', "\\", '\\"']


@pytest.mark.parametrize("label", HOSTILE)
def test_a_label_may_hold_any_text(label: str):
    family = Family("tasks", "gauge", 'Help with "quotes", \\ and\na line.')
    family.add(1.5, task=label)
    assert samples(written([family])) == {("tasks", frozenset({("task", label)})): 1.5}


@given(st.text(max_size=20), st.integers(min_value=0, max_value=2**53))
def test_whatever_a_task_is_called_the_format_is_kept(label: str, amount: int):
    family = Family("tasks_total", "counter", "Tasks.")
    family.add(amount, task=label)
    ((_, labels),) = found = samples(written([family]))
    assert list(found.values()) == [amount]
    assert dict(labels)["task"] == label.replace("\r", r"\r")


def test_names_with_a_carriage_return_stay_apart():
    family = Family("tasks", "gauge", "Tasks.")
    for queue in ("q\rr", "q r", "\ud83e", "?"):
        family.add(1, queue=queue)
    assert len(samples(written([family]))) == 4


def test_half_a_surrogate_pair_does_not_break_the_answer():
    family = Family("tasks", "gauge", "Tasks.")
    family.add(1, task="\ud83e")
    written([family]).encode("utf-8")


def test_a_histogram_is_cumulative():
    family = Family("took", "histogram", "Times.")
    family.add_histogram([(0.5, 2), (1.0, 0), (float("inf"), 3)], 12.25, queue="q")
    q = ("queue", "q")
    assert samples(written([family])) == {
        ("took_bucket", frozenset({q, ("le", "0.5")})): 2,
        ("took_bucket", frozenset({q, ("le", "1")})): 2,
        ("took_bucket", frozenset({q, ("le", "+Inf")})): 5,
        ("took_sum", frozenset({q})): 12.25,
        ("took_count", frozenset({q})): 5,
    }


def test_a_family_without_samples_is_left_out():
    assert written([Family("a", "gauge", "A.")]) == ""


@pytest.mark.parametrize(("value", "text"), [(3, "3"), (3.0, "3"), (0.25, "0.25"), (2**53, "9007199254740992")])
def test_numbers_keep_their_digits(value: float, text: str):
    assert number(value) == text

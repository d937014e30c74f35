"""Each change of a task, what it does to payloads both ways, and that this is what really happens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kinds_of_change import KINDS_OF_CHANGE, PAGE, really, table, written
from real_functions import signatures

from mirepoix.signatures.compare import compare, compare_all
from mirepoix.signatures.compatibility import Verdict, judge, worst
from mirepoix.signatures.difference import ChangeKind, differences
from mirepoix.signatures.signature import Signature

SAFE, PARKS, WRONG = Verdict


@pytest.mark.parametrize(("old", "new", "what", "old_to_new", "new_to_old"), KINDS_OF_CHANGE)
def test_each_kind_of_change_does_what_the_table_says(old, new, what, old_to_new, new_to_old):
    before, after = written(old), written(new)
    changes = compare(before, after)
    assert [one.what for one in changes] == what
    assert worst(*(one.old_to_new for one in changes)) is old_to_new is really(before, after).verdict
    assert worst(*(one.new_to_old for one in changes)) is new_to_old is really(after, before).verdict


def test_the_page_holds_this_table():
    assert table() in PAGE.read_text("utf-8"), "python tests/signatures/kinds_of_change.py"


def test_every_kind_of_change_of_a_parameter_is_in_the_table():
    of_parameters = [
        what for what in ChangeKind if what.value.split()[0] not in ("task", "alias", "upcaster", "version")
    ]
    assert {what for row in KINDS_OF_CHANGE for what in row[2]} == set(of_parameters)


@settings(max_examples=300)
@given(signatures(), signatures())
def test_the_changes_of_any_two_signatures_are_blamed_for_exactly_what_happens(old, new):
    changes = compare(old, new)
    assert worst(*(one.old_to_new for one in changes)) is judge(old, new)
    assert worst(*(one.new_to_old for one in changes)) is judge(new, old)
    for one in changes:
        assert one.sentence
        assert bool(one.old_to_new_why) == (one.old_to_new is not SAFE)
        assert bool(one.new_to_old_why) == (one.new_to_old is not SAFE)
        assert bool(one.remedy) == (one.verdict is not SAFE)


@given(signatures(), signatures())
def test_signatures_without_a_difference_are_equal_but_for_the_order_of_keywords(old, new):
    def canonical(signature):
        by_keyword = sorted(signature.keyword_only, key=lambda one: one.name)
        others = [one for one in signature.parameters if one not in signature.keyword_only]
        return others, by_keyword

    assert (differences(old, new) == []) == (canonical(old) == canonical(new))


@given(signatures(), signatures(), st.integers(1, 3), st.integers(1, 3), st.sets(st.integers(1, 3)))
def test_a_payload_of_another_version_is_never_bound_as_it_is(old, new, was, now, upcasts):
    before, after = replace(old, version=was), replace(new, version=now, upcasts=tuple(sorted(upcasts)))
    changes = [one for one in compare(before, after) if one.what is not ChangeKind.UPCASTER_REMOVED]
    forward, back = worst(*(one.old_to_new for one in changes)), worst(*(one.new_to_old for one in changes))
    if was == now:
        assert (forward, back) == (judge(old, new), judge(new, old))
    else:
        has_way = was < now and set(range(was, now)) <= upcasts
        assert forward is (SAFE if has_way else PARKS)
        assert back is PARKS


def changes_of(old: Signature, new: Signature):
    return [(one.what, one.old_to_new, one.new_to_old) for one in compare(old, new)]


def test_a_raised_version_without_an_upcaster_parks():
    old, new = written("a, b"), written("b, a", version=2)
    assert changes_of(old, new) == [(ChangeKind.VERSION_RAISED, PARKS, PARKS), (ChangeKind.REORDERED, PARKS, PARKS)]
    (raised, _) = compare(old, new)
    assert raised.old_to_new_why == "no upcaster takes a payload of version 1 to the next"
    assert "@task.upcast" in raised.remedy


def test_a_raised_version_with_every_upcaster_is_safe_for_what_waits():
    old, new = written("a, b"), written("b, a", version=3, upcasts=(1, 2))
    assert changes_of(old, new)[0] == (ChangeKind.VERSION_RAISED, SAFE, PARKS)
    assert changes_of(old, new)[-1] == (ChangeKind.REORDERED, SAFE, PARKS)
    assert all(one.is_safe_after_deploy for one in compare(old, new))


def test_a_version_that_is_lowered_parks_what_waits():
    old, new = written("a", version=2, upcasts=(1,)), written("a", upcasts=(1,))
    assert changes_of(old, new) == [(ChangeKind.VERSION_LOWERED, PARKS, SAFE)]


def test_a_removed_upcaster_parks_what_is_older_still():
    old, new = written("a", version=2, upcasts=(1,)), written("a", version=2)
    assert changes_of(old, new) == [(ChangeKind.UPCASTER_REMOVED, PARKS, SAFE)]
    assert changes_of(new, old) == [(ChangeKind.UPCASTER_ADDED, SAFE, SAFE)]


def test_a_removed_alias_parks_what_was_sent_under_it():
    old, new = written("a", aliases=("pay",)), written("a")
    assert changes_of(old, new) == [(ChangeKind.ALIAS_REMOVED, PARKS, SAFE)]
    assert changes_of(new, old) == [(ChangeKind.ALIAS_ADDED, SAFE, SAFE)]


def all_changes(old: list[Signature], new: list[Signature]):
    found = compare_all({one.task: one for one in old}, {one.task: one for one in new})
    return [(one.task, one.what, one.old_to_new, one.new_to_old) for one in found]


def test_a_task_that_is_removed_parks_and_a_new_one_waits_for_new_workers():
    charge, mail = written("a"), replace(written("to"), task="mail")
    assert all_changes([charge], [charge, mail]) == [("mail", ChangeKind.TASK_ADDED, SAFE, PARKS)]
    assert all_changes([charge, mail], [charge]) == [("mail", ChangeKind.TASK_REMOVED, PARKS, SAFE)]


def test_a_task_that_was_renamed_with_an_alias_takes_what_waits():
    old, new = written("a"), replace(written("a", aliases=("charge",)), task="pay")
    assert all_changes([old], [new]) == [("pay", ChangeKind.TASK_RENAMED, SAFE, PARKS)]


def test_the_parameters_of_a_renamed_task_are_compared_too():
    old, new = written("a"), replace(written("a, b", aliases=("charge",)), task="pay")
    assert [what for _, what, _, _ in all_changes([old], [new])] == [ChangeKind.TASK_RENAMED, ChangeKind.ADDED]


def test_a_task_that_seems_renamed_is_told_of_the_alias():
    (_, removed) = sorted(
        compare_all({"charge": written("a")}, {"pay": replace(written("a"), task="pay")}), key=lambda one: one.what
    )
    assert "aliases=['charge']" in removed.remedy


def test_a_change_says_what_becomes_of_which_call():
    (change,) = compare(written("a, b"), written("b, a"))
    assert change.old_to_new_why == "the argument meant for a comes to b, as in charge(·, ·)"
    assert (change.parameter, change.sentence) == ("a, b", "The order of a, b was changed.")
    (added,) = compare(written("a"), written("a, b"))
    assert (added.sentence, added.old_to_new_why) == (
        "b was added without a default.",
        "missing b, as in charge(a=·)",
    )

"""The lock file."""

from __future__ import annotations

import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_functions import signatures

from mirepoix.errors import ConfigurationError
from mirepoix.signatures.lock import read_lock, write_lock
from mirepoix.signatures.signature import Parameter, Signature, signature_of


def charge(order: int, /, amount: float = 0.5, *, note="ü", **options): ...


LOCKED = """\
{
  "format": 1,
  "tasks": {
    "shop.charge": {
      "version": 2,
      "aliases": ["shop.pay"],
      "upcasts": [1],
      "parameters": [
        {"name": "order", "kind": "positional-only", "annotation": "int"},
        {"name": "amount", "kind": "positional or keyword", "annotation": "float", "default": "0.5"},
        {"name": "note", "kind": "keyword-only", "default": "'ü'"},
        {"name": "options", "kind": "variadic keyword"}
      ]
    },
    "shop.tick": {
      "version": 1,
      "parameters": []
    }
  }
}
"""


def shop() -> list[Signature]:
    tick = Signature("shop.tick")
    return [tick, signature_of("shop.charge", _plain(charge), version=2, aliases=["shop.pay"], upcasts=[1])]


def _plain(taker) -> inspect.Signature:
    return inspect.signature(taker, eval_str=True)


def test_the_lock_has_one_parameter_a_line_and_is_sorted():
    assert write_lock(shop()) == LOCKED
    assert write_lock(reversed(shop())) == LOCKED


def test_a_lock_without_tasks_is_one_too():
    assert read_lock(write_lock([])) == {}
    assert json.loads(write_lock([])) == {"format": 1, "tasks": {}}


@given(st.lists(signatures(), max_size=3))
def test_reading_brings_back_what_was_written(found):
    named = {f"t{number}": Signature(f"t{number}", 1, one.parameters) for number, one in enumerate(found)}
    assert read_lock(write_lock(named.values())) == named


def test_names_and_defaults_may_hold_anything():
    odd = Signature('say "hi"\n', 1, (Parameter("a", has_default=True, default='"}],\\'),))
    assert read_lock(write_lock([odd])) == {odd.task: odd}


def test_keys_from_the_future_are_passed_over():
    assert read_lock(LOCKED.replace('"version": 2', '"owner": "payments", "version": 2')) == read_lock(LOCKED)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1, column 1"),
        (LOCKED.replace('"version": 2,', '"version" 2,'), "line 5"),
        (LOCKED.replace('  "tasks"', '<<<<<<< HEAD\n  "tasks"'), "unresolved merge at line 3"),
        (LOCKED.replace("shop.tick", "shop.charge"), "'shop.charge' twice"),
        (LOCKED.replace('"format": 1', '"format": 2'), "format 2, and this Mirepoix reads formats up to 1. Upgrade"),
        (LOCKED.replace('  "format": 1,\n', ""), "no format"),
        ("[]", "no format"),
        ('{"format": 1}', "lists no tasks"),
        (
            LOCKED.replace("positional-only", "by heart"),
            "wrong about the task 'shop.charge': the kind of parameter 'order'",
        ),
        (LOCKED.replace('"order"', '"note"'), "two parameters are named 'note'"),
        (LOCKED.replace('"version": 1', '"version": "x"'), "wrong about the task 'shop.tick': its version"),
        ("[" * 100_000, "nested too deeply"),
    ],
    ids=range(12),
)
def test_a_lock_that_cannot_be_read_says_where_and_what_to_do(text, said):
    with pytest.raises(ConfigurationError) as caught:
        read_lock(text)
    assert said in str(caught.value)
    assert any(remedy in str(caught.value) for remedy in ("mirepoix signatures lock", "Upgrade"))


def test_two_signatures_of_one_task_are_refused():
    with pytest.raises(ConfigurationError, match="two signatures of the task 't'"):
        write_lock([Signature("t"), Signature("t", 2)])

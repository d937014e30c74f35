"""The tracebacks of real failures in real libraries: one group for each cause, whatever differs."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from raising import CAUSES

from mirepoix.fingerprint.fingerprint import Fingerprint, of
from mirepoix.fingerprint.traceback_parser import read

HOME = str(Path(__file__).parents[1])
ELSEWHERE = "/srv/releases/20261125/tests"
NUMBERS = (0, 1, 2, 7, 41, 300)


def failure(run: Callable[[int], Any], number: int, *, deep: int = 0) -> tuple[Exception, str]:
    """Let it fail; the error and its traceback as the ledger keeps it. *deep*: how far down the stack it was begun."""
    if deep:
        return failure(run, number, deep=deep - 1)
    try:
        run(number)
    except Exception as error:  # noqa: BLE001 (any is what is wanted)
        return error, traceback.format_exc()
    raise AssertionError(f"{run} did not fail")


def fingerprint(error: Exception, text: str, home: str = HOME) -> Fingerprint:
    """As the ledger takes it."""
    kind = type(error)
    found = of(
        task="shop.run",
        reason=f"{kind.__name__}: {error}",
        error_type=f"{kind.__module__}.{kind.__qualname__}",
        traceback=text,
        roots=[home],
    )
    assert found is not None
    return found


@pytest.mark.parametrize("name", CAUSES)
def test_every_failure_of_a_cause_has_its_fingerprint(name: str):
    seen = {fingerprint(*failure(CAUSES[name], number)) for number in NUMBERS}
    assert len(seen) == 1, seen


@pytest.mark.parametrize("name", CAUSES)
def test_lines_that_shift_and_another_home_change_nothing(name: str):
    error, text = failure(CAUSES[name], 3)
    shifted = re.sub(r", line (\d+)", lambda found: f", line {int(found[1]) + 17}", text)
    moved = shifted.replace(f'"{HOME}/', f'"{ELSEWHERE}/')
    without_source = "\n".join(line for line in moved.splitlines() if not line.startswith("    "))
    assert fingerprint(error, shifted) == fingerprint(error, text)
    assert fingerprint(error, moved, ELSEWHERE) == fingerprint(error, text)
    if "Exception Group" not in text:
        assert fingerprint(error, without_source, ELSEWHERE) == fingerprint(error, text)


@pytest.mark.parametrize("name", CAUSES)
def test_the_title_names_the_place_in_ones_own_code_and_no_value(name: str):
    title = fingerprint(*failure(CAUSES[name], 41)).title
    assert " in fingerprint.raising." in title, title
    assert "41" not in title


def test_every_cause_is_another_group():
    prints = {name: fingerprint(*failure(run, 5)) for name, run in CAUSES.items()}
    assert len({one.id for one in prints.values()}) == len(CAUSES) >= 20, prints


@pytest.mark.parametrize("name", CAUSES)
def test_a_wrapper_around_it_changes_nothing(name: str):
    def bare(number: int) -> Any:
        return CAUSES[name](number)

    def wrapped(number: int) -> Any:
        try:
            return CAUSES[name](number)
        except Exception as error:
            raise LookupError(f"order {number} failed") from error

    wrapped.__code__ = wrapped.__code__.replace(co_name="bare")
    assert fingerprint(*failure(wrapped, 8)).id == fingerprint(*failure(bare, 9)).id


@pytest.mark.parametrize("name", CAUSES)
def test_a_text_that_was_cut_off_is_read_as_far_as_it_goes(name: str):
    error, text = failure(CAUSES[name], 3)
    for length in range(0, len(text), max(1, len(text) // 40)):
        assert fingerprint(error, text[:length]).title
        assert fingerprint(error, text[length:]).title


def test_a_chain_is_read_in_its_order():
    _, text = failure(CAUSES["a_wrapped_error"], 1)
    assert [(one.error_type, one.is_caused) for one in read(text)] == [("ValueError", False), ("RuntimeError", True)]
    _, text = failure(CAUSES["an_error_while_handling_another"], 1)
    assert [(one.error_type, one.is_caused) for one in read(text)] == [("ValueError", False), ("KeyError", False)]


def test_what_is_in_a_nested_group_is_read():
    _, text = failure(CAUSES["a_nested_group"], 1)
    (group,) = read(text)
    assert (group.error_type, group.message) == ("ExceptionGroup", "import (2 sub-exceptions)")
    kinds = [[one.error_type for one in chain] for chain in group.members]
    assert kinds == [["ExceptionGroup"], ["TypeError"], ["ValueError"], ["OSError"]]

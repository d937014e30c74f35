"""A worker gathers messages while tasks are quick, and waits for none that cannot come."""

from __future__ import annotations

import pytest

from mirepoix.broker.consumer import GATHER_MOST, worth_taking


@pytest.mark.parametrize(
    ("lookahead", "can_come", "expected"),
    [
        (0, 8, 0),
        (20, 8, 5),
        (100, 8, 8),
        (100, 32, 25),
        (100, 0, 25),
        (10_000, 0, GATHER_MOST),
    ],
    ids=["slow tasks", "few are enough", "the prefetch is full", "a wide prefetch", "no bound", "the most"],
)
def test_it_waits_for_no_more_than_the_broker_gives_out(lookahead: int, can_come: int, expected: int):
    assert worth_taking(lookahead, can_come) == expected

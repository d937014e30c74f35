"""Explore several paths through a task with arguments from Hypothesis, and report the simplest failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from mirepoix.crashtest.unusable import NothingSeen

EXAMPLES = 15
"""The number of argument sets. Each is explored separately."""


def is_strategy(value: Any) -> bool:
    """Whether *value* is a strategy of Hypothesis."""
    return isinstance(value, st.SearchStrategy)


def each(
    check: Callable[[tuple[Any, ...], dict[str, Any]], Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    examples: int,
) -> Any:
    """Call *check* with arguments that *args* and *kwargs* allow, and return its result for the last of them.

    If *check* raises, the error for the simplest arguments is raised. Arguments with which the task does nothing are
    skipped. Each run of the tests uses the same arguments.
    """
    seen: list[Any] = []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(*map(_strategy, args)), st.fixed_dictionaries({k: _strategy(v) for k, v in kwargs.items()}))
    def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            seen.append(check(args, kwargs))
        except NothingSeen:
            reject()

    run()
    return seen[-1]


def _strategy(value: Any) -> Any:
    return value if is_strategy(value) else st.just(value)

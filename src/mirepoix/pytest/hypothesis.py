"""Arguments that Hypothesis makes up: several paths through a task are explored, and the simplest bad one is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from mirepoix.crashtest.trouble import NothingSeen

EXAMPLES = 15
"""How many arguments are tried. Each is an exploration of its own."""


def is_strategy(value: Any) -> bool:
    """Whether *value* stands for values that Hypothesis makes up."""
    return isinstance(value, st.SearchStrategy)


def each(
    check: Callable[[tuple[Any, ...], dict[str, Any]], Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    examples: int,
) -> Any:
    """Call *check* with arguments that *args* and *kwargs* allow; return what it returned for the last of them.

    What it raises is raised for the simplest arguments that lead to it. Arguments with which the task does nothing are
    passed over. The same arguments are made up in each run of the tests.
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

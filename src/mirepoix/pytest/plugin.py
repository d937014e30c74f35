"""The plugin that pytest finds by itself: the fixture ``crashpoints``. It imports nothing before it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def crashpoints(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Kill a task at every point where it could die, deliver it again, and fail if that makes a difference.

    ::

        @pytest.mark.django_db
        def test_charging_is_safe_to_retry(order, crashpoints):
            crashpoints(charge, order.pk)

    After the task and its arguments it takes, by name: ``mode`` ("sampled", "pruned", "exhaustive"); ``at`` for one
    crash ("3:before", "end"); ``allow``, codes of findings that are fine ("duplicate-enqueue:shop.*"); ``ignore``,
    columns that do not matter ("shop_order.updated"); ``invariant``, a function that must hold at the end; ``files``,
    folders to watch; ``state``, SQLAlchemy engines; ``http``, a function of method, URL and body that answers all
    requests; ``budget_s``. Arguments of the task with such names are given as ``kwargs={...}``.

    Returns the report, ``print(crashpoints(...))``. Raises NotSafe with the same; Unusable where there is nothing to
    compare. Not promised: that a task is right. One call explores one path, with one crash.
    """

    def check(task: Any, *args: Any, kwargs: dict[str, Any] | None = None, **given: Any) -> Any:
        from mirepoix.crashtest.check import NotSafe, explore

        __tracebackhide__ = True
        options = {name: given.pop(name) for name in _OPTIONS & given.keys()}
        if "django" not in options and not _may_use_django(request):
            options["django"] = False
        report = explore(task, args, {**given, **(kwargs or {})}, **options)
        if not report.is_safe:
            raise NotSafe(str(report))
        return report

    return check


_OPTIONS = {"mode", "at", "allow", "ignore", "invariant", "files", "state", "http", "budget_s", "django"}


def _may_use_django(request: pytest.FixtureRequest) -> bool:
    """With pytest-django a test says that it needs the database, and of which kind."""
    if not request.config.pluginmanager.hasplugin("django"):
        return True
    asked = {"db", "transactional_db", "django_db_reset_sequences", "django_db_serialized_rollback"}
    return request.node.get_closest_marker("django_db") is not None or bool(asked & set(request.fixturenames))

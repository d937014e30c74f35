"""The plugin that pytest finds: the fixture ``crashpoints``, and ``pytest --crashpoints`` for a whole suite.

It imports nothing before it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPORTS: pytest.StashKey[list[Any]] = pytest.StashKey()
"""The reports of the session, for the file of ``--crashpoints-html``."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("crashpoints", "crash-point tests of Celery tasks (mirepoix)")
    group.addoption(
        "--crashpoints",
        nargs="?",
        const="sampled",
        choices=("sampled", "pruned", "exhaustive"),
        metavar="MODE",
        help="explore each task that the tests run, once: is it safe to retry? MODE is sampled, pruned or exhaustive",
    )
    group.addoption(
        "--crashpoints-budget",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="explore no more tasks after that time (300)",
    )
    group.addoption("--crashpoints-html", metavar="FILE", help="write what was explored as a page")
    group.addoption("--crashpoints-json", metavar="FILE", help="write what was explored as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "no_crashpoints: --crashpoints does not explore what this test runs")
    config.stash[REPORTS] = []
    if config.getoption("--crashpoints"):
        from mirepoix.pytest.suite_mode import SuiteMode

        config.pluginmanager.register(SuiteMode(config), "mirepoix-suite-mode")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page and the record."""
    reports = session.config.stash[REPORTS]
    target = session.config.getoption("--crashpoints-html")
    if target:
        from mirepoix.crashtest.page import page

        Path(target).write_text(page(reports), "utf-8")
    target = session.config.getoption("--crashpoints-json")
    if target:
        from mirepoix.crashtest.record import record

        Path(target).write_text(record(reports), "utf-8")


@pytest.fixture
def crashpoints(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Crash a task at every point where it could die, deliver it again, and fail if that makes a difference.

    ::

        @pytest.mark.django_db
        def test_charging_is_safe_to_retry(order, crashpoints):
            crashpoints(charge, order.pk)

    After the task and its arguments it takes, by name: ``mode`` ("sampled", "pruned", "exhaustive"); ``at`` for one
    crash ("3:before", "end") or two ("3:before,1:before"); ``overlap``, to run a second delivery beside the first too;
    ``second``, to crash the redelivery too; ``kill``, to kill a real process; ``allow``, codes of findings that are
    fine ("duplicate-enqueue:shop.*"); ``ignore``, columns that do not matter ("shop_order.updated"); ``invariant``, a
    function that must hold at the end; ``files``, folders to watch; ``state``, SQLAlchemy engines; ``http``, a function
    of method, URL and body that answers all requests; ``budget_s``. Pass arguments of the task with such names as
    ``kwargs={...}``. An argument may be a strategy of Hypothesis; then ``examples`` (15) of them are explored.

    Returns the report. Raises NotSafe with the report, or Unusable if the runs cannot be compared. It does not show
    that a task is correct. One call explores one path, with one crash or two.
    """

    def check(task: Any, *args: Any, kwargs: dict[str, Any] | None = None, **given: Any) -> Any:
        from mirepoix.crashtest.check import NotSafe, explore

        __tracebackhide__ = True
        options = {name: given.pop(name) for name in _OPTIONS & given.keys()}
        if "django" not in options and not may_use_django(request.node):
            options["django"] = False
        examples = options.pop("examples", None)

        def explore_once(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            __tracebackhide__ = True
            report = explore(task, args, kwargs, **options)
            request.config.stash[REPORTS].append(report)
            if not report.is_safe:
                raise NotSafe(str(report))
            return report

        named = {**given, **(kwargs or {})}
        if "hypothesis" in sys.modules:
            from mirepoix.pytest.hypothesis import EXAMPLES, each, is_strategy

            if any(map(is_strategy, (*args, *named.values()))):
                return each(explore_once, args, named, examples or EXAMPLES)
        return explore_once(args, named)

    return check


_OPTIONS = {
    "mode",
    "at",
    "allow",
    "ignore",
    "invariant",
    "files",
    "state",
    "http",
    "budget_s",
    "overlap",
    "second",
    "kill",
    "examples",
    "django",
}


def may_use_django(item: Any) -> bool:
    """Whether the test uses the database, and which kind. With pytest-django a test says so."""
    if not item.config.pluginmanager.hasplugin("django"):
        return True
    asked = {"db", "transactional_db", "django_db_reset_sequences", "django_db_serialized_rollback"}
    is_case = getattr(getattr(item, "cls", None), "databases", None) is not None  # a TestCase of Django
    return is_case or item.get_closest_marker("django_db") is not None or bool(asked & set(item.fixturenames))

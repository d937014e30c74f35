"""``pytest --crashpoints``: explore each task that the tests of an ordinary suite run, just before the test runs it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery.app.task import Task

from mirepoix.celery.inline import WATCHERS
from mirepoix.crashtest.check import Report, explore
from mirepoix.crashtest.points import current
from mirepoix.crashtest.unusable import Unusable
from mirepoix.pytest.plugin import REPORTS, may_use_django


class SuiteMode:
    """The state of a session. Each task is explored once, with the first arguments that a test passes."""

    def __init__(self, config: pytest.Config) -> None:
        self._mode = config.getoption("--crashpoints")
        self._budget_s = config.getoption("--crashpoints-budget")
        self._used_s = 0.0
        self._reports: dict[str, Report] = {}
        self._left: dict[str, str] = {}
        """The reason why a task was not explored, by its name."""
        self._is_exploring = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Any:
        """Explore the tasks that *item* runs, and fail the test on a finding."""
        if item.get_closest_marker("no_crashpoints") or "crashpoints" in getattr(item, "fixturenames", ()):
            return (yield)
        before = set(self._reports)
        with self._watching(item):
            result = yield
        bad = [report for name, report in self._reports.items() if name not in before and not report.is_safe]
        if bad:
            pytest.fail("\n\n".join(map(str, bad)), pytrace=False)
        return result

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Report what was explored, and always what was not."""
        write = terminalreporter.write_line
        terminalreporter.section("crash points")
        if not self._reports and not self._left:
            write(
                "No test ran a task: by calling it, by .apply(), by run_tasks(), or by .delay() with task_always_eager."
            )
        for name, report in sorted(self._reports.items()):
            kinds = sorted({finding.kind for finding in report.findings if finding.fails})
            left = len(report.explored.not_explored)
            write(
                f"{name}: {', '.join(kinds) or 'safe'}; {len(report.explored.points)} points"
                + (f", {left} crashes NOT explored" if left else "")
            )
        for name, why in sorted(self._left.items()):
            write(f"{name}: NOT EXPLORED, {why}")

    @contextmanager
    def _watching(self, item: Any) -> Iterator[None]:
        apply, call = Task.apply, Task.__call__

        def applied(task: Any, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
            self._meet(item, task, tuple(args or ()), dict(kwargs or {}))
            return apply(task, args, kwargs, *more, **options)

        def called(task: Any, *args: Any, **kwargs: Any) -> Any:
            if task.request.called_directly:
                self._meet(item, task, args, kwargs)
            return call(task, *args, **kwargs)

        def meet(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._meet(item, task, args, kwargs)

        Task.apply, Task.__call__ = applied, called
        WATCHERS.append(meet)
        try:
            yield
        finally:
            WATCHERS.remove(meet)
            Task.apply, Task.__call__ = apply, call

    def _meet(self, item: Any, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._is_exploring or current() is not None or task.name in self._reports:
            return
        left_s = self._budget_s - self._used_s
        if left_s <= 0:
            self._left[task.name] = "the time was up (--crashpoints-budget)"
            return
        began_at = time.monotonic()
        self._is_exploring = True
        try:
            report = self._explore(item, task, args, kwargs, left_s)
        except Unusable as error:
            self._left[task.name] = str(error).partition("\n")[0]
        except Exception as error:  # noqa: BLE001 (the test itself must run as ever)
            self._left[task.name] = f"{type(error).__name__}: {error}".partition("\n")[0]
        else:
            self._reports[task.name] = report
            self._left.pop(task.name, None)
            item.config.stash[REPORTS].append(report)
        finally:
            self._is_exploring = False
            self._used_s += time.monotonic() - began_at

    def _explore(self, item: Any, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], left_s: float) -> Report:
        options: dict[str, Any] = {} if may_use_django(item) else {"django": False}
        return explore(task, args, kwargs, mode=self._mode, budget_s=min(left_s, 20.0), **options)

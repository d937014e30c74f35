"""Explore a task and judge it. The fixture ``crashpoints`` calls `explore`."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirepoix.crashtest import unmodelled
from mirepoix.crashtest.databases.database import Database
from mirepoix.crashtest.databases.folders import Folders
from mirepoix.crashtest.databases.found import found_states
from mirepoix.crashtest.deliver import Call, ready
from mirepoix.crashtest.explore import Explored, Explorer, require_two
from mirepoix.crashtest.forked import require
from mirepoix.crashtest.hooks.installed import installed
from mirepoix.crashtest.http import Service
from mirepoix.crashtest.plan import MODES, Schedule, scheduled
from mirepoix.crashtest.report import text
from mirepoix.crashtest.verdict import Finding, findings
from mirepoix.errors import ConfigurationError


class NotSafe(AssertionError):
    """A task is not safe to retry. The message is the report."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of exploring a task. ``str()`` returns the report as text."""

    explored: Explored
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        return text(self.explored, self.findings)

    @property
    def is_safe(self) -> bool:
        """Whether there are no findings except notes."""
        return not any(finding.fails for finding in self.findings)


def explore(
    task: Any,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    *,
    mode: str = "sampled",
    at: str | None = None,
    allow: Sequence[str] = (),
    ignore: Iterable[str] = (),
    invariant: Callable[[], object] | None = None,
    files: Iterable[str | Path] = (),
    state: Any = (),
    http: Service | None = None,
    budget_s: float = 20.0,
    overlap: bool = False,
    second: bool = False,
    kill: bool = False,
    django: bool | None = None,
) -> Report:
    """Explore *task* as the fixture describes. If *django* is None, Django's databases are used if Django is set up."""
    __tracebackhide__ = True
    if not hasattr(task, "apply_async"):
        raise ConfigurationError(f"crashpoints() takes a Celery task and then its arguments, not {task!r}.")
    if mode not in MODES:
        raise ConfigurationError(f"mode={mode!r} is not a mode: there are {', '.join(MODES)}.")
    task = task.app.tasks[task.name]
    folders = [str(Path(folder).resolve()) for folder in files]
    with_django = _is_django_ready() if django is None else django
    states = found_states()
    databases = [*_django_databases(with_django), *_other_databases(state), *states.values()]
    if overlap:
        require_two(databases)
    if kill:
        require(databases)
    call = Call(task, args, dict(kwargs or {}), str(uuid.uuid4()))
    unmodelled.watch()
    with installed(http, folders, states, with_django=with_django), ready(task):
        explorer = Explorer(
            call, databases, Folders(folders), invariant, frozenset(ignore), overlap, second, kill, http
        )
        explored = explorer.explore(mode, budget_s, _only(at))
    return Report(explored, findings(explored, allow))


def _only(at: str | None) -> Schedule | None:
    if at is None:
        return None
    found = scheduled(at)
    if found is None:
        raise ConfigurationError(
            f'at={at!r} is not a place. Write at="3:before", at="3:after" or at="end". For two crashes in a row, write '
            'at="3:before,1:before".'
        )
    return found


def _is_django_ready() -> bool:
    if "django" not in sys.modules:
        return False
    from importlib import import_module

    return bool(import_module("django.conf").settings.configured and import_module("django.apps").apps.ready)


def _django_databases(with_django: bool) -> list[Database]:
    if not with_django:
        return []
    from importlib import import_module

    django = import_module("mirepoix.crashtest.databases.django")
    found: list[Database] = [django.DjangoDatabase(alias) for alias in django.aliases()]
    return found


def _other_databases(state: Any) -> list[Database]:
    engines = list(state) if isinstance(state, (list, tuple)) else [state]
    if not engines:
        return []
    from importlib import import_module

    made: Any = import_module("mirepoix.crashtest.databases.sqlalchemy").SqlalchemyDatabase
    return [made(engine) for engine in engines]

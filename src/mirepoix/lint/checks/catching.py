"""Handlers that swallow a retry (MP003) or the soft time limit (MP004)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mirepoix.lint.finding import Finding, at
from mirepoix.lint.names import Names, spelled
from mirepoix.lint.tasks import Task

BROAD = {"Exception", "BaseException", "builtins.Exception", "builtins.BaseException"}
Try = ast.Try | ast.TryStar


def swallowed_retry(task: Task, names: Names) -> Iterator[Finding]:
    """Check MP003."""
    told: set[ast.AST] = set()
    for node in task.scope.nodes:
        what = _retries(node, task, names)
        if not what:
            continue
        for parent, child in task.scope.above(node):
            if isinstance(parent, Try) and child in parent.body:
                handler = _first_that_takes(parent, "Retry", names)
                if handler is None:
                    continue
                if _is_broad(handler, names) and not _passes_on(handler, task) and handler not in told:
                    told.add(handler)
                    yield at(handler, "MP003", f"{_said(handler)} swallows {what}, which works by an exception")
                break


def swallowed_limit(task: Task, names: Names) -> Iterator[Finding]:
    """Check MP004."""
    limit = task.options.get("soft_time_limit")
    if limit is None or (isinstance(limit, ast.Constant) and not limit.value):
        return
    for node in task.scope.nodes:
        if not isinstance(node, Try):
            continue
        handler = _first_that_takes(node, "SoftTimeLimitExceeded", names)
        if handler is None or not _is_broad(handler, names) or _passes_on(handler, task):
            continue
        outer = (parent for parent, _ in task.scope.above(node))
        if any(isinstance(node, ast.ExceptHandler) for node in outer):
            continue  # it cleans up after another failure
        message = f"{_said(handler)} swallows SoftTimeLimitExceeded, and this task has a soft_time_limit"
        yield at(handler, "MP004", message)


def _retries(node: ast.AST, task: Task, names: Names) -> str:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "retry":
        throws = not any(keyword.arg == "throw" for keyword in node.keywords)
        return f"{spelled(node.func)}()" if throws and spelled(node.func.value) in task.names else ""
    if isinstance(node, ast.Raise) and node.exc is not None:
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return "Retry" if names.of(raised) == "celery.exceptions.Retry" else ""
    return ""


def _first_that_takes(node: Try, name: str, names: Names) -> ast.ExceptHandler | None:
    """Return the first handler that catches it: a broad handler, or one that names it."""
    for handler in node.handlers:
        caught = _caught(handler)
        if not caught or any(
            names.of(caught_type) in BROAD or names.of(caught_type).rpartition(".")[2] == name for caught_type in caught
        ):
            return handler
    return None


def _is_broad(handler: ast.ExceptHandler, names: Names) -> bool:
    """Whether the handler is broad and does not name the exception."""
    caught = _caught(handler)
    return not caught or all(names.of(caught_type) in BROAD for caught_type in caught)


def _caught(handler: ast.ExceptHandler) -> list[ast.expr]:
    if handler.type is None:
        return []
    return handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]


def _passes_on(handler: ast.ExceptHandler, task: Task) -> bool:
    """Whether anything in the handler raises, or checks the exception with isinstance. Then it may be correct."""
    for statement in handler.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Raise):
                return True
            if isinstance(node, ast.Call) and spelled(node.func) in ("isinstance", "sys.exit"):
                return True
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "retry":
                return True
    return False


def _said(handler: ast.ExceptHandler) -> str:
    return "except:" if handler.type is None else f"except {ast.unparse(handler.type)}"

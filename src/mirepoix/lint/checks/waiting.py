"""MP005: a task that waits for another."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mirepoix.lint.finding import Finding, at
from mirepoix.lint.names import Names
from mirepoix.lint.tasks import CANVAS, Task, is_sending

WAITS = {"get", "join", "wait", "join_native", "wait_for_pending"}
RESULTS = {"celery.result.AsyncResult", "celery.result.GroupResult", "celery.result.ResultSet"}


def results(task: Task, names: Names) -> Iterator[Finding]:
    """Check MP005."""
    scope = task.scope
    for call in scope.calls():
        func = call.func
        if not isinstance(func, ast.Attribute) or func.attr not in WAITS:
            continue
        if any(keyword.arg == "disable_sync_subtasks" for keyword in call.keywords) or _is_allowed(call, task, names):
            continue
        if _is_result(func.value, task, names):
            yield at(call, "MP005", f"{func.attr}() waits in a task for another: use a chain or a chord, or return")


def _is_result(node: ast.expr, task: Task, names: Names) -> bool:
    if isinstance(node, ast.Name):
        given = task.scope.given(node.id)
        return given is not None and all(value.how == "value" and _sends(value.value, task, names) for value in given)
    return _sends(node, task, names)


def _sends(node: ast.expr, task: Task, names: Names) -> bool:
    if not isinstance(node, ast.Call):
        return False
    if names.of(node.func) in RESULTS or is_sending(node, task.scope, names):
        return True
    made = node.func  # group(…)()
    return isinstance(made, ast.Call) and names.of(made.func) in {f"celery.{name}" for name in CANVAS}


def _is_allowed(call: ast.Call, task: Task, names: Names) -> bool:
    return any(
        isinstance(parent, ast.With)
        and any(
            isinstance(item.context_expr, ast.Call)
            and names.of(item.context_expr.func).rpartition(".")[2] == "allow_join_result"
            for item in parent.items
        )
        for parent, _ in task.scope.above(call)
    )

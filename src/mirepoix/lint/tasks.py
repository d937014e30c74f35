"""Find the functions that are Celery tasks, and the calls that send a task."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from mirepoix.lint.names import Names, spelled
from mirepoix.lint.scope import Scope

APPS = {"app", "celery", "celery_app", "current_app"}
CANVAS = {"chain", "group", "chord", "chunks", "signature", "xmap", "starmap"}
SIGNATURES = {"s", "si", "signature", "subtask"}
SENDERS = {"delay", "apply_async"}


@dataclass(frozen=True, slots=True)
class Task:
    """A task's function. *options* are the decorator's keywords, or its class's attributes."""

    scope: Scope
    names: frozenset[str]
    """The names that stand for the task in its body: its own name, and the first parameter if it is bound."""
    options: dict[str, ast.expr]


def task_of(scope: Scope, names: Names) -> Task | None:
    """Return the task that a function is, or None if it is not certainly a Celery task."""
    node = scope.node
    if isinstance(node, ast.Module) or any(names.has_module(other) for other in ("procrastinate", "huey")):
        return None
    if scope.owner is not None and node.name == "run" and _is_task_class(scope.owner, names):
        attributes = {
            target.id: statement.value
            for statement in scope.owner.body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        return Task(scope, frozenset(scope.parameters()[:1]), attributes)
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if not _is_task_decorator(called, names):
            continue
        keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
        options = {keyword.arg: keyword.value for keyword in keywords if keyword.arg is not None}
        bind = options.get("bind")
        is_bound = isinstance(bind, ast.Constant) and bind.value is True
        own = [node.name, *(scope.parameters()[:1] if is_bound else [])]
        return Task(scope, frozenset(own), options)
    return None


def _is_task_decorator(node: ast.expr, names: Names) -> bool:
    full = names.of(node)
    if full in ("celery.shared_task", "celery.app.shared_task") or (
        full.rpartition(".")[2] in ("shared_task", "periodic_task") and "celery" in full
    ):
        return True
    if not isinstance(node, ast.Attribute) or node.attr not in ("task", "periodic_task"):
        return False
    return _is_app(node.value, names)


def _is_app(node: ast.expr, names: Names) -> bool:
    name = spelled(node)
    last = name.rpartition(".")[2]
    return bool(name) and (name in names.apps or last in APPS or "celery" in last.lower())


def _is_task_class(owner: ast.ClassDef, names: Names) -> bool:
    return any(names.of(base) in ("celery.Task", "celery.app.task.Task", "celery.task.Task") for base in owner.bases)


def is_sending(call: ast.Call, scope: Scope, names: Names) -> bool:
    """Whether a call sends a task: ``delay``, ``apply_async`` or an app's ``send_task``."""
    func = call.func
    if not isinstance(func, ast.Attribute):
        return False
    if func.attr == "send_task":
        return _is_app(func.value, names)
    return func.attr in SENDERS and _may_be_task(func.value, scope, names)


def _may_be_task(node: ast.expr, scope: Scope, names: Names, depth: int = 0) -> bool:
    """Whether a name is a task or signature: imported, defined here, or from the canvas. Excludes a pool's methods."""
    if isinstance(node, ast.Call):
        return names.of(node.func).rpartition(".")[2] in CANVAS or (
            isinstance(node.func, ast.Attribute) and node.func.attr in SIGNATURES | {"set", "clone"}
        )
    if isinstance(node, ast.BinOp):  # a.s() | b.s()
        return isinstance(node.op, ast.BitOr) and depth < 20 and _may_be_task(node.left, scope, names, depth + 1)  # noqa: PLR2004
    name = spelled(node)
    if not name:
        return False
    if isinstance(node, ast.Name):
        given = scope.given(name)
        if given is not None:
            return depth == 0 and all(
                value.how == "value" and _may_be_task(value.value, scope, names, 1) for value in given
            )
        if name in scope.parameters():
            return False
    if names.is_imported(node):
        return True
    return isinstance(node, ast.Name) and name in names.functions

"""System checks of the project's tasks that need its settings and models, which a linter of syntax does not have."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import CheckConstraint, Model, UniqueConstraint

from mirepoix.celery.signatures import function_of

MAKERS = {"get_or_create", "update_or_create", "aget_or_create", "aupdate_or_create"}
MANAGERS = {"objects", "_default_manager"}
NO_FIELDS = {"defaults", "create_defaults"}


def tasks_of(app: Any) -> list[Any]:
    """Return the app's own tasks. It imports their modules as a worker does, and raises what they raise."""
    app.loader.import_default_modules()
    return [task for name, task in sorted(app.tasks.items()) if not name.startswith(("celery.", "mirepoix."))]


def without_limit(app: Any, tasks: list[Any]) -> list[str]:
    """Return the names of tasks that may run for ever, because neither the settings nor the task limit their time."""
    if app.conf.task_time_limit or app.conf.task_soft_time_limit:
        return []
    return [task.name for task in tasks if not (task.time_limit or task.soft_time_limit)]


def not_unique(task: Any) -> Iterator[tuple[str, str, int, str]]:
    """Find where a task creates a row by fields that no constraint keeps unique: ``(call, fields, line, file)``.

    It reads only the task's own function, and only calls on the manager of a model with a global name. It leaves out
    what is not certain: lookups that are not plain, conditional constraints, models that Django does not manage.
    """
    function = inspect.unwrap(function_of(task).function)
    function = getattr(function, "__func__", function)
    if not inspect.isfunction(function):
        return
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return  # created at run time, or moved
    local = {*function.__code__.co_varnames, *function.__code__.co_cellvars, *function.__code__.co_freevars}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MAKERS):
            continue
        model = _model(node.func.value, function.__globals__, local)
        fields = _fields(node, model) if model is not None else None
        if model is not None and fields and _is_certainly_not_unique(model, fields):
            call = f"{model.__name__}.{ast.unparse(node.func).rpartition('.')[2]}()"
            yield call, ", ".join(sorted(fields)), first + node.lineno - 1, function.__code__.co_filename


def _model(manager: ast.expr, names: dict[str, Any], local: set[str]) -> type[Model] | None:
    """Return the model of ``Order.objects`` or ``models.Order.objects``."""
    if not (isinstance(manager, ast.Attribute) and manager.attr in MANAGERS):
        return None
    path: list[str] = []
    node: ast.expr = manager.value
    while isinstance(node, ast.Attribute):
        path.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id in local:
        return None
    found: Any = names.get(node.id)
    for attribute in reversed(path):
        found = vars(found).get(attribute) if inspect.ismodule(found) else None
    if not (isinstance(found, type) and issubclass(found, Model)):
        return None
    model: Any = found
    return model if model._meta.managed and not model._meta.abstract else None


def _fields(call: ast.Call, model: type[Model]) -> frozenset[str] | None:
    """Return the fields that the call looks the row up by, or None if they are not certain."""
    found: set[str] = set()
    for keyword in call.keywords:
        if keyword.arg is None:
            return None
        if keyword.arg in NO_FIELDS:
            continue
        try:
            found.add(_field(model, keyword.arg))
        except FieldDoesNotExist:
            return None  # a lookup like name__iexact
    return frozenset(found) if not call.args else None


def _field(model: type[Model], name: str) -> str:
    """Return a field's own name: for ``order_id`` it is ``order``."""
    for field in model._meta.concrete_fields:
        if name in (field.name, field.attname) or (name == "pk" and field.primary_key):
            return str(field.name)
    return str(model._meta.get_field(name).name)


def _is_certainly_not_unique(model: type[Model], fields: frozenset[str]) -> bool:
    if any(model._meta.get_field(name).unique for name in fields if _is_concrete(model, name)):
        return False
    if not all(_is_concrete(model, name) for name in fields):
        return False
    for owner in (model, *model._meta.get_parent_list()):
        if any(fields.issuperset(together) for together in owner._meta.unique_together):
            return False
        for constraint in owner._meta.constraints:
            if not isinstance(constraint, UniqueConstraint):
                if not isinstance(constraint, CheckConstraint):
                    return False  # an exclusion constraint may keep them unique
            elif not constraint.fields or fields.issuperset(constraint.fields):
                return False  # a constraint with expressions or a condition may keep them unique
    return True


def _is_concrete(model: type[Model], name: str) -> bool:
    return any(field.name == name for field in model._meta.concrete_fields)

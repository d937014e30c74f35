"""The arguments and the moment of a send: MP001 (a model instance) and MP002 (in an open transaction)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mirepoix.lint.finding import Finding, at
from mirepoix.lint.names import Names, spelled
from mirepoix.lint.scope import Given, Scope
from mirepoix.lint.tasks import SIGNATURES, is_sending

ONE = {"get", "create", "first", "last", "earliest", "latest"}
FIRST_OF_TWO = {"get_or_create", "update_or_create"}
SOME = {"all", "filter", "exclude", "order_by", "select_related", "prefetch_related", "select_for_update", "iterator"}
MANAGERS = {"objects", "_default_manager"}
NO_INSTANCES = {"values", "values_list", "dates", "datetimes", "aggregate", "raw", "in_bulk"}
SHORTCUTS = {"django.shortcuts.get_object_or_404", "django.shortcuts.aget_object_or_404"}
MODELS = {"django.db.models.Model", "django.contrib.gis.db.models.Model"}
READ_ONLY = re.compile(r"replica|read_?only|reader", re.IGNORECASE)
"""A read-only database rolls nothing back."""
ADAPTERS = {"django.utils.decorators.method_decorator"}
SESSION = re.compile(r"session|sessionmaker|engine|connection", re.IGNORECASE)


def instances(scope: Scope, names: Names) -> Iterator[Finding]:
    """Check MP001."""
    for call in scope.calls():
        for argument in _arguments(call, scope, names):
            if _is_instance(argument, scope, names):
                text = ast.unparse(argument)
                yield at(argument, "MP001", f"{text} is a model's instance; send its primary key: {text}.pk")


def in_transaction(scope: Scope, names: Names) -> Iterator[Finding]:
    """Check MP002."""
    decorated = _decorator(scope, names)
    for call in scope.calls():
        if not is_sending(call, scope, names):
            continue
        block = next((found for found in _blocks(call, scope, names)), decorated)
        if block:
            what = ast.unparse(call.func)
            yield at(call, "MP002", f"{what}() sends before {block} commits; send with on_commit(), or keep a ledger")


def _decorator(scope: Scope, names: Names) -> str:
    if isinstance(scope.node, ast.Module):
        return ""
    for decorator in scope.node.decorator_list:
        inner = (
            decorator.args[0]
            if isinstance(decorator, ast.Call) and names.of(decorator.func) in ADAPTERS and decorator.args
            else decorator
        )
        if names.of(inner.func if isinstance(inner, ast.Call) else inner) == "django.db.transaction.atomic":
            return "" if READ_ONLY.search(ast.unparse(inner)) else "@atomic"
    return ""


def _blocks(call: ast.Call, scope: Scope, names: Names) -> Iterator[str]:
    for parent, child in scope.above(call):
        if isinstance(parent, (ast.With, ast.AsyncWith)) and child in parent.body:
            for item in parent.items:
                opened = item.context_expr
                if not isinstance(opened, ast.Call):
                    continue
                if READ_ONLY.search(ast.unparse(opened)):
                    continue
                if names.of(opened.func) == "django.db.transaction.atomic":
                    yield "atomic()"
                elif (
                    isinstance(opened.func, ast.Attribute)
                    and opened.func.attr == "begin"
                    and SESSION.search(spelled(opened.func.value).rpartition(".")[2])
                ):
                    yield f"{spelled(opened.func)}()"


def _arguments(call: ast.Call, scope: Scope, names: Names) -> Iterator[ast.expr]:
    """Return the values that a call puts into a task's message."""
    if not isinstance(call.func, ast.Attribute):
        return
    if call.func.attr in SIGNATURES - {"signature", "subtask"}:
        if not (names.is_imported(call.func.value) or spelled(call.func.value) in names.functions):
            return
        yield from (*call.args, *(keyword.value for keyword in call.keywords))
    elif is_sending(call, scope, names):
        if call.func.attr == "delay":
            yield from (*call.args, *(keyword.value for keyword in call.keywords))
            return
        offset = 1 if call.func.attr == "send_task" else 0
        given = [
            *call.args[offset : offset + 2],
            *(keyword.value for keyword in call.keywords if keyword.arg in ("args", "kwargs")),
        ]
        for container in given:
            if isinstance(container, (ast.List, ast.Tuple)):
                yield from container.elts
            elif isinstance(container, ast.Dict):
                yield from container.values


def _is_instance(node: ast.expr, scope: Scope, names: Names) -> bool:
    if not isinstance(node, ast.Name):
        return _makes_instance(node, names)
    if node.id == "self" and scope.owner is not None and scope.parameters()[:1] == ["self"]:
        return any(names.of(base) in MODELS for base in scope.owner.bases)
    given = scope.given(node.id)
    return given is not None and all(_is_given_instance(value, names) for value in given)


def _is_given_instance(given: Given, names: Names) -> bool:
    if given.how == "value":
        return _makes_instance(given.value, names)
    methods = _methods(given.value)
    if not methods or NO_INSTANCES & set(methods) or not MANAGERS & set(methods):
        return False
    if given.how == "first":
        return methods[0] in FIRST_OF_TWO
    return methods[0] in SOME and isinstance(given.value, ast.Call)


def _makes_instance(node: ast.expr, names: Names) -> bool:
    if isinstance(node, ast.Await):
        node = node.value
    if not isinstance(node, ast.Call):
        return False
    if names.of(node.func) in SHORTCUTS:
        return not (node.args and NO_INSTANCES & set(_methods(node.args[0])))
    methods = _methods(node)
    is_one = bool(methods) and methods[0] in ONE | {f"a{name}" for name in ONE}
    return is_one and bool(MANAGERS & set(methods)) and not NO_INSTANCES & set(methods)


def _methods(node: ast.expr) -> list[str]:
    """Return the names in ``Model.objects.filter(…).first()``, the last name first."""
    found: list[str] = []
    while isinstance(node, (ast.Call, ast.Attribute)):
        if isinstance(node, ast.Attribute):
            found.append(node.attr)
            node = node.value
        else:
            node = node.func
    return found

"""Resolve a name in a module through the module's own imports and aliases."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def spelled(node: ast.AST | None) -> str:
    """Return ``a.b.c`` for such an expression, otherwise an empty string."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


class Names:
    """A module's imports at any depth, its functions, and the variables that hold a Celery app."""

    def __init__(self, tree: ast.Module) -> None:
        self._imported: dict[str, str] = {}
        self.apps: set[str] = set()
        self.functions: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    self._imported[name] = alias.name if alias.asname else name
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                for alias in node.names:
                    self._imported[alias.asname or alias.name] = f"{module}.{alias.name}"
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.functions.add(node.name)
        for target, value in _assigned(tree):
            if isinstance(value, ast.Call) and self.of(value.func) in ("celery.Celery", "celery.app.base.Celery"):
                self.apps.add(target)

    def of(self, node: ast.AST | None) -> str:
        """Return the full dotted name of an expression, resolved through imports, or an empty string."""
        name = spelled(node)
        first, dot, rest = name.partition(".")
        return f"{self._imported.get(first, first)}{dot}{rest}"

    def is_imported(self, node: ast.AST) -> bool:
        """Whether the first part of a dotted name was imported."""
        return spelled(node).partition(".")[0] in self._imported

    def has_module(self, top: str) -> bool:
        """Whether anything of a top-level module is imported."""
        return any(name.partition(".")[0] == top for name in self._imported.values())


def _assigned(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value

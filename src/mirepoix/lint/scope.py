"""A function of a module: the code that runs when it is called, and the values of its variables."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

Function = ast.FunctionDef | ast.AsyncFunctionDef
LATER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
"""Code inside these nodes does not run at its place in the function."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value of a variable: the value itself, an element of it (``for``), or its first item (``a, b =``)."""

    value: ast.expr
    how: str = "value"


class Scope:
    """A function, or a module's own statements, without nested code that runs later."""

    def __init__(self, node: Function | ast.Module, owner: ast.ClassDef | None = None) -> None:
        self.node = node
        self.owner = owner
        self.parents: dict[ast.AST, ast.AST] = {}
        self.nodes: list[ast.AST] = []
        for statement in node.body:
            self._take(statement, node)
        self._given: dict[str, list[Given | None]] = {}
        for inner in self.nodes:
            self._note(inner)

    def _take(self, node: ast.AST, parent: ast.AST) -> None:
        waiting = [(node, parent)]  # not recursive, because generated code nests deeply
        while waiting:
            node, parent = waiting.pop()
            self.parents[node] = parent
            self.nodes.append(node)
            if not isinstance(node, LATER):
                waiting.extend((child, node) for child in reversed(list(ast.iter_child_nodes(node))))

    def calls(self) -> Iterator[ast.Call]:
        """Return every call that it makes itself, in order."""
        return (node for node in self.nodes if isinstance(node, ast.Call))

    def above(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Return each node around *node* in the function, innermost first, with the child that leads to it."""
        while node in self.parents:
            parent = self.parents[node]
            yield parent, node
            node = parent

    def given(self, name: str) -> list[Given] | None:
        """Return all values that a variable is given in the function, or None if they are not all known."""
        found = self._given.get(name)
        if not found or name in self.parameters():
            return None
        known = [value for value in found if value is not None]
        return known if len(known) == len(found) else None

    def parameters(self) -> list[str]:
        """Return the names of the parameters."""
        if isinstance(self.node, ast.Module):
            return []
        taken = self.node.args
        listed = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs]
        listed += [parameter for parameter in (taken.vararg, taken.kwarg) if parameter is not None]
        return [parameter.arg for parameter in listed]

    def _note(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._bind(target, value, "value")
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
                self._bind(target, value, "value")
            case ast.For(target=target, iter=iterated) | ast.AsyncFor(target=target, iter=iterated):
                self._bind(target, iterated, "element")
            case ast.comprehension(target=target, iter=iterated):
                self._bind(target, iterated, "element")
            case ast.AugAssign(target=target) | ast.withitem(optional_vars=ast.expr() as target):
                self._forget(target)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                self._given.setdefault(name, []).append(None)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                for name in names:
                    self._given.setdefault(name, []).append(None)

    def _bind(self, target: ast.expr, value: ast.expr, how: str) -> None:
        if isinstance(target, ast.Name):
            self._given.setdefault(target.id, []).append(Given(value, how))
        elif isinstance(target, ast.Tuple) and target.elts and isinstance(target.elts[0], ast.Name) and how == "value":
            self._given.setdefault(target.elts[0].id, []).append(Given(value, "first"))
            for other in target.elts[1:]:
                self._forget(other)
        else:
            self._forget(target)

    def _forget(self, target: ast.expr) -> None:
        for node in ast.walk(target):
            if isinstance(node, ast.Name):
                self._given.setdefault(node.id, []).append(None)


def scopes_of(tree: ast.Module) -> Iterator[Scope]:
    """Return the module's own statements and every function, including nested functions."""
    yield Scope(tree)
    waiting: list[tuple[ast.AST, ast.ClassDef | None]] = [(tree, None)]
    while waiting:
        node, owner = waiting.pop(0)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                yield Scope(child, owner if owner is node else None)
            waiting.append((child, child if isinstance(child, ast.ClassDef) else owner))

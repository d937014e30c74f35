"""A finding: a place in the code, and the rule that it breaks."""

from __future__ import annotations

import ast
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """*line* and *column* count from 1. *end_line* is the last line of the code; a ``noqa`` there works too."""

    code: str
    message: str
    line: int
    column: int
    end_line: int


def at(node: ast.expr | ast.stmt | ast.excepthandler, code: str, message: str) -> Finding:
    """Return a finding at *node*."""
    is_handler = isinstance(node, ast.excepthandler)  # the finding does not cover its body
    end_line = node.lineno if is_handler else (node.end_lineno or node.lineno)
    return Finding(code, message, node.lineno, node.col_offset + 1, end_line)

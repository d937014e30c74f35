"""Check the text of one module."""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Iterator

from mirepoix.lint.checks import catching, keys, sending, waiting
from mirepoix.lint.finding import Finding
from mirepoix.lint.names import Names
from mirepoix.lint.scope import scopes_of
from mirepoix.lint.tasks import task_of

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
NOQA = re.compile(r"#\s*noqa(?P<codes>:\s*(?P<list>[A-Z]+[0-9]+(?:[\s,]+[A-Z]+[0-9]+)*))?", re.IGNORECASE)
OF_TASKS = (catching.swallowed_retry, catching.swallowed_limit, waiting.results, keys.random_keys, keys.posts)
WORDS = re.compile(rb"delay|apply_async|send_task|task|\.si?\(|celery", re.IGNORECASE)
"""A text without any of these words sends nothing and is not a task, so it is not parsed."""
NOT_PYTHON = "MP000"
"""The code of a file that cannot be read. It is not a rule, and ``noqa`` does not silence it."""


def inspect(source: bytes | str) -> list[Finding]:
    """Return the findings of a module by line. If it cannot be parsed, that is one `NOT_PYTHON`."""
    if not WORDS.search(source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")):
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other linters report invalid escapes
            tree = ast.parse(source)
    except SyntaxError as error:
        line, column = error.lineno or 1, max(error.offset or 1, 1)
        return [
            Finding(
                NOT_PYTHON, f"Python {VERSION}, which runs the lint, cannot read this: {error.msg}", line, column, line
            )
        ]
    except (ValueError, RecursionError, MemoryError) as error:
        return [Finding(NOT_PYTHON, f"this cannot be read: {error}", 1, 1, 1)]
    text = source if isinstance(source, str) else source.decode("utf-8", "replace")
    try:
        found = list(_findings(tree))
    except RecursionError:
        return [Finding(NOT_PYTHON, "this nests too deeply to be read", 1, 1, 1)]
    silenced = _silenced(text)
    kept = (finding for finding in found if not _is_silenced(finding, silenced))
    return sorted(kept, key=lambda finding: (finding.line, finding.column, finding.code))


def _findings(tree: ast.Module) -> Iterator[Finding]:
    names = Names(tree)
    for scope in scopes_of(tree):
        yield from sending.instances(scope, names)
        yield from sending.in_transaction(scope, names)
        task = task_of(scope, names)
        if task is not None:
            for check in OF_TASKS:
                yield from check(task, names)


def _silenced(text: str) -> dict[int, set[str] | None]:
    """Return by line the codes that a ``noqa`` names there, or None if it names none and silences all."""
    found: dict[int, set[str] | None] = {}
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        noqa = NOQA.search(line) if "#" in line else None
        if noqa is not None:
            listed = noqa["list"]
            found[number] = {code.upper() for code in re.findall(r"[A-Za-z]+[0-9]+", listed)} if listed else None
    return found


def _is_silenced(finding: Finding, silenced: dict[int, set[str] | None]) -> bool:
    for line in (finding.line, finding.end_line):
        if line in silenced:
            codes = silenced[line]
            if codes is None or finding.code in codes:
                return True
    return False

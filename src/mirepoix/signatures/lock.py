"""The lock file: every task's signature as text for a reviewer, with one parameter a line.

It is JSON, sorted by task. Equal signatures give equal text::

    {
      "format": 1,
      "tasks": {
        "shop.charge": {
          "version": 1,
          "parameters": [
            {"name": "order", "kind": "positional or keyword", "annotation": "int"}
          ]
        }
      }
    }
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mirepoix.errors import ConfigurationError, NewerLockFormat
from mirepoix.signatures.signature import NotASignature, Signature, as_document, from_document

FILE_NAME = "mirepoix.signatures.lock"

FORMAT = 1
"""Raised only when an older Mirepoix would misread the file. Readers ignore unknown keys."""

_AGAIN = "Restore it from version control, or write it anew: mirepoix signatures lock"
_CONFLICTS = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")


def write_lock(signatures: Iterable[Signature]) -> str:
    """Return the text of the lock file. Raises ConfigurationError if a task has two signatures."""
    by_task: dict[str, Signature] = {}
    for signature in signatures:
        if signature.task in by_task:
            raise ConfigurationError(f"There are two signatures of the task {signature.task!r}. Give one another name.")
        by_task[signature.task] = signature
    tasks = [f"    {_json(task)}: {_task_text(by_task[task])}" for task in sorted(by_task)]
    body = "{\n" + ",\n".join(tasks) + "\n  }" if tasks else "{}"
    return f'{{\n  "format": {FORMAT},\n  "tasks": {body}\n}}\n'


def read_lock(text: str) -> dict[str, Signature]:
    """Read the signatures in the text of a lock file, by task.

    Raises NewerLockFormat for the file of a newer Mirepoix. Raises ConfigurationError for any other error, with the
    line or the task and the remedy.
    """
    document = _loaded(text)
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise ConfigurationError(f"The signature lock has no format, so it is not a lock file. {_AGAIN}")
    if document["format"] > FORMAT:
        raise NewerLockFormat(document["format"], FORMAT)
    tasks = document.get("tasks")
    if not isinstance(tasks, dict):
        raise ConfigurationError(f"The signature lock lists no tasks. {_AGAIN}")
    return {task: _signature(task, found) for task, found in tasks.items()}


def _task_text(signature: Signature) -> str:
    document = as_document(signature)
    parameters = [f"        {_json(parameter)}" for parameter in document.pop("parameters")]
    lines = [f'      "{key}": {_json(value)},\n' for key, value in document.items()]
    body = "[\n" + ",\n".join(parameters) + "\n      ]" if parameters else "[]"
    return "{\n" + "".join(lines) + f'      "parameters": {body}\n    }}'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _loaded(text: str) -> Any:
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(_CONFLICTS):
            raise ConfigurationError(
                f"The signature lock has an unresolved merge at line {number}. Take either side, then write it anew: "
                "mirepoix signatures lock"
            )
    try:
        return json.loads(text, object_pairs_hook=_without_twins)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"The signature lock cannot be read: {error.msg} at line {error.lineno}, column {error.colno}. {_AGAIN}"
        ) from error
    except RecursionError as error:
        raise ConfigurationError(f"The signature lock is nested too deeply to be a lock file. {_AGAIN}") from error


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, and refuse a duplicate key. JSON alone would silently keep the second value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ConfigurationError(f"The signature lock has {twin!r} twice in one place, perhaps from a merge. {_AGAIN}")
    return found


def _signature(task: str, document: Any) -> Signature:
    try:
        return from_document(task, document)
    except NotASignature as error:
        raise ConfigurationError(f"The signature lock is wrong about the task {task!r}: {error}. {_AGAIN}") from error

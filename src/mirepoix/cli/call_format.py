"""Calls as people read them: as they would be written in code, and what code lacks that cannot take one."""

from __future__ import annotations

import json
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mirepoix.ledger.edit import Written
from mirepoix.operations.format import one_line
from mirepoix.records import IncompatibilityKind

LACKING: dict[str | None, str] = {
    IncompatibilityKind.TASK: "a task of that name, or with that alias",
    IncompatibilityKind.VERSION: "code of that version, or upcasters from it",
    IncompatibilityKind.ARGUMENTS: "a signature that takes these arguments, or an upcaster",
    IncompatibilityKind.UPCAST: "an upcaster that does not fail",
    None: "nothing that other code has: it waits for a decision",
}
"""What the code that parked a task lacked, by the task's ``parked_for``."""


def call(args: list[Any], kwargs: dict[str, Any]) -> str:
    """Arguments as they would be written in a call, in JSON's spelling."""
    words = [json.dumps(arg, ensure_ascii=False) for arg in args]
    words += [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in kwargs.items()]
    return one_line(f"({', '.join(words)})")


def written(one: Written) -> str:
    """A whole call, with the version if it is not the first."""
    return one_line(one.name) + call(one.args, one.kwargs) + (f" v{one.version}" if one.version != 1 else "")


def changed_table(before: Written, after: Written) -> Padding:
    """What an edit changed: the call before it and after it."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("was", Text(written(before)))
    table.add_row("now", Text(written(after)))
    return Padding(table, (0, 0, 0, 4), expand=False)

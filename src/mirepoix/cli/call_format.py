"""Calls as people read them: as they would be written in code, and what code that cannot take a call lacks."""

from __future__ import annotations

import json
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mirepoix.ledger.edit import Written
from mirepoix.operations.format import one_line


def call(args: list[Any], kwargs: dict[str, Any]) -> str:
    """Return the arguments as they would be written in a call, in JSON's spelling."""
    words = [json.dumps(arg, ensure_ascii=False) for arg in args]
    words += [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in kwargs.items()]
    return one_line(f"({', '.join(words)})")


def written(task_call: Written) -> str:
    """Return a whole call, with the version if it is not the first."""
    return (
        one_line(task_call.name)
        + call(task_call.args, task_call.kwargs)
        + (f" v{task_call.version}" if task_call.version != 1 else "")
    )


def changed_table(before: Written, after: Written) -> Padding:
    """Return the call before and after an edit."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("was", Text(written(before)))
    table.add_row("now", Text(written(after)))
    return Padding(table, (0, 0, 0, 4), expand=False)

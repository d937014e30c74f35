"""Show how far a long command is, on a terminal only: nothing of it reaches a file or a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import TimeRemainingColumn as TimeLeft

Advance = Callable[[int], None]
"""Called with the number of items that are done so far."""


def is_shown() -> bool:
    """Return whether standard error is a terminal."""
    return Console(stderr=True).is_terminal


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Advance]:
    """Show a bar on standard error until the block ends, or a count if *total* is not known.

    It leaves no trace. If standard error is no terminal, nothing is written.
    """
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    words = TextColumn("{task.description}", markup=False)
    columns: tuple[ProgressColumn, ...]
    if total is None:
        columns = (SpinnerColumn(), words, MofNCompleteColumn(), TimeElapsedColumn())
    else:
        columns = (words, BarColumn(), MofNCompleteColumn(), TimeLeft())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)

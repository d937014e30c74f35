"""``mirepoix tasks``: list the tasks that match filters, newest first."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click
from rich.text import Text

from mirepoix.cli.call_format import call
from mirepoix.cli.columns import Column
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.options import filter_options, filters_from, is_filtered, json_option
from mirepoix.cli.streams import print_json_list
from mirepoix.cli.styles import state_text
from mirepoix.ledger.query.stream import listed
from mirepoix.ledger.query.tasks import TaskLine
from mirepoix.operations.format import duration, one_line
from mirepoix.states import State


@click.command()
@filter_options
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--oldest", "is_oldest", is_flag=True, help="The oldest first.")
@click.option("--args", "with_args", is_flag=True, help="Show the arguments too.")
@click.option("--ids", "only_ids", is_flag=True, help="Print whole ids only, one a line, for xargs.")
@json_option
@pass_context
def tasks(
    context: CliContext, /, limit: int, is_oldest: bool, with_args: bool, only_ids: bool, is_json: bool, **given: Any
) -> None:
    """List tasks, newest first.

    A task's age counts from when it was sent (if it waits), handed to a worker, began to run or finished.
    A list of more than a thousand tasks is read in chunks while it is printed. A task that changes its state in the
    meantime may be missing or listed twice.
    """
    context.ready()
    found = listed(context.reading, filters_from(given), limit + 1, oldest_first=is_oldest, with_arguments=with_args)
    first = islice(found, limit)
    if only_ids:
        for line in first:
            click.echo(line.id)
    elif is_json:
        objects = (_as_object(line, with_args=with_args) for line in first)
        print_json_list("tasks", objects, lambda: {"has_more": next(found, None) is not None})
    elif lines := list(first):
        has_more = next(found, None) is not None
        if with_args:
            context.list(_COLUMNS_OF_CALLS, map(_cells_of_call, lines))
        else:
            context.list(_COLUMNS, map(_cells, lines))
        if has_more:
            click.echo(f"… and more. Use --limit, or narrow it down ({limit} shown).", err=True)
    else:
        hint = " Names are matched whole: try --name '*part*'." if given["name"] and "*" not in given["name"] else ""
        click.echo(f"No task matches.{hint}" if is_filtered(given) else "The ledger has no tasks.", err=True)


def _as_object(line: TaskLine, *, with_args: bool) -> dict[str, Any]:
    args, kwargs = line.arguments or (None, None)
    return {
        "id": line.id,
        "name": line.name,
        "queue": line.queue,
        "state": line.state,
        "reason": line.reason,
        "attempts": line.attempts,
        "since": line.since,
        "age_s": line.age_s,
        "created_at": line.created_at,
        "due_at": line.due_at,
        "held_by": line.held_by,
        "run_time_s": line.run_time_s,
        "worker_id": line.worker_id,
        "worker": line.worker,
        "version": line.version,
        "parked_for": line.parked_for,
        **({"args": args, "kwargs": kwargs} if with_args else {}),
    }


_COLUMNS = (
    Column("id"),
    Column("state"),
    Column("age", is_right=True),
    Column("tries", 5, gives_way=2, is_right=True),
    Column("queue", 12, gives_way=1),
    Column("name", 12, gives_way=3, is_cut_in_front=True),
    Column("what", 24),
)


def _cells(line: TaskLine) -> list[Text | str]:
    return [
        one_line(line.id),
        state_text(line.state, has_due=line.due_at is not None),
        duration(line.age_s),
        str(line.attempts),
        one_line(line.queue),
        one_line(line.name),
        _what(line),
    ]


_COLUMNS_OF_CALLS = (Column("id"), Column("state"), Column("age", is_right=True), Column("call"))


def _cells_of_call(line: TaskLine) -> list[Text | str]:
    """Return a task as a call. Its arguments are complete, and the terminal wraps the line."""
    given = call(*line.arguments) if line.arguments is not None else "(arguments that are not JSON)"
    return [
        one_line(line.id),
        state_text(line.state, has_due=line.due_at is not None),
        duration(line.age_s),
        one_line(line.name) + given,
    ]


def _what(line: TaskLine) -> Text:
    """Return when the task is due or who has it, and its reason."""
    words = []
    if line.state is State.PENDING and line.due_at is not None:
        words.append(f"due {line.due_at:%m-%d %H:%M:%SZ}")
    elif line.state is State.PENDING and line.held_by is not None:
        words.append(f"paused: {one_line(line.held_by)}")
    elif line.state in (State.LEASED, State.RUNNING):
        words.append(f"on {one_line(line.worker or line.worker_id)}")
    if line.reason:
        words.append(one_line(line.reason))
    return Text(" · ".join(words), style="dim" if line.state is State.SUCCEEDED else "")

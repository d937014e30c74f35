"""``mirepoix tasks``: the tasks that filters describe, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from mirepoix.cli.calls import call
from mirepoix.cli.desk import Desk, pass_desk
from mirepoix.cli.looks import plain_table, state_text
from mirepoix.cli.options import filter_options, filters_from, is_filtered, json_option
from mirepoix.cli.words import duration, one_line, printable
from mirepoix.ledger.query.tasks import TaskLine, search
from mirepoix.states import State

SHORTEST_ID = 8
WIDE = 120


@click.command()
@filter_options
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--oldest", "is_oldest", is_flag=True, help="The oldest first.")
@click.option("--args", "with_args", is_flag=True, help="Show the arguments too.")
@click.option("--ids", "only_ids", is_flag=True, help="Print whole ids only, one a line, for xargs.")
@json_option
@pass_desk
def tasks(
    desk: Desk, /, limit: int, is_oldest: bool, with_args: bool, only_ids: bool, is_json: bool, **given: Any
) -> None:
    """List tasks, newest first.

    A task's age counts from when it was sent (while it waits), taken (while a worker has it) or finished.
    """
    with desk.reading() as tx:
        found = search(tx, filters_from(given), limit + 1, oldest_first=is_oldest, with_arguments=with_args)
    lines, has_more = found[:limit], len(found) > limit
    if only_ids:
        for line in lines:
            click.echo(line.id)
    elif is_json:
        desk.print_json({"tasks": [_as_object(line, with_args=with_args) for line in lines], "has_more": has_more})
    elif lines:
        desk.print(_table_of_calls(lines) if with_args else _table(lines, desk.console.width))
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
        "run_time_s": line.run_time_s,
        "worker_id": line.worker_id,
        "worker": line.worker,
        "version": line.version,
        "parked_for": line.parked_for,
        **({"args": args, "kwargs": kwargs} if with_args else {}),
    }


def _table(lines: Sequence[TaskLine], width: int) -> Table:
    table = plain_table()
    id_length = _telling_length([line.id for line in lines]) if width < WIDE else 255
    table.add_column("id", no_wrap=True, min_width=SHORTEST_ID)
    table.add_column("state", no_wrap=True, min_width=max(len(line.state) for line in lines))
    table.add_column("age", justify="right", no_wrap=True, min_width=6)
    table.add_column("tries", justify="right", no_wrap=True, min_width=5)
    table.add_column("queue", no_wrap=True, min_width=6, max_width=14)
    table.add_column("name", no_wrap=True, min_width=20)
    table.add_column("what", ratio=1, no_wrap=True)
    for line in lines:
        table.add_row(
            Text(printable(line.id[:id_length])),
            state_text(line.state),
            duration(line.age_s),
            str(line.attempts),
            Text(one_line(line.queue)),
            Text(one_line(line.name)),
            _what(line),
        )
    return table


def _table_of_calls(lines: Sequence[TaskLine]) -> Table:
    """Each task as the call it is: arguments need the room."""
    table = plain_table()
    for heading in ("id", "state", "age"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "age" else "left")
    table.add_column("call", ratio=1, overflow="fold")
    id_length = _telling_length([line.id for line in lines])
    for line in lines:
        given = call(*line.arguments) if line.arguments is not None else "(arguments that are not JSON)"
        id_text = Text(printable(line.id[:id_length]))
        table.add_row(id_text, state_text(line.state), duration(line.age_s), Text(one_line(line.name) + given))
    return table


def _what(line: TaskLine) -> Text:
    """What a person wants to know next about a task in that state."""
    words = []
    if line.state is State.PENDING and line.due_at is not None:
        words.append(f"due {line.due_at:%m-%d %H:%M:%SZ}")
    elif line.state in (State.LEASED, State.RUNNING):
        words.append(f"on {one_line(line.worker or line.worker_id)}")
    if line.reason:
        words.append(one_line(line.reason))
    return Text(" · ".join(words), style="dim" if line.state is State.SUCCEEDED else "")


def _telling_length(ids: Sequence[str]) -> int:
    """The fewest characters that tell these ids apart: enough for `show` in all likelihood."""
    for length in range(SHORTEST_ID, max(map(len, ids)) + 1):
        if len({task_id[:length] for task_id in ids}) == len(ids):
            return length
    return max(map(len, ids))

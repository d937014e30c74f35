"""``mirepoix why ID``: say in words why a task does not run, and what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError
from mirepoix.cli.find import resolve
from mirepoix.cli.hints import as_typed
from mirepoix.cli.options import json_option
from mirepoix.ledger.query.task_detail import task_detail
from mirepoix.operations import why as judge
from mirepoix.operations.format import duration, one_line, when
from mirepoix.operations.why import Why


@click.command()
@click.argument("task_id", metavar="ID")
@json_option
@pass_context
def why(context: CliContext, task_id: str, is_json: bool) -> None:
    """Say why a task does not run. The beginning of its id is enough.

    It looks at the task, the workers, the queue and, with a broker, the relay. The exit code is 0 even if the task will
    not run by itself.
    """
    with context.reading() as tx:
        found, missing = resolve(tx, [task_id])
        detail = task_detail(tx, found[0]) if found else None
        answer = judge.why(detail, judge.look(tx, detail)) if detail is not None else None
    if detail is None or answer is None:
        raise CliError(next(iter(missing.values()), f"The task {task_id!r} was pruned a moment ago."))
    if is_json:
        context.print_json({"id": detail.id, "state": detail.state, "why": answer})
        return
    context.say(f"{one_line(detail.name)}  {one_line(detail.id)}", "dim")
    print_why(context, answer)


def print_why(context: CliContext, answer: Why) -> None:
    """Print the answer, the facts and the next step."""
    context.say(one_line(answer.answer), "bold yellow" if answer.is_stuck else "bold")
    for fact in answer.facts:
        context.say(f"  {one_line(fact)}")
    if answer.starts_in_s is not None:
        starts_at = datetime.now(UTC) + timedelta(seconds=answer.starts_in_s)
        context.say(f"  It starts in about {duration(answer.starts_in_s)}, at {when(starts_at)}, if all goes on so.")
    if answer.next_step:
        context.say(f"  Next: {as_typed(answer.next_step)}", "dim")

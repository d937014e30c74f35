"""``mirepoix stack ID``: print the Python stack of a task that runs now."""

from __future__ import annotations

from datetime import timedelta

import click

from mirepoix.celery import stacks
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError
from mirepoix.cli.find import resolve
from mirepoix.cli.options import Duration, json_option
from mirepoix.ledger import operate
from mirepoix.ledger.query.task_detail import task_detail
from mirepoix.operations.batches import deciding
from mirepoix.operations.decisions import decided_by
from mirepoix.operations.format import one_line, printable
from mirepoix.states import HELD

NO_APP = "This needs the app, which reaches its workers: celery -A YOUR_APP mirepoix stack ID."


@click.command()
@click.argument("task_id", metavar="ID")
@click.option("--wait", type=Duration(), default=timedelta(seconds=stacks.ANSWER_S), help="How long to wait for it.")
@click.option("--by", help="Who asks. The default is your login name.")
@json_option
@pass_context
def stack(context: CliContext, task_id: str, wait: timedelta, by: str | None, is_json: bool) -> None:
    """Print the Python stack of a running task.

    It is what the task does at this moment, and the task goes on undisturbed. The beginning of its id is enough. It is
    recorded who asked. The stack has files, lines and functions, and no values. The exit code is 2 if the worker gives
    no answer.
    """
    if context.app is None:
        raise CliError(NO_APP)
    with context.reading() as tx:
        found, missing = resolve(tx, [task_id])
        detail = task_detail(tx, found[0]) if found else None
    if detail is None:
        raise CliError(next(iter(missing.values()), f"The task {task_id!r} was pruned a moment ago."))
    if detail.state not in HELD or not detail.worker:
        raise CliError(f"The task {one_line(detail.id)} does not run: it is {detail.state}.")
    with deciding(context.ready()) as tx:
        operate.note(tx, [detail.id], "stack", decided_by(by), "asked for its stack")
    answer = stacks.ask(context.app, detail.worker, detail.id, wait.total_seconds())
    if is_json:
        context.print_json({"id": detail.id, "worker": detail.worker, "stack": answer})
    elif answer.text:
        where = f"{one_line(detail.worker)}, process {answer.pid}"
        context.say(f"{one_line(detail.name)}  {one_line(detail.id)}  on {where}", "dim")
        for line in printable(answer.text.rstrip()).splitlines():
            context.say(line)
    if not answer.text:
        raise CliError(f"No stack: {one_line(answer.trouble)}.")

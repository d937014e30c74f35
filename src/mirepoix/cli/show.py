"""``mirepoix show ID``: show everything about one task."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import click
from rich.text import Text

from mirepoix.cli.call_format import changed_table
from mirepoix.cli.columns import Column
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError
from mirepoix.cli.find import resolve
from mirepoix.cli.hints import command
from mirepoix.cli.options import json_option
from mirepoix.cli.styles import STYLES, state_text
from mirepoix.ledger.query.task_detail import MOST_CHILDREN, AttemptLine, Relative, TaskDetail, task_detail
from mirepoix.operations import why as judge
from mirepoix.operations.format import count, duration, memory, one_line, printable, run_time, when
from mirepoix.signatures.lacking import LACKING
from mirepoix.states import State

INDENT = 5
"""The indentation, in cells, of the lines below an attempt."""


@click.command()
@click.argument("task_id", metavar="ID")
@click.option("--results", "has_results", is_flag=True, help="Also show what its steps returned.")
@json_option
@pass_context
def show(context: CliContext, task_id: str, has_results: bool, is_json: bool) -> None:
    """Show everything about one task. ID is its id, the beginning of its id, or its key (submit_once).

    The output includes the task's arguments.
    """
    with context.reading() as tx:
        found, missing = resolve(tx, [task_id])
        detail = task_detail(tx, found[0], has_results=has_results) if found else None
        waits = judge.why(detail, judge.look(tx, detail)) if detail and detail.state is State.PENDING else None
    if detail is None:
        raise CliError(next(iter(missing.values()), f"The task {task_id!r} was pruned a moment ago."))
    if is_json:
        context.print_json(detail)
        return
    context.say_all(_headline(detail).split("\n"))
    if waits is not None:
        context.say(one_line(waits.answer), "yellow" if waits.is_stuck else "")
    context.facts(_fact_lines(detail))
    _print_arguments(context, detail)
    _print_attempts(context, detail)
    _print_steps(context, detail)
    _print_edits(context, detail)
    _print_decisions(context, detail)
    _print_relatives(context, detail)
    for number, hint in enumerate(_hints(detail)):
        context.say(("" if number else "\n") + hint, "dim")


def _headline(detail: TaskDetail) -> Text:
    text = Text.assemble(
        (one_line(detail.name), "bold"),
        "  ",
        (one_line(detail.id), "dim"),
        "\n",
        state_text(detail.state, has_due=detail.due_at is not None),
    )
    if detail.due_in_s is not None and detail.state is State.PENDING:
        due = f"due in {duration(detail.due_in_s)}" if detail.due_in_s > 0 else f"due {duration(-detail.due_in_s)} ago"
        text.append(f", {due}")
    if detail.running_for_s is not None:
        text.append(f" for {duration(detail.running_for_s)}")
    if detail.reason:
        text.append(f": {one_line(detail.reason)}")
    return text


def _fact_lines(detail: TaskDetail) -> Iterator[tuple[str, str]]:
    yield "key", one_line(detail.key)
    yield "queue", one_line(detail.queue) + (f", priority {detail.priority}" if detail.priority else "")
    yield "sent", when(detail.created_at)
    yield "eta", when(detail.eta)
    yield "due", when(detail.due_at)
    yield "expires", when(detail.expires_at)
    yield "handed over", when(detail.leased_at)
    yield "started", when(detail.started_at)
    yield "finished", when(detail.finished_at)
    if detail.state is State.PARKED:
        yield "lacks", LACKING[detail.parked_for]
    yield "version", "" if detail.version == 1 else str(detail.version)
    yield "ran", ", ".join(filter(None, (run_time(detail.run_time_s), memory(detail.peak_memory_kb))))
    if detail.worker_id is not None and detail.state in (State.LEASED, State.RUNNING):
        alive = "" if detail.worker_state == "alive" else f" ({detail.worker_state or 'not in the ledger'}!)"
        yield (
            "worker",
            f"{detail.worker or detail.worker_id}{alive}" + (f", process {detail.pid}" if detail.pid else ""),
        )
    counts = (
        count(detail.fence, "attempt") if detail.fence else "",
        f"{detail.retries} by Celery's retry" if detail.retries else "",
        count(detail.deaths, "death") + " of its process" if detail.deaths else "",
        f"handed to a worker and lost {detail.handovers} times" if detail.handovers else "",
        f"message {detail.generation + 1} under this id" if detail.generation > detail.retries else "",
    )
    yield "tries", ", ".join(filter(None, counts))
    yield "calls then", one_line(", ".join(str(call) for call in detail.calls[1:]))
    yield "group", one_line(detail.group_id)
    if detail.chord is not None:
        ended = {"fired": "its body was sent", "failed": "a member failed, so its body was not sent"}
        how = ended.get(detail.chord.state, f"{detail.chord.done} of {detail.chord.size} members have returned")
        yield "chord", how


def _print_arguments(context: CliContext, detail: TaskDetail) -> None:
    if detail.arguments is None:
        context.say(f"\narguments: they are {one_line(detail.content_type)} and not JSON, and cannot be shown", "dim")
        return
    args, kwargs = detail.arguments
    for name, value in (("args", args), ("kwargs", kwargs)):
        if value:
            code = printable(json.dumps(value, indent=2, ensure_ascii=False))
            short = printable(json.dumps(value, ensure_ascii=False))
            given = short if len(short) < context.console.width - 8 else code
            context.say_all((Text(f"{name} ", style="dim") + Text(given, style="not dim")).split("\n"))
    if not args and not kwargs:
        context.say("called without arguments", "dim")


def _print_attempts(context: CliContext, detail: TaskDetail) -> None:
    if not detail.attempts:
        context.say("\nNo worker has had it yet.", "dim")
        return
    hidden = detail.fence - len(detail.attempts)
    context.say("\nAttempts", "bold")
    later = [attempt.traceback for attempt in detail.attempts]
    for attempt in detail.attempts:
        later.pop(0)
        context.say(_attempt_line(attempt))
        if attempt.error:
            error = f"{attempt.error_type}: {attempt.error}" if _adds(attempt) else attempt.error
            context.say_all(Text(printable(error), style="red").split("\n"), INDENT)
        if attempt.traceback and attempt.traceback in later:
            context.say_all([Text("with the same traceback as a later attempt", style="dim")], INDENT)
        elif attempt.traceback:
            context.traceback(attempt.traceback, INDENT)
    if hidden > 0:
        unseen = f"{count(hidden, 'more attempt')} left no history (given back before a start was recorded)"
        context.say(unseen, "dim")


def _adds(attempt: AttemptLine) -> bool:
    return attempt.error_type is not None and attempt.error_type not in (attempt.error or "")


def _attempt_line(attempt: AttemptLine) -> Text:
    style = STYLES[State(attempt.outcome)] if attempt.outcome in set(State) else "yellow"
    details = [
        when(attempt.started_at or attempt.leased_at),
        f"ran {run_time(attempt.run_time_s)}" if attempt.run_time_s is not None else "",
        attempt.beginning,
        memory(attempt.peak_memory_kb),
        f"signal {_signal_name(attempt.signal)}" if attempt.signal else "",
        f"exit code {attempt.exit_code}" if attempt.exit_code is not None else "",
        f"on {one_line(attempt.worker or attempt.worker_id)}" if attempt.worker_id else "",
        f"process {attempt.pid}" if attempt.pid else "",
    ]
    return Text.assemble(
        (f"{attempt.fence:>3}  ", "dim"), (one_line(attempt.outcome), style), "  ", " · ".join(filter(None, details))
    )


def _print_steps(context: CliContext, detail: TaskDetail) -> None:
    if not detail.steps:
        return
    context.say("\nSteps", "bold")
    for step in detail.steps:
        took = "" if step.run_time_s is None else f"took {run_time(step.run_time_s)}"
        details = " · ".join(filter(None, (when(step.done_at), took)))
        context.say(Text.assemble((f"{step.fence:>3}  ", "dim"), one_line(step.name), "  ", details))
        if step.result is not None:
            context.say_all(Text(printable(step.result)).split("\n"), INDENT)


def _print_edits(context: CliContext, detail: TaskDetail) -> None:
    if not detail.edits:
        return
    context.say("\nEdits", "bold")
    for edit in detail.edits:
        context.say(f"{when(edit.edited_at)}  {one_line(edit.edited_by)}: {one_line(edit.reason)}")
        context.print(changed_table(edit.before, edit.after))


def _print_decisions(context: CliContext, detail: TaskDetail) -> None:
    if not detail.decisions:
        return
    context.say("\nDecisions", "bold")
    for decision in detail.decisions:
        who = one_line(decision.decided_by)
        context.say(f"{when(decision.decided_at)}  {one_line(decision.verb)} by {who}: {one_line(decision.reason)}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _print_relatives(context: CliContext, detail: TaskDetail) -> None:
    above = [(word, task) for word, task in (("sent by", detail.parent), ("root", detail.root)) if task is not None]
    if detail.parent is not None and detail.root is not None and detail.parent.id == detail.root.id:
        above = above[:1]
    if not above and not detail.children:
        return
    found = [(Text(word, style="dim"), *_named(task)) for word, task in above]
    found += [(Text("" if n else "it sent", style="dim"), *_named(task)) for n, task in enumerate(detail.children)]
    context.say("")
    context.list(_RELATIVE_COLUMNS, found)
    if len(detail.children) == MOST_CHILDREN:
        context.say(f"… only the first {MOST_CHILDREN} tasks that it sent", "dim")


_RELATIVE_COLUMNS = (Column("related"), Column("state"), Column("id"), Column("name", 12, is_cut_in_front=True))


def _named(task: Relative) -> tuple[Text, Text, Text]:
    state = Text("not in the ledger", style="dim") if task.state is None else state_text(task.state)
    return state, Text(one_line(task.id), style="dim"), Text(one_line(task.name))


def _hints(detail: TaskDetail) -> list[str]:
    """Return the commands that can be run next on the task."""
    verbs = {
        State.FAILED: ("retry", "discard"),
        State.QUARANTINED: ("requeue", "discard"),
        State.PARKED: ("edit", "requeue", "discard"),
        State.PENDING: ("retry", "cancel") if detail.due_at is not None else ("cancel",),
        State.LEASED: ("cancel",),
        State.RUNNING: ("cancel --terminate",),
    }
    more = {"edit": " --set NAME=JSON --reason TEXT"}
    return [command(verb, one_line(detail.id)) + more.get(verb, "") for verb in verbs.get(detail.state, ())]

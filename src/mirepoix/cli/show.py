"""``mirepoix show ID``: the whole story of one task."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import click
from rich.text import Text

from mirepoix.cli.call_format import LACKING, changed_table
from mirepoix.cli.columns import Column
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError
from mirepoix.cli.find import resolve
from mirepoix.cli.format import count, duration, memory, one_line, printable, run_time, when
from mirepoix.cli.hints import command
from mirepoix.cli.options import json_option
from mirepoix.cli.styles import STYLES, state_text
from mirepoix.ledger.query.history import MOST_CHILDREN, AttemptLine, Relative, Story, story
from mirepoix.states import State

INDENT = 5
"""Cells, below an attempt's number and what became of it."""


@click.command()
@click.argument("task_id", metavar="ID")
@click.option("--results", "has_results", is_flag=True, help="Show what its steps returned, too.")
@json_option
@pass_context
def show(context: CliContext, task_id: str, has_results: bool, is_json: bool) -> None:
    """Tell the whole story of one task. The beginning of its id is enough.

    This prints the task's arguments.
    """
    with context.reading() as tx:
        found, missing = resolve(tx, [task_id])
        told = story(tx, found[0], has_results=has_results) if found else None
    if told is None:
        raise CliError(next(iter(missing.values()), f"The task {task_id!r} was pruned just now."))
    if is_json:
        context.print_json(told)
        return
    context.say_all(_headline(told).split("\n"))
    context.facts(_fact_lines(told))
    _print_arguments(context, told)
    _print_attempts(context, told)
    _print_steps(context, told)
    _print_edits(context, told)
    _print_decisions(context, told)
    _print_relatives(context, told)
    for number, hint in enumerate(_hints(told)):
        context.say(("" if number else "\n") + hint, "dim")


def _headline(told: Story) -> Text:
    text = Text.assemble(
        (one_line(told.name), "bold"),
        "  ",
        (one_line(told.id), "dim"),
        "\n",
        state_text(told.state, has_due=told.due_at is not None),
    )
    if told.due_in_s is not None and told.state is State.PENDING:
        due = f"due in {duration(told.due_in_s)}" if told.due_in_s > 0 else f"due {duration(-told.due_in_s)} ago"
        text.append(f", {due}")
    if told.running_for_s is not None:
        text.append(f" for {duration(told.running_for_s)}")
    if told.reason:
        text.append(f": {one_line(told.reason)}")
    return text


def _fact_lines(told: Story) -> Iterator[tuple[str, str]]:
    yield "queue", one_line(told.queue) + (f", priority {told.priority}" if told.priority else "")
    yield "sent", when(told.created_at)
    yield "eta", when(told.eta)
    yield "due", when(told.due_at)
    yield "expires", when(told.expires_at)
    yield "handed over", when(told.leased_at)
    yield "started", when(told.started_at)
    yield "finished", when(told.finished_at)
    if told.state is State.PARKED:
        yield "lacks", LACKING[told.parked_for]
    yield "version", "" if told.version == 1 else str(told.version)
    yield "ran", ", ".join(filter(None, (run_time(told.run_time_s), memory(told.peak_memory_kb))))
    if told.worker_id is not None and told.state in (State.LEASED, State.RUNNING):
        alive = "" if told.worker_state == "alive" else f" ({told.worker_state or 'not in the ledger'}!)"
        yield "worker", f"{told.worker or told.worker_id}{alive}" + (f", process {told.pid}" if told.pid else "")
    counts = (
        count(told.fence, "attempt") if told.fence else "",
        f"{told.retries} by Celery's retry" if told.retries else "",
        count(told.deaths, "death") + " of its process" if told.deaths else "",
        f"handed out and lost {told.handovers} times" if told.handovers else "",
        f"message {told.generation + 1} under this id" if told.generation > told.retries else "",
    )
    yield "tries", ", ".join(filter(None, counts))
    yield "calls then", one_line(", ".join(str(call) for call in told.calls[1:]))
    yield "group", one_line(told.group_id)
    if told.chord is not None:
        ended = {"fired": "its body was sent", "failed": "a member failed, so its body was not sent"}
        how = ended.get(told.chord.state, f"{told.chord.done} of {told.chord.size} members have returned")
        yield "chord", how


def _print_arguments(context: CliContext, told: Story) -> None:
    if told.arguments is None:
        context.say(f"\narguments: not JSON but {one_line(told.content_type)}; they cannot be shown", "dim")
        return
    args, kwargs = told.arguments
    for name, value in (("args", args), ("kwargs", kwargs)):
        if value:
            code = printable(json.dumps(value, indent=2, ensure_ascii=False))
            short = printable(json.dumps(value, ensure_ascii=False))
            given = short if len(short) < context.console.width - 8 else code
            context.say_all((Text(f"{name} ", style="dim") + Text(given, style="not dim")).split("\n"))
    if not args and not kwargs:
        context.say("called without arguments", "dim")


def _print_attempts(context: CliContext, told: Story) -> None:
    if not told.attempts:
        context.say("\nNo worker has had it yet.", "dim")
        return
    hidden = told.fence - len(told.attempts)
    context.say("\nAttempts", "bold")
    later = [attempt.traceback for attempt in told.attempts]
    for attempt in told.attempts:
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
        unseen = f"{count(hidden, 'more attempt')} left no history (handed out and back, not seen to start)"
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


def _print_steps(context: CliContext, told: Story) -> None:
    if not told.steps:
        return
    context.say("\nSteps", "bold")
    for step in told.steps:
        took = "" if step.run_time_s is None else f"took {run_time(step.run_time_s)}"
        details = " · ".join(filter(None, (when(step.done_at), took)))
        context.say(Text.assemble((f"{step.fence:>3}  ", "dim"), one_line(step.name), "  ", details))
        if step.result is not None:
            context.say_all(Text(printable(step.result)).split("\n"), INDENT)


def _print_edits(context: CliContext, told: Story) -> None:
    if not told.edits:
        return
    context.say("\nEdits", "bold")
    for edit in told.edits:
        context.say(f"{when(edit.edited_at)}  {one_line(edit.edited_by)}: {one_line(edit.reason)}")
        context.print(changed_table(edit.before, edit.after))


def _print_decisions(context: CliContext, told: Story) -> None:
    if not told.decisions:
        return
    context.say("\nDecisions", "bold")
    for one in told.decisions:
        context.say(
            f"{when(one.decided_at)}  {one_line(one.verb)} by {one_line(one.decided_by)}: {one_line(one.reason)}"
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _print_relatives(context: CliContext, told: Story) -> None:
    above = [(word, task) for word, task in (("sent by", told.parent), ("root", told.root)) if task is not None]
    if told.parent is not None and told.root is not None and told.parent.id == told.root.id:
        above = above[:1]
    if not above and not told.children:
        return
    found = [(Text(word, style="dim"), *_named(task)) for word, task in above]
    found += [(Text("" if n else "it sent", style="dim"), *_named(task)) for n, task in enumerate(told.children)]
    context.say("")
    context.list(_RELATIVE_COLUMNS, found)
    if len(told.children) == MOST_CHILDREN:
        context.say(f"… the first {MOST_CHILDREN} of what it sent", "dim")


_RELATIVE_COLUMNS = (Column("related"), Column("state"), Column("id"), Column("name", 12, is_cut_in_front=True))


def _named(task: Relative) -> tuple[Text, Text, Text]:
    state = Text("not in the ledger", style="dim") if task.state is None else state_text(task.state)
    return state, Text(one_line(task.id), style="dim"), Text(one_line(task.name))


def _hints(told: Story) -> list[str]:
    """What can be done about it, as commands."""
    verbs = {
        State.FAILED: ("retry", "discard"),
        State.QUARANTINED: ("requeue", "discard"),
        State.PARKED: ("edit", "requeue", "discard"),
        State.PENDING: ("retry", "cancel") if told.due_at is not None else ("cancel",),
        State.LEASED: ("cancel",),
        State.RUNNING: ("cancel --terminate",),
    }
    more = {"edit": " --set NAME=JSON --reason TEXT"}
    return [command(verb, one_line(told.id)) + more.get(verb, "") for verb in verbs.get(told.state, ())]

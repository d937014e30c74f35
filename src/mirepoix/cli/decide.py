"""``retry``, ``requeue``, ``cancel`` and ``discard``: decide about tasks, by id or by filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from mirepoix.celery import chords
from mirepoix.celery.revoking import revoke_held
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError, NotAllDone
from mirepoix.cli.find import resolve
from mirepoix.cli.options import filter_options, filters_from, is_filtered, json_option
from mirepoix.cli.progress import progress
from mirepoix.ledger import operate
from mirepoix.ledger.query.health import held_by_gone
from mirepoix.ledger.query.tasks import matching, states_of
from mirepoix.operations.batches import BATCH, Report, carry_out, deciding, grouped
from mirepoix.operations.decisions import CANCEL, DISCARD, REQUEUE, RETRY, Decision, decided_by
from mirepoix.operations.format import count, one_line, state_word
from mirepoix.states import State

LISTED = 20
"""The most ids that are listed. `--json` lists every id."""


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every decision about tasks has."""
    for option in (
        json_option,
        click.option("--by", help="Who decides. The default is your user name and host."),
        click.option("--reason", help="Why. It is stored in the ledger."),
        click.option("--yes", "-y", "is_sure", is_flag=True, help="Do not ask."),
        click.option("--limit", type=click.IntRange(min=1), help="At most so many of the tasks that match."),
        filter_options,
        click.argument("ids", nargs=-1),
    ):
        command = option(command)
    return command


@click.command()
@options
@pass_context
def retry(context: CliContext, /, **given: Any) -> None:
    """Run failed tasks again, or run waiting ones now.

    retry runs failed tasks, by id or filters. requeue also runs quarantined, parked, cancelled and expired tasks.
    failures replay runs all failed tasks of one cause at a limited rate, a few first, and can be undone.

    A task that waits for its next retry or its eta runs now. Filters select only failed tasks, unless --state is
    given.
    """
    decide(context, RETRY, given)


@click.command()
@options
@pass_context
def requeue(context: CliContext, /, **given: Any) -> None:
    """Run tasks again that ended in any way but success.

    retry runs failed tasks, by id or filters. requeue also runs quarantined, parked, cancelled and expired tasks.
    failures replay runs all failed tasks of one cause at a limited rate, a few first, and can be undone.

    The tasks run at once and with all their retries. Filters select only failed, quarantined and parked tasks, unless
    --state is given.
    """
    decide(context, REQUEUE, given)


@click.command()
@options
@click.option("--terminate", is_flag=True, help="Kill the process of a task that is running (with an app).")
@pass_context
def cancel(context: CliContext, /, *, terminate: bool, **given: Any) -> None:
    """End waiting tasks; revoke tasks that a worker has.

    Waiting and parked tasks never start. A revoked task does not run if it has not started. A running task runs to its
    end, unless --terminate kills it. Filters select only waiting tasks, unless --state is given.
    """
    decide(context, CANCEL, given, terminate=terminate)


@click.command(short_help="Decide that failed or parked tasks need not run.")
@options
@pass_context
def discard(context: CliContext, /, **given: Any) -> None:
    """Decide that failed, quarantined or parked tasks need not run."""
    decide(context, DISCARD, given)


def decide(context: CliContext, decision: Decision, given: dict[str, Any], *, terminate: bool | None = None) -> None:
    """Decide about the tasks that the options of a command select, and print what became of them."""
    report = Report()
    is_dry_run = given.get("is_dry_run", False)
    ids = wanted(context, decision, given | {"is_sure": given["is_sure"] or is_dry_run}, report)
    if is_dry_run:
        _print_forecast(context, decision, ids, report, is_json=given["is_json"])
        return
    by = decided_by(given["by"])
    reason = one_line(given["reason"]) or f"{decision.done} by an operator"
    try:
        ended = partial(chords.return_ended, context.installation) if decision.is_end and ids else None
        with progress(decision.verb, len(ids)) as report.advanced:
            carry_out(context.ready(), decision, ids, reason, report, ended, by=by)
        if terminate is not None and report.held and context.app is not None:
            with context.reading() as tx:
                gone = held_by_gone(tx, report.held)
            revoke_held(context.app, report, gone, terminate=terminate)
            with deciding(context.ready()) as tx:
                operate.note(
                    tx, [task_id for task_id in report.held if task_id in report.done], decision.verb, by, reason
                )
    finally:
        # Also if the database went away half-way: what is committed is done, and has to be reported.
        if report.done or report.not_done or not ids:
            _print_outcome(context, decision, report, is_json=given["is_json"])
    if report.not_done or report.is_interrupted:
        raise NotAllDone


def wanted(context: CliContext, decision: Decision, given: dict[str, Any], report: Report) -> list[str]:
    """Return the ids to decide about, and note in *report* the ids that were not found."""
    if given["ids"] and is_filtered(given):
        raise click.UsageError("Give ids or filters, not both.")
    if given["ids"]:
        with context.reading() as tx:
            found, missing = resolve(tx, given["ids"])
        if not found:
            raise CliError(" ".join(missing.values()))
        report.not_done |= {asked: (None, why) for asked, why in missing.items()}
        return found
    if not is_filtered(given):
        raise click.UsageError(f"Say which tasks to {decision.verb}: ids, or filters such as --name 'shop.*'.")
    with context.reading() as tx:
        tasks = matching(tx, filters_from(given, decision.default_states), given["limit"])
    if tasks and not given["is_sure"]:
        _confirm(decision, tasks)
    return [task_id for task_id, _, _ in tasks]


def _confirm(decision: Decision, tasks: list[tuple[str, str, State]]) -> None:
    states = ", ".join(
        f"{n:,} {state}" for state, n in Counter(state_word(state) for _, _, state in tasks).most_common()
    )
    names = Counter(name for _, name, _ in tasks).most_common()
    click.echo(f"{count(len(tasks), 'task')} ({states}):", err=True)
    for name, n in names[:5]:
        click.echo(f"  {n:>7,}  {one_line(name)}", err=True)
    if names[5:]:
        click.echo(f"  {sum(n for _, n in names[5:]):>7,}  of {count(len(names) - 5, 'other name')}", err=True)
    try:
        click.confirm(f"{decision.verb.capitalize()} them?", abort=True, err=True)
    except click.Abort:
        raise CliError("Nothing was changed: it was not confirmed. Answer y, or use --yes.") from None


def _print_forecast(context: CliContext, decision: Decision, ids: list[str], report: Report, *, is_json: bool) -> None:
    """Print what would become of the tasks."""
    found: dict[str, list[str]] = {}
    for start in range(0, len(ids), BATCH):
        with context.reading() as tx:
            seen = states_of(tx, ids[start : start + BATCH])
        for task_id, (state, has_due) in seen.items():
            found.setdefault(decision.forecast(state, has_due=has_due), []).append(task_id)
    if is_json:
        context.print_json({"command": decision.verb, "is_dry_run": True, "forecast": found})
        return
    for words, tasks in found.items():
        context.say(f"{words}: {count(len(tasks), 'task')}")
        _list(context, tasks)
    for task_id, (_, why) in report.not_done.items():
        context.say(f"{one_line(task_id)}: {why}", "yellow")
    if not found and not report.not_done:
        context.say("No task matches.")


def _print_outcome(context: CliContext, decision: Decision, report: Report, *, is_json: bool) -> None:
    if is_json:
        done = [{"id": task_id, "did": did} for task_id, did in report.done.items()]
        left = [{"id": task_id, "state": state, "why": why} for task_id, (state, why) in report.not_done.items()]
        answer = {"command": decision.verb, "done": done, "not_done": left, "is_interrupted": report.is_interrupted}
        context.print_json(answer)
        return
    if not report.done and not report.not_done:
        context.say("No task matches: nothing was changed.")
    for did, ids in grouped(report.done).items():
        context.say(f"{did}: {count(len(ids), 'task')}", "green")
        _list(context, ids)
    for why, ids in grouped({task_id: why for task_id, (_, why) in report.not_done.items()}).items():
        context.say(f"not {decision.done}: {count(len(ids), 'task')}: {why}", "yellow")
        _list(context, ids)
    if report.is_interrupted:
        click.echo("Interrupted: the rest was not touched.", err=True)


def _list(context: CliContext, ids: list[str]) -> None:
    for task_id in ids[:LISTED]:
        context.say(f"  {one_line(task_id)}")
    if ids[LISTED:]:
        context.say(f"  … and {len(ids) - LISTED:,} more (--json lists every id)")

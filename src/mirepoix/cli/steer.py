"""``pause`` and ``resume``: let workers take nothing from a queue, or of a name, or let some workers take nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click

from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError, NotAllDone
from mirepoix.cli.options import Duration, json_option
from mirepoix.cli.progress import progress
from mirepoix.ledger import holds
from mirepoix.ledger.holds import Kind
from mirepoix.operations import steering
from mirepoix.operations.decisions import decided_by
from mirepoix.operations.format import count, one_line

LOOK_S = 0.2
"""How often --wait looks whether something still runs."""

SETTLE_S = 1.0
"""How long workers may take to read that something is paused. --wait looks no earlier."""

KINDS = tuple(kind.value for kind in Kind)


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        json_option,
        click.option("--by", help="Who decides. The default is your user name and host."),
        click.option(
            "--note", "--reason", "note", default="", help="Why. It is stored in the ledger, and shown with the pause."
        ),
        click.argument("name"),
        click.argument("kind", type=click.Choice(KINDS), metavar=f"[{'|'.join(KINDS)}]"),
    ):
        command = option(command)
    return command


@click.command()
@_options
@click.option("--force", "is_forced", is_flag=True, help="Pause it even if nothing of that name is known.")
@click.option("--wait", "is_waiting", is_flag=True, help="Wait until nothing of it runs.")
@click.option("--for", "wait_for", type=Duration(), help="With --wait: give up after this time, with exit code 1.")
@pass_context
def pause(
    context: CliContext,
    /,
    kind: str,
    name: str,
    by: str | None,
    note: str,
    is_json: bool,
    is_forced: bool,
    is_waiting: bool,
    wait_for: timedelta | None,
) -> None:
    """Pause a queue, a task, a limit, a worker or a release.

    Workers obey within a second. What runs goes on, and what has not begun goes back to its queue without blame. Tasks
    are still accepted, retried and expired. Tasks of other queues and names run as before.

    queue: no worker takes from it. task: no worker begins a task of that name. limit: no worker begins a task with that
    limit, or with one key of it (shop.export:42, as "mirepoix why" shows it). worker and release: that worker
    (celery@web-1), or every worker with that setting mirepoix_release, finishes what it has and takes nothing more.
    """
    found, by = Kind(kind), decided_by(by)
    if not is_forced:
        require_known(context, found, name, "Nothing is paused. Pause it all the same with --force.")
    try:
        is_new = steering.pause(context.ready(), found, name, by, note)
    except ValueError as error:
        raise CliError(str(error)) from None
    with context.reading() as tx:
        hold = next((hold for hold in holds.read(tx) if (hold.kind, hold.value) == (found, name)), None)
    is_over = _wait(context, found, name, wait_for) if is_waiting else None
    with context.reading() as tx:
        running, taken = steering.busy(tx, found, name)
    if is_json:
        context.print_json(
            {"command": "pause", "kind": kind, "name": name, "done": is_new, "running": running, "taken": taken}
        )
    elif hold is not None:
        word = "now" if is_new else "already"
        context.say(f"{steering.what(kind, name)} is paused {word}, {steering.since(hold)}", "green" if is_new else "")
        if running or taken:
            context.say(f"{count(running, 'task')} of it {'runs' if running == 1 else 'run'}, and will end by itself.")
    if is_over is False:
        raise NotAllDone


@click.command()
@_options
@pass_context
def resume(context: CliContext, /, kind: str, name: str, by: str | None, note: str, is_json: bool) -> None:
    """Resume what was paused. Tasks go on in their old order.

    Held tasks of a name are released in batches. If that is interrupted, the same command, or any worker, releases the
    rest.
    """
    try:
        with progress("resume") as advanced:
            was_paused, released = steering.resume(context.ready(), Kind(kind), name, decided_by(by), note, advanced)
    except ValueError as error:
        raise CliError(str(error)) from None
    if is_json:
        context.print_json({"command": "resume", "kind": kind, "name": name, "done": was_paused, "released": released})
        return
    if was_paused:
        context.say(f"{steering.what(kind, name)} is resumed", "green")
    else:
        context.say(f"{steering.what(kind, name)} was not paused")
        _say_paused(context)
    if released:
        context.say(f"{count(released, 'held task')} released")


def _say_paused(context: CliContext) -> None:
    with context.reading() as tx:
        found = holds.read(tx)
    for hold in found:
        context.say(f"  paused: {steering.what(hold.kind, hold.value)} {steering.since(hold)}", "dim")


def require_known(context: CliContext, kind: Kind, name: str, remedy: str) -> None:
    """Raise CliError, with the remedy, if nothing has that name: it may be a typing error."""
    also: set[str] = set()
    if context.app is not None and kind is Kind.TASK:
        _ = context.catalog  # imports the modules of the app's tasks
        also = set(context.app.tasks)
    elif context.app is not None and kind is Kind.QUEUE:
        also = set(context.app.amqp.queues)
    with context.reading() as tx:
        doubt = steering.unknown(tx, kind, name, also)
    if doubt is not None:
        raise CliError(f"{doubt} {remedy}")


def _wait(context: CliContext, kind: Kind, name: str, wait_for: timedelta | None) -> bool:
    """Wait until nothing of it runs; False if that took too long."""
    until = None if wait_for is None else time.monotonic() + wait_for.total_seconds()
    look_at = time.monotonic() + SETTLE_S
    with progress("still running") as shown:
        while True:
            time.sleep(max(LOOK_S, look_at - time.monotonic()))
            with context.reading() as tx:
                running, taken = steering.busy(tx, kind, name)
            shown(running + taken)
            if not running + taken:
                return True
            if until is not None and time.monotonic() > until:
                context.say(f"{one_line(name)}: {count(running + taken, 'task')} still with workers", "yellow")
                return False

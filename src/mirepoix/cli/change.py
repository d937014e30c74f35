"""``move``, ``set-priority`` and ``postpone``: change when, and in which queue, waiting tasks run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.decide import decide, options
from mirepoix.cli.errors import CliError
from mirepoix.cli.options import Duration, Moment
from mirepoix.cli.steer import require_known
from mirepoix.ledger.holds import Kind
from mirepoix.operations.decisions import moving, postponing, prioritising
from mirepoix.operations.steering import checked

_DRY = click.option("--dry-run", "is_dry_run", is_flag=True, help="Only say what would become of the tasks.")
LEAST, MOST = -(2**15), 2**15 - 1


@click.command()
@click.option("--to", "to_queue", required=True, metavar="QUEUE", help="The queue that they move to.")
@click.option("--force", "is_forced", is_flag=True, help="Move them even if no worker consumes that queue.")
@_DRY
@options
@pass_context
def move(context: CliContext, /, to_queue: str, is_forced: bool, **given: Any) -> None:
    """Move waiting tasks to another queue.

    With a broker they are published there, and their messages in the old queue find nothing to run. A retry goes where
    the task's code sends it.
    """
    try:
        checked(to_queue)
    except ValueError as error:
        raise CliError(str(error)) from None
    if not is_forced:
        require_known(context, Kind.QUEUE, to_queue, "Nothing is moved. Move it all the same with --force.")
    decide(context, moving(to_queue), given)


@click.command("set-priority")
@click.option("--to", "priority", required=True, type=click.IntRange(LEAST, MOST), help="Higher runs first.")
@_DRY
@options
@pass_context
def set_priority(context: CliContext, /, priority: int, **given: Any) -> None:
    """Give waiting tasks another priority.

    With a broker they are published again with it: what a priority means there is for the broker to say.
    """
    decide(context, prioritising(priority), given)


@click.command()
@click.option("--for", "duration", type=Duration(), help="Until so long from now: 30m, 2h, 7d.")
@click.option("--to", "moment", type=Moment(), help="Until this time, in ISO 8601 (UTC).")
@_DRY
@options
@pass_context
def postpone(context: CliContext, /, duration: timedelta | None, moment: Any, **given: Any) -> None:
    """Let waiting tasks run later.

    A task that is due later already is left alone. A task may expire meanwhile.
    """
    if (duration is None) == (moment is None):
        raise click.UsageError("Say until when: --for 2h, or --to 2026-11-30T18:00.")
    until = duration if moment is None else moment
    if not isinstance(until, (datetime, timedelta)) or (moment is not None and isinstance(moment, timedelta)):
        raise click.UsageError("--to takes a time such as 2026-11-30T18:00. For a duration use --for.")
    if isinstance(until, datetime) and until <= datetime.now(UTC):
        raise click.UsageError("That time has passed.")
    decide(context, postponing(until), given)

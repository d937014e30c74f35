"""``mirepoix failures replay``, ``progress`` and ``undo``: run the failed tasks of a group again, a few first."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click

from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError, NotAllDone
from mirepoix.cli.failures import count_now, the_group
from mirepoix.cli.hints import command
from mirepoix.cli.options import Duration, json_option
from mirepoix.cli.progress import is_shown
from mirepoix.cli.progress import progress as progress_bar
from mirepoix.ledger import replay as ledger_replay
from mirepoix.ledger.query.failures import Group
from mirepoix.ledger.replay import Chosen
from mirepoix.operations import replay as operation
from mirepoix.operations.decisions import decided_by
from mirepoix.operations.format import count, duration, one_line
from mirepoix.operations.replay import DONE, FAILED_AGAIN, Replay, became

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Rate(click.ParamType):  # type: ignore[type-arg]  # not generic in older click
    """A number of tasks in a second, minute or hour: ``50/s``, ``100/m``, ``1000/h``."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the tasks a second."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/([smh]))?", value)
        if found is None or not float(found[1]):
            self.fail(f"{value!r} is not a rate. Write 50/s, 100/m or 1000/h.", param, ctx)
        return float(found[1]) / _SECONDS[found[2] or "s"]


@click.command()
@click.argument("group_id", metavar="ID")
@click.option(
    "--canary", "canaries", type=click.IntRange(min=0), default=0, help="Run so many first, and wait until they end."
)
@click.option("--rate", type=Rate(), default="50/s", show_default=True, help="At most so many: 50/s, 100/m, 1000/h.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many tasks, the oldest failures first.")
@click.option(
    "--wait", type=Duration(), default="10m", show_default=True, help="How long the canaries may take to end."
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Only print what would be done.")
@click.option("--by", help="Who decides. The default is your user name and host.")
@click.option("--reason", help="Why. It is stored in the ledger.")
@json_option
@pass_context
def replay(
    context: CliContext,
    group_id: str,
    canaries: int,
    rate: float,
    limit: int | None,
    wait: timedelta,
    is_dry: bool,
    by: str | None,
    reason: str | None,
    is_json: bool,
) -> None:
    """Run the failed tasks of one group again, the oldest failures first.

    retry runs failed tasks, by id or filters. requeue also runs quarantined, parked, cancelled and expired tasks.
    failures replay runs all failed tasks of one cause at a limited rate, a few first, and can be undone.

    With --canary the others run only if all canaries succeed. Ctrl-C stops the replay. Tasks that it has already
    requeued still run, unless you undo it. A task that fails again in the meantime is not run twice.
    """
    count_now(context)
    with context.reading() as tx:
        group = the_group(tx, group_id)
        chosen = ledger_replay.choose(tx, group.id, limit)
    if is_dry or not chosen:
        _print_dry_run(context, group, chosen, canaries, rate, is_json=is_json)
        return
    begun = operation.begin(
        context.ready(),
        group,
        chosen,
        canaries=canaries,
        rate_per_s=rate,
        by=decided_by(by),
        reason=one_line(reason) or f"replayed: {group.id}",
        report=(lambda _: None) if is_json else _say_aside,
    )
    begun.report(f"replay {begun.id} of {count(len(chosen), 'task')}: {one_line(group.title)}")
    with _stopped_by_ctrl_c(begun), progress_bar("replay", len(chosen)) as advanced:
        begun.advanced = advanced if is_shown() else None
        operation.carry_out(context.ready(), begun, canaries, wait.total_seconds())
    operation.end(context.ready(), begun)
    _print_outcome(context, begun, is_json=is_json)
    if begun.outcome != DONE:
        raise NotAllDone


def _say_aside(text: str) -> None:
    click.echo(text, err=True)


@click.command()
@click.argument("replay_id", metavar="REPLAY")
@json_option
@pass_context
def progress(context: CliContext, replay_id: str, is_json: bool) -> None:
    """Show how far a replay is, and how its tasks ended.

    It counts the tasks that wait, run, succeeded, failed again and were taken back.
    """
    with context.reading() as tx:
        seen = ledger_replay.progress(tx, replay_id)
    if not seen:
        raise CliError(f"There is no replay {one_line(replay_id)!r}, or its tasks were pruned. See: failures show ID")
    numbers = Counter(became(task) for task in seen)
    if is_json:
        context.print_json({"replay": replay_id, "tasks": len(seen), "became": dict(numbers), "of_each": seen})
        return
    context.say(f"{count(len(seen), 'task')}: " + ", ".join(f"{n:,} {words}" for words, n in numbers.most_common()))
    for task in [task for task in seen if became(task) in FAILED_AGAIN][:5]:
        context.say(f"  {one_line(task.task_id)} {became(task)}")


@click.command()
@click.argument("replay_id", metavar="REPLAY")
@json_option
@pass_context
def undo(context: CliContext, replay_id: str, is_json: bool) -> None:
    """Take back the tasks that were not handed to a worker yet.

    Each task is again what it was before: failed or quarantined, with its reason, history and result.
    """
    with context.reading() as tx:
        if not ledger_replay.progress(tx, replay_id):
            raise CliError(
                f"There is no replay {one_line(replay_id)!r}, or its tasks were pruned. See: failures show ID"
            )
    taken_back: list[str] = []
    try:
        with progress_bar("taken back") as advanced:
            operation.take_back(context.ready(), replay_id, decided_by(None), taken_back, advanced)
    finally:
        with context.reading() as tx:
            left = [task for task in ledger_replay.progress(tx, replay_id) if not task.is_undone]
        if is_json:
            context.print_json(
                {"replay": replay_id, "taken_back": taken_back, "started": [task.task_id for task in left]}
            )
        else:
            context.say(f"taken back: {count(len(taken_back), 'task')}", "green")
            if left:
                context.say(f"not taken back: {count(len(left), 'task')}: already handed to a worker", "yellow")


@contextmanager
def _stopped_by_ctrl_c(replay: Replay) -> Iterator[None]:
    """End the replay between two transactions on Ctrl-C. An interrupted transaction would break the connection."""

    def stop(_number: int, _frame: object) -> None:
        replay.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _print_dry_run(
    context: CliContext, group: Group, chosen: Sequence[Chosen], canaries: int, rate: float, *, is_json: bool
) -> None:
    if is_json:
        context.print_json({"failure_group": group.id, "would_replay": [task.task_id for task in chosen]})
    elif not chosen:
        context.say(f"No task failed for good by {group.id}: nothing to replay.")
    else:
        first = f", {min(canaries, len(chosen)):,} of them first" if canaries else ""
        took = duration(len(chosen) / rate)
        context.say(f"Would replay {count(len(chosen), 'task')}{first}, in about {took}: {one_line(group.title)}")


def _print_outcome(context: CliContext, replay: Replay, *, is_json: bool) -> None:
    if is_json:
        answer = {
            "replay": replay.id,
            "failure_group": replay.group.id,
            "outcome": replay.outcome,
            "replayed": replay.replayed,
            "not_replayed": len(replay.chosen) - len(replay.replayed),
            "not_well": replay.not_well,
        }
        context.print_json(answer)
        return
    context.say(f"replayed: {count(len(replay.replayed), 'task')}", "green")
    if replay.outcome != DONE:
        context.say(
            f"stopped: {replay.outcome}: {len(replay.chosen) - len(replay.replayed):,} were not replayed", "yellow"
        )
    elif len(replay.replayed) < len(replay.chosen):
        left = len(replay.chosen) - len(replay.replayed)
        context.say(f"not replayed: {left:,}: changed by somebody else in the meantime", "yellow")
    for task in replay.not_well[:5]:
        context.say(f"  {one_line(task.task_id)} {task.state}{' again, to be retried' if task.is_trying else ''}")
    context.say(f"see how they end: {command('failures progress', replay.id)}", "dim")
    context.say(f"take back tasks that no worker has yet: {command('failures undo', replay.id)}", "dim")

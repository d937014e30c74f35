"""``mirepoix failures replay`` and ``undo``: run again what failed, a few first, at a pace; take it back."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import click

from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError, NotAllDone
from mirepoix.cli.failures import count_now, the_group
from mirepoix.cli.hints import command
from mirepoix.cli.options import Duration, json_option
from mirepoix.ledger import operate
from mirepoix.ledger import replay as ledger_replay
from mirepoix.ledger.query.failures import Group
from mirepoix.ledger.replay import Chosen, Replayed
from mirepoix.operations.batches import BATCH, deciding
from mirepoix.operations.decisions import decided_by
from mirepoix.operations.format import HANDED, count, duration, one_line
from mirepoix.states import State

PROGRESS_S = 5.0
"""How often it says how far it has come."""

LOOK_S = 0.5
"""How often it looks whether the first ones have ended."""

BATCHES_A_SECOND = 10
"""A faster replay has larger batches, each one transaction."""

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Rate(click.ParamType):  # type: ignore[type-arg]  # not generic in older click
    """``50/s``, ``100/m``, ``1000/h``: tasks in a time."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it, as tasks a second; a usage error names the forms."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/([smh]))?", value)
        if found is None or not float(found[1]):
            self.fail(f"{value!r} is no rate. Write 50/s, 100/m or 1000/h.", param, ctx)
        return float(found[1]) / _SECONDS[found[2] or "s"]


@dataclass(slots=True)
class Run:
    """One replay under way. ``outcome`` says in the end how it went."""

    id: str
    group: Group
    chosen: list[Chosen]
    reason: str
    rate_per_s: float
    by: str
    replayed: list[str] = field(default_factory=list)
    not_well: list[Replayed] = field(default_factory=list)
    outcome: str = "interrupted"
    due_at: float = 0.0
    says: bool = False
    next_word_at: float = 0.0
    is_stopped: bool = False
    """Ctrl-C was pressed: what is under way is committed, and nothing more is begun."""


@click.command()
@click.argument("group_id", metavar="ID")
@click.option(
    "--canary", "canaries", type=click.IntRange(min=0), default=0, help="Run so many first, wait how they end."
)
@click.option("--rate", type=Rate(), default="50/s", show_default=True, help="At most so many: 50/s, 100/m, 1000/h.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many tasks, the oldest failures first.")
@click.option(
    "--wait", type=Duration(), default="10m", show_default=True, help="How long the first ones may take to end."
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Only say what would be done.")
@click.option("--by", help="Who decides; otherwise your user name and host.")
@click.option("--reason", help="Why, to be kept in the ledger.")
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
    """Run again all that failed for good by one cause, the oldest first.

    retry: tasks that failed, by id or filters. requeue: those also that are quarantined, parked, cancelled or expired.
    failures replay: all of one cause, a few first and at a pace, and it can be undone.

    With --canary the rest is run only if all of the first ones succeed. Ctrl-C stops it: what is waiting then runs,
    unless it is undone. A task that fails again meanwhile is not run twice.
    """
    count_now(context)
    with context.reading() as tx:
        group = the_group(tx, group_id)
        chosen = ledger_replay.choose(tx, group.id, limit)
    if is_dry or not chosen:
        _tell_dry(context, group, chosen, canaries, rate, is_json=is_json)
        return
    why = one_line(reason) or f"replayed: {group.id}"
    with deciding(context.ready()) as tx:
        replay_id = ledger_replay.begin(
            tx, group.id, decided_by(by), why, tasks=len(chosen), canaries=min(canaries, len(chosen)), rate_per_s=rate
        )
    run = Run(replay_id, group, chosen, why, rate, decided_by(by))
    if not is_json:
        click.echo(f"replay {replay_id} of {count(len(chosen), 'task')}: {one_line(group.title)}", err=True)
    run.says = not is_json
    with _stopped_by_ctrl_c(run):
        _carry_out(context, run, canaries, wait.total_seconds(), say=not is_json)
    with deciding(context.ready()) as tx:
        ledger_replay.end(tx, replay_id, run.outcome)
    _tell(context, run, is_json=is_json)
    if run.outcome != "done":
        raise NotAllDone


@click.command()
@click.argument("replay_id", metavar="REPLAY")
@json_option
@pass_context
def progress(context: CliContext, replay_id: str, is_json: bool) -> None:
    """Tell how far a replay has come, and how its tasks ended.

    While it runs and after it: how many wait, run, succeeded, failed again, and were taken back.
    """
    with context.reading() as tx:
        seen = ledger_replay.progress(tx, replay_id)
    if not seen:
        raise CliError(f"There is no replay {one_line(replay_id)!r}, or nothing of it is left. See: failures show ID")
    numbers = Counter(_became(one) for one in seen)
    if is_json:
        context.print_json({"replay": replay_id, "tasks": len(seen), "became": dict(numbers), "of_each": seen})
        return
    context.say(f"{count(len(seen), 'task')}: " + ", ".join(f"{n:,} {words}" for words, n in numbers.most_common()))
    for one in [one for one in seen if _became(one) in FAILED_AGAIN][:5]:
        context.say(f"  {one_line(one.task_id)} {_became(one)}")


def _became(one: Replayed) -> str:
    if one.is_undone:
        return "taken back"
    if one.is_trying:
        return "failed again, to be retried"
    if one.state in (State.FAILED, State.QUARANTINED):
        return f"{one.state} again"
    return {State.PENDING: "waiting", State.LEASED: HANDED}.get(one.state, one.state.value)


FAILED_AGAIN = ("failed again, to be retried", "failed again", "quarantined again")


@click.command()
@click.argument("replay_id", metavar="REPLAY")
@json_option
@pass_context
def undo(context: CliContext, replay_id: str, is_json: bool) -> None:
    """Take back what a replay ran again and was not handed to a worker.

    Each task is then what it was: failed or quarantined, with its reason, history and result.
    """
    with context.reading() as tx:
        if not ledger_replay.progress(tx, replay_id):
            raise CliError(
                f"There is no replay {one_line(replay_id)!r}, or nothing of it is left. See: failures show ID"
            )
    taken_back: list[str] = []
    try:
        while True:
            with deciding(context.ready()) as tx:
                batch = ledger_replay.take_back(tx, replay_id, BATCH)
                operate.note(tx, batch, "undo", decided_by(None), f"taken back: replay {replay_id}")
            taken_back += batch
            if len(batch) < BATCH:
                break
    finally:
        with context.reading() as tx:
            left = [one for one in ledger_replay.progress(tx, replay_id) if not one.is_undone]
        if is_json:
            context.print_json(
                {"replay": replay_id, "taken_back": taken_back, "started": [one.task_id for one in left]}
            )
        else:
            context.say(f"taken back: {count(len(taken_back), 'task')}", "green")
            if left:
                context.say(f"not taken back: {count(len(left), 'task')}: a worker has, or had, them", "yellow")


def _carry_out(context: CliContext, run: Run, canaries: int, wait_s: float, *, say: bool) -> None:
    run.due_at = time.monotonic()
    first, rest = run.chosen[:canaries], run.chosen[canaries:]
    if first:
        _run_again(context, run, first)
        if say:
            click.echo(f"{count(len(run.replayed), 'task')} replayed first; waiting how they end", err=True)
        if not _ended_well(context, run, wait_s):
            return
        run.due_at = time.monotonic()
    _run_again(context, run, rest)
    if not run.is_stopped:
        run.outcome = "done"


def _run_again(context: CliContext, run: Run, chosen: Sequence[Chosen]) -> None:
    """Batch by batch, none before its time."""
    size = max(1, min(BATCH, int(run.rate_per_s / BATCHES_A_SECOND)))
    for start in range(0, len(chosen), size):
        _sleep_until(run, run.due_at)
        if run.is_stopped:
            return
        batch = chosen[start : start + size]
        # From now, not from when it was due: what was late is not made up for by a burst.
        run.due_at = time.monotonic() + len(batch) / run.rate_per_s
        with deciding(context.ready()) as tx:
            done = ledger_replay.run_again(tx, run.id, batch, run.reason, run.by)
        run.replayed += done
        _say_progress(run)


def _say_progress(run: Run) -> None:
    """Once every few seconds: a replay of an hour is not silent."""
    now = time.monotonic()
    if run.says and now >= run.next_word_at:
        if run.next_word_at:
            click.echo(f"{len(run.replayed):,} of {count(len(run.chosen), 'task')} replayed", err=True)
        run.next_word_at = now + PROGRESS_S


def _ended_well(context: CliContext, run: Run, wait_s: float) -> bool:
    """Wait for what was replayed so far; whether all of it succeeded. Otherwise the outcome says why."""
    deadline = time.monotonic() + wait_s
    while not run.is_stopped:
        with context.reading() as tx:
            seen = ledger_replay.progress(tx, run.id)
        run.not_well = [one for one in seen if one.is_over and one.state is not State.SUCCEEDED]
        if run.not_well:
            run.outcome = "a canary failed"
            return False
        if all(one.is_over for one in seen):
            return True
        if time.monotonic() > deadline:
            run.not_well = [one for one in seen if not one.is_over]
            run.outcome = f"a canary did not end within {duration(wait_s)}"
            return False
        _sleep_until(run, time.monotonic() + LOOK_S)
    return False


def _sleep_until(run: Run, moment: float) -> None:
    while not run.is_stopped and (pause_s := moment - time.monotonic()) > 0:
        time.sleep(min(pause_s, 0.1))


@contextmanager
def _stopped_by_ctrl_c(run: Run) -> Iterator[None]:
    """Ctrl-C ends the replay between two transactions: interrupted within one, a connection is of no more use."""

    def stop(_number: int, _frame: object) -> None:
        run.is_stopped = True

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _tell_dry(
    context: CliContext, group: Group, chosen: Sequence[Chosen], canaries: int, rate: float, *, is_json: bool
) -> None:
    if is_json:
        context.print_json({"failure_group": group.id, "would_replay": [one.task_id for one in chosen]})
    elif not chosen:
        context.say(f"No task failed for good by {group.id}: nothing to replay.")
    else:
        first = f", {min(canaries, len(chosen)):,} of them first" if canaries else ""
        took = duration(len(chosen) / rate)
        context.say(f"Would replay {count(len(chosen), 'task')}{first}, in about {took}: {one_line(group.title)}")


def _tell(context: CliContext, run: Run, *, is_json: bool) -> None:
    if is_json:
        told = {
            "replay": run.id,
            "failure_group": run.group.id,
            "outcome": run.outcome,
            "replayed": run.replayed,
            "not_replayed": len(run.chosen) - len(run.replayed),
            "not_well": run.not_well,
        }
        context.print_json(told)
        return
    context.say(f"replayed: {count(len(run.replayed), 'task')}", "green")
    if run.outcome != "done":
        context.say(f"stopped: {run.outcome}: {len(run.chosen) - len(run.replayed):,} were not touched", "yellow")
    elif len(run.replayed) < len(run.chosen):
        context.say(f"not replayed: {len(run.chosen) - len(run.replayed):,}: somebody was faster", "yellow")
    for one in run.not_well[:5]:
        context.say(f"  {one_line(one.task_id)} {one.state}{' again, to be retried' if one.is_trying else ''}")
    context.say(f"see how they end: {command('failures progress', run.id)}", "dim")
    context.say(f"take back what was not handed to a worker: {command('failures undo', run.id)}", "dim")

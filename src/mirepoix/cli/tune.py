"""``mirepoix tune``: say what to change, from what the ledger recorded, and what each change would do."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from mirepoix.cli.columns import WHOLE, Column
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError
from mirepoix.cli.options import Duration, json_option
from mirepoix.ledger.query.recorded import recorded
from mirepoix.operations.filter_words import duration_of
from mirepoix.operations.format import count, duration, one_line
from mirepoix.tuning.advise import QueueStudy, Study, study
from mirepoix.tuning.plot import rows, svg
from mirepoix.tuning.workload import Waits, wait_words

CAP = 20_000
"""The most tasks that are read without --limit."""

PREFETCH = 1
"""The prefetch multiplier that Mirepoix sets for its workers, unless the app sets another."""


NUMBER = re.compile(r"\d+(\.\d+)?")


class Objective(click.ParamType):  # type: ignore[type-arg]  # not generic in older click
    """``payments=5s``, or ``5s`` for every queue. A number alone is seconds: ``0.5``."""

    name = "objective"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """Return the queue, or ``*``, and the seconds."""
        if isinstance(value, tuple):
            return value
        queue, equals, text = value.rpartition("=")
        try:
            seconds = float(text) if NUMBER.fullmatch(text) else duration_of(text).total_seconds()
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds <= 0 or (equals and not queue):
            self.fail(f"{value!r} is no objective. Write QUEUE=5s, or 5s for every queue.", param, ctx)
        return queue or "*", seconds


@click.command()
@click.option("--since", type=Duration(), default="24h", show_default=True, help="The period: tasks that ended since.")
@click.option(
    "--objective",
    "objectives",
    type=Objective(),
    multiple=True,
    metavar="[QUEUE=]DURATION",
    help="How long 95 of 100 tasks may wait at most. The default is the app's queue_objectives_s.",
)
@click.option(
    "--prefetch",
    type=click.IntRange(min=0),
    help="The prefetch multiplier of the recorded workers. The default is the app's, or else 1.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=CAP,
    show_default=True,
    help="Read only so many tasks, the newest.",
)
@click.option("--plot", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="Write an SVG file.")
@json_option
@pass_context
def tune(
    context: CliContext,
    since: timedelta,
    objectives: tuple[tuple[str, float], ...],
    prefetch: int | None,
    limit: int,
    plot: Path | None,
    is_json: bool,
) -> None:
    """Say what to change in workers and queues.

    It reads when tasks were ready, when they began, how long they ran and how much memory they used. A simulation with
    these tasks predicts the waiting times after each change. Nothing is changed.
    """
    with context.reading() as tx:
        found = recorded(tx, since.total_seconds(), limit)
    multiplier = _prefetch(context) if prefetch is None else prefetch
    made = study(found, {**_objectives(context), **dict(objectives)}, multiplier)
    if plot is not None:
        try:
            plot.write_text(svg(made), "utf-8")
        except OSError as error:
            raise CliError(f"The plot cannot be written: {error}.") from error
    if is_json:
        context.print_json(_as_object(made))
    else:
        _print(context, made)


def _objectives(context: CliContext) -> dict[str, float]:
    return {} if context.app is None else dict(context.installation.settings.queue_objectives_s or {})


def _prefetch(context: CliContext) -> int:
    return PREFETCH if context.app is None else int(context.app.conf.worker_prefetch_multiplier)


def _print(context: CliContext, made: Study) -> None:
    if not made.tasks:
        context.say("Not enough data: no task that ran was recorded in this period. --since 7d looks further back.")
        return
    capped = ". There were more; --limit reads more" if made.is_capped else ""
    head = f"{count(made.tasks, 'task')} in {duration(made.period_s)}, prefetch multiplier {made.prefetch}{capped}"
    context.say(head, "dim")
    for one in made.queues:
        context.say("")
        context.say(_title(one))
        context.list(_COLUMNS, [_cells(words, waits, one) for words, waits in rows(one)])
        if not one.is_fitting:
            context.say("The simulation of today does not fit the record: its predictions are no advice.", "yellow")
    for advice in made.advice:
        context.say("")
        context.say(Text.assemble((one_line(advice.subject), "bold"), ("  " + advice.evidence, "dim")))
        context.say("  " + one_line(advice.sentence))
        if advice.setting:
            context.say("  " + one_line(advice.setting), "green")
    if made.not_enough:
        context.say("")
        context.say("Not enough data", "bold")
        context.say_all((Text(one_line(words)) for words in made.not_enough), indent=2)
    if waiting := sum(made.waiting.values()):
        context.say("")
        context.say(f"{count(waiting, 'task')} wait now. They have not run, so they are not in the record.", "yellow")


def _title(one: QueueStudy) -> Text:
    busy = f"  keeps {one.load:.2g} of {one.slots} processes or threads busy"
    return Text.assemble(("queue " + one_line(one.queue), "bold"), (busy, "dim"))


_COLUMNS = (
    Column("change", 20),
    *(Column(heading, is_right=True) for heading in ("p50", "p95", "p99")),
    Column("tasks", WHOLE, is_right=True),
)


def _cells(words: str, waits: Waits, one: QueueStudy) -> list[Text | str]:
    objective_s = one.objective_s
    style = "" if objective_s is None else "green" if waits.p95_s <= objective_s else "red"
    return [
        one_line(words) if not words.startswith(" ") else "  " + one_line(words),
        wait_words(waits.p50_s),
        Text(wait_words(waits.p95_s), style=style),
        wait_words(waits.p99_s),
        f"{waits.tasks:,}",
    ]


def _finite(waits: Waits) -> dict[str, float | None]:
    """Return the percentiles, with null for tasks that never start: JSON has no infinity."""
    return {name: None if value == math.inf else value for name, value in asdict(waits).items()}


def _as_object(made: Study) -> dict[str, Any]:
    """Return the study without the simulated workers and tasks."""
    return {
        "period_s": made.period_s,
        "tasks": made.tasks,
        "is_capped": made.is_capped,
        "prefetch": made.prefetch,
        "waiting": made.waiting,
        "workers": made.kinds,
        "queues": [
            {
                "queue": one.queue,
                "objective_s": one.objective_s,
                "load": one.load,
                "slots": one.slots,
                "recorded": _finite(one.recorded),
                "simulated": _finite(one.simulated),
                "is_fitting": one.is_fitting,
                "changes": [
                    {
                        "verb": outcome.change.verb,
                        "words": outcome.change.words,
                        "value": outcome.change.value,
                        "long_tasks": outcome.change.long_names,
                        "waits": _finite(outcome.waits),
                        "parts": {queue: _finite(waits) for queue, waits in outcome.parts},
                    }
                    for outcome in one.outcomes
                ],
            }
            for one in made.queues
        ],
        "advice": made.advice,
        "not_enough": made.not_enough,
    }

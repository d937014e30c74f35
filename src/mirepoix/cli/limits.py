"""``mirepoix limits``: list the limits of tasks, and change them without a deploy."""

from __future__ import annotations

import click

from mirepoix.celery.limits import bounds_of
from mirepoix.cli.columns import Column
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError
from mirepoix.cli.hints import command
from mirepoix.cli.options import json_option
from mirepoix.ledger import limits as ledger
from mirepoix.ledger.limits import Bounds, Limit
from mirepoix.operations import limits as change
from mirepoix.operations.decisions import decided_by
from mirepoix.operations.format import one_line
from mirepoix.operations.limits import LimitLine, lines, words

by_option = click.option("--by", help="Who. It is stored in the ledger.  [default: user@host]")


@click.group(invoke_without_command=True)
@click.pass_context
def limits(ctx: click.Context) -> None:
    """See and change how many tasks run at once.

    A limit counts for each of its keys the tasks that are with workers, or that are taken in a period. Workers follow a
    change within a second. What is set here stays in force until it is reset.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_limits, is_json=False)


@limits.command("list")
@json_option
@pass_context
def list_limits(context: CliContext, is_json: bool) -> None:
    """List the limits, and where they differ from the code."""
    with context.reading() as tx:
        found = lines(tx)
    if is_json:
        context.print_json({"limits": found})
        return
    if not found:
        click.echo("There is no limit.", err=True)
        return
    context.list(_COLUMNS, map(_cells, found))
    for line in found:
        if line.drift:
            context.say(f"{one_line(line.name)}: {line.drift}", "yellow")


@limits.command("set")
@click.argument("name")
@click.option("--running", metavar="N", help="How many tasks of a key run at once; 0: none; any: no limit.")
@click.option("--rate", metavar="RATE", help="How many tasks of a key are taken in a period: 100/m; any: no limit.")
@by_option
@pass_context
def set_limit(context: CliContext, name: str, running: str | None, rate: str | None, by: str | None) -> None:
    """Change the limit NAME. What is not given stays as it is."""
    if running is None and rate is None:
        raise click.UsageError("Give --running, --rate or both.")
    found = _find(context, name)
    bounds = bounds_of(found.bounds, running, rate)
    change.put(context.ready(), found, bounds, decided_by(by))
    context.say(f"{one_line(name)}: {words(found.bounds)} -> {words(bounds)}")


@limits.command()
@click.argument("name")
@by_option
@pass_context
def reset(context: CliContext, name: str, by: str | None) -> None:
    """Let the values of the code count again for the limit NAME. Remove it if the code never had it."""
    found = _find(context, name)
    is_there = change.reset(context.ready(), found, decided_by(by))
    context.say(f"{one_line(name)}: {words(found.code)}" if is_there and found.code else f"{one_line(name)} is removed")


@limits.command()
@click.argument("name")
@by_option
@pass_context
def remove(context: CliContext, name: str, by: str | None) -> None:
    """Remove the limit NAME, which the code does not have any more. Tasks that wait at it wait no longer.

    A worker that starts with code that has the limit records it again.
    """
    _find(context, name)
    change.remove(context.ready(), name, decided_by(by))
    context.say(f"{one_line(name)} is removed")


_COLUMNS = (
    Column("LIMIT", 12, 2, is_cut_in_front=True),
    Column("FOR EACH KEY"),
    Column("SET BY", 6, 1),
)


def _cells(line: LimitLine) -> tuple[str, ...]:
    by = "code" if line.source == ledger.CODE else one_line(line.changed_by)
    return (one_line(line.name), words(Bounds(line.running, line.rate, line.period_s)), by)


def _find(context: CliContext, name: str) -> Limit:
    with context.reading() as tx:
        found = ledger.read(tx).get(name)
    if found is None:
        raise CliError(f"There is no limit {name!r}: {command('limits', 'list')}")
    return found

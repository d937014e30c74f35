"""``mirepoix parked``: what no running code can take, call by call, and what would help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click
from rich.text import Text

from mirepoix.celery.task_catalog import Incompatibility, TaskCatalog
from mirepoix.cli.call_format import LACKING
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.hints import command
from mirepoix.cli.options import json_option
from mirepoix.ledger.query.parked import Parked, ParkedCall
from mirepoix.ledger.query.parked import parked as read_parked
from mirepoix.operations.format import count, duration, one_line
from mirepoix.records import IncompatibilityKind

SHOWN = 20
"""Calls beyond this many are counted, not listed, unless --all is given."""


@click.command()
@click.option("--all", "is_all", is_flag=True, help="List every call.")
@json_option
@pass_context
def parked(context: CliContext, is_all: bool, is_json: bool) -> None:
    """Show what no running code can take.

    Call by call and reason by reason, without the arguments' values. With an app named it tells of each whether
    the code here could take it. The exit code is 0 whatever it shows.
    """
    catalog = context.catalog
    with context.reading() as tx:
        found = read_parked(tx)
    incompatibilities = (
        {one.call: catalog.incompatibility(one.call) for one in found.calls} if catalog is not None else {}
    )
    if is_json:
        calls = [_as_object(one, catalog, incompatibilities.get(one.call)) for one in found.calls]
        context.print_json({"count": found.count, "calls": calls})
        return
    if not found.count:
        context.say("Nothing is parked.", "green")
        return
    context.say(f"{count(found.count, 'task')} parked", "bold yellow")
    shown = found.calls if is_all else found.calls[:SHOWN]
    for one in shown:
        context.say("")
        context.say(_head(one))
        context.facts(_facts(one, catalog, incompatibilities.get(one.call)), indent=2)
    _more(context, found, shown)
    context.say("")
    _next_steps(context, found)


def _as_object(one: ParkedCall, catalog: TaskCatalog | None, incompatibility: Incompatibility | None) -> dict[str, Any]:
    shape = one.call.shape
    return {
        "call": str(one.call),
        "task": one.call.task,
        "version": one.call.version,
        "positional": None if shape is None else shape.positional,
        "keywords": None if shape is None else shape.keywords,
        "parked_for": one.lacking,
        "reason": one.reason,
        "count": one.count,
        "oldest_s": one.oldest_s,
        "newest_s": one.newest_s,
        "example_id": one.example_id,
        "queues": one.queues,
        "code_can_take": None if catalog is None else incompatibility is None,
        "code_lacks": None if incompatibility is None else incompatibility.reason,
    }


def _head(one: ParkedCall) -> Text:
    text = Text(one_line(str(one.call)), style="bold")
    return text.append(f"  {count(one.count, 'task')}, oldest {duration(one.oldest_s)}", style="not bold")


def _facts(
    one: ParkedCall, catalog: TaskCatalog | None, incompatibility: Incompatibility | None
) -> Iterator[tuple[str, str | Text]]:
    yield "why", one_line(one.reason)
    yield "lacks", LACKING[one.lacking]
    yield "queue", one_line(", ".join(one.queues))
    yield "e.g.", one_line(one.example_id)
    if catalog is not None:
        yield "this code", _verdict(one, incompatibility)


def _verdict(one: ParkedCall, incompatibility: Incompatibility | None) -> Text:
    if incompatibility is not None:
        return Text(f"cannot take it either: {one_line(incompatibility.reason)}", style="yellow")
    if one.lacking is None:
        return Text("may take it once it is edited or requeued; not by itself", style="yellow")
    if one.lacking is IncompatibilityKind.UPCAST:
        return Text("has upcasters for it: its workers try them when they start", style="green")
    return Text("could: it will be taken up by its workers", style="green")


def _more(context: CliContext, found: Parked, shown: Sequence[ParkedCall]) -> None:
    told = sum(one.count for one in shown)
    if told < found.count:
        left = len(found.calls) - len(shown)
        calls = f" of {count(left, 'call')}" if left else ""
        context.say(f"\n… and {count(found.count - told, 'task')} more{calls} (--all)", "dim")


def _next_steps(context: CliContext, found: Parked) -> None:
    words = ("arguments", "an upcaster"), ("task", "an alias"), ("version", "an upcaster, or newer code")
    lacking = {one.lacking for one in found.calls}
    if lacking - {None}:
        helps = dict.fromkeys(help for what, help in words if IncompatibilityKind(what) in lacking)
        hint = ", ".join([*helps, "the old code again"])
        context.say(f"Deploy code that takes them ({hint}): its workers take them up by themselves.", "dim")
    context.say("Or decide, by id or by filters (--state parked --name …):", "dim")
    for verb, what in (
        ("edit", "change what they call, with --requeue to run them"),
        ("requeue", "try them again as they are"),
        ("discard", "they need not run"),
    ):
        context.say(f"  {command(verb):<8}  {what}", "dim")

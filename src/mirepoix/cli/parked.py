"""``mirepoix parked``: list the calls that no running code can take, and what would help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click
from rich.text import Text

from mirepoix.celery.task_catalog import Incompatibility, TaskCatalog
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.hints import command
from mirepoix.cli.options import json_option
from mirepoix.ledger.query.parked import Parked, ParkedCall
from mirepoix.ledger.query.parked import parked as read_parked
from mirepoix.operations.format import count, duration, one_line
from mirepoix.records import IncompatibilityKind
from mirepoix.signatures.lacking import LACKING

SHOWN = 20
"""The most calls that are listed without --all. The others are counted."""


@click.command()
@click.option("--all", "is_all", is_flag=True, help="List every call.")
@json_option
@pass_context
def parked(context: CliContext, is_all: bool, is_json: bool) -> None:
    """Show the tasks that no running code can take.

    It prints each call once for each reason, without the arguments' values. With an app it also says whether the
    app's code could take the call. The exit code is 0 even if tasks are parked.
    """
    catalog = context.catalog
    with context.reading() as tx:
        found = read_parked(tx)
    incompatibilities = (
        {parked_call.call: catalog.incompatibility(parked_call.call) for parked_call in found.calls}
        if catalog is not None
        else {}
    )
    if is_json:
        calls = [
            _as_object(parked_call, catalog, incompatibilities.get(parked_call.call)) for parked_call in found.calls
        ]
        context.print_json({"count": found.count, "calls": calls})
        return
    if not found.count:
        context.say("Nothing is parked.", "green")
        return
    context.say(f"{count(found.count, 'task')} parked", "bold yellow")
    shown = found.calls if is_all else found.calls[:SHOWN]
    for parked_call in shown:
        context.say("")
        context.say(_head(parked_call))
        context.facts(_facts(parked_call, catalog, incompatibilities.get(parked_call.call)), indent=2)
    _more(context, found, shown)
    context.say("")
    _next_steps(context, found)


def _as_object(
    parked_call: ParkedCall, catalog: TaskCatalog | None, incompatibility: Incompatibility | None
) -> dict[str, Any]:
    shape = parked_call.call.shape
    return {
        "call": str(parked_call.call),
        "task": parked_call.call.task,
        "version": parked_call.call.version,
        "positional": None if shape is None else shape.positional,
        "keywords": None if shape is None else shape.keywords,
        "parked_for": parked_call.lacking,
        "reason": parked_call.reason,
        "count": parked_call.count,
        "oldest_s": parked_call.oldest_s,
        "newest_s": parked_call.newest_s,
        "example_id": parked_call.example_id,
        "queues": parked_call.queues,
        "code_can_take": None if catalog is None else incompatibility is None,
        "code_lacks": None if incompatibility is None else incompatibility.reason,
    }


def _head(parked_call: ParkedCall) -> Text:
    text = Text(one_line(str(parked_call.call)), style="bold")
    return text.append(
        f"  {count(parked_call.count, 'task')}, oldest {duration(parked_call.oldest_s)}", style="not bold"
    )


def _facts(
    parked_call: ParkedCall, catalog: TaskCatalog | None, incompatibility: Incompatibility | None
) -> Iterator[tuple[str, str | Text]]:
    yield "why", one_line(parked_call.reason)
    yield "lacks", LACKING[parked_call.lacking]
    yield "queue", one_line(", ".join(parked_call.queues))
    yield "e.g.", one_line(parked_call.example_id)
    if catalog is not None:
        yield "this code", _verdict(parked_call, incompatibility)


def _verdict(parked_call: ParkedCall, incompatibility: Incompatibility | None) -> Text:
    if incompatibility is not None:
        return Text(f"cannot take it either: {one_line(incompatibility.reason)}", style="yellow")
    if parked_call.lacking is None:
        return Text("may take it after you edit or requeue it; its workers will not resume it", style="yellow")
    if parked_call.lacking is IncompatibilityKind.UPCAST:
        return Text("has upcasters for it: its workers try them when they start", style="green")
    return Text("can take it: its workers will resume the task", style="green")


def _more(context: CliContext, found: Parked, shown: Sequence[ParkedCall]) -> None:
    listed = sum(parked_call.count for parked_call in shown)
    if listed < found.count:
        left = len(found.calls) - len(shown)
        calls = f" of {count(left, 'call')}" if left else ""
        context.say(f"\n… and {count(found.count - listed, 'task')} more{calls} (--all)", "dim")


def _next_steps(context: CliContext, found: Parked) -> None:
    words = ("arguments", "an upcaster"), ("task", "an alias"), ("version", "an upcaster, or newer code")
    lacking = {parked_call.lacking for parked_call in found.calls}
    if lacking - {None}:
        helps = dict.fromkeys(help for what, help in words if IncompatibilityKind(what) in lacking)
        hint = ", ".join([*helps, "the old code again"])
        context.say(f"Deploy code that can take them ({hint}): its workers resume them.", "dim")
    context.say("Or decide, by id or by filters (--state parked --name …):", "dim")
    for verb, what in (
        ("edit", "change what they call; with --requeue also run them"),
        ("requeue", "try them again as they are"),
        ("discard", "cancel them"),
    ):
        context.say(f"  {command(verb):<8}  {what}", "dim")

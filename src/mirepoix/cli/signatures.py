"""``mirepoix signatures``: lock what tasks take, and tell what a change of it does to the payloads that wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import click
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mirepoix.celery.installation import installation_of
from mirepoix.celery.preflight import Judged, judge
from mirepoix.celery.signatures import signatures_of
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError, NotAllDone
from mirepoix.cli.hints import command
from mirepoix.cli.options import json_option
from mirepoix.errors import ConfigurationError, NewerLockFormat
from mirepoix.operations.format import count, one_line, when
from mirepoix.signatures.compare import Change, compare_all
from mirepoix.signatures.compatibility import Verdict, worst
from mirepoix.signatures.lock import FILE_NAME, read_lock, write_lock
from mirepoix.signatures.signature import Signature

NEEDS_APP = "This needs the app: celery -A YOUR_APP mirepoix signatures …, or mirepoix --app YOUR_APP signatures …."
NO_TASKS = (
    "The app has no tasks of its own. Does it import their modules (imports, include, autodiscover_tasks), as a worker "
    "does?"
)

_STYLES = {Verdict.SAFE: "green", Verdict.PARKS: "bold yellow", Verdict.WRONG: "bold red"}
_INDENTED, _INDENTED_TWICE = (0, 0, 0, 2), (0, 0, 0, 4)

file_option = click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=FILE_NAME,
    show_default=True,
    help="The lock file.",
)


@click.group()
def signatures() -> None:
    """Keep changes of tasks from harming what waits.

    The lock file holds what each task takes. Commit it: a change of a task is a change of this file, which people
    review, with the verdict of check beside it.
    """


@signatures.command()
@file_option
@pass_context
def lock(context: CliContext, path: Path) -> None:
    """Write down what the app's tasks take, and print what changed.

    The file is not touched if nothing did.
    """
    current = _current(context)
    try:
        locked = _read(path)
    except NewerLockFormat:
        raise
    except ConfigurationError as error:
        click.echo(f"mirepoix: {one_line(str(error))} It is written anew.", err=True)
        locked = None
    if locked == current:
        context.say(f"{path} is up to date: {count(len(current), 'task')}.")
        return
    if locked is not None:
        _print(context, compare_all(locked, current))
    _write(path, write_lock(current.values()))
    context.say(f"{count(len(current), 'task')} written to {path}. Commit it.")


@signatures.command()
@file_option
@click.option(
    "--allow-outdated", is_flag=True, help="Fail for no change that is safe, e.g. with the lock of the last release."
)
@click.option("--both-ways", is_flag=True, help="Fail, too, if old workers park new payloads while a deploy rolls.")
@click.option("--ledger", "url", metavar="URL", help="Bind the payloads in that ledger to the code, instead.")
@click.option("--waiting", is_flag=True, help="The same with the app's own ledger.")
@json_option
@pass_context
def check(
    context: CliContext,
    path: Path,
    allow_outdated: bool,
    both_ways: bool,
    url: str | None,
    waiting: bool,
    is_json: bool,
) -> None:
    """Tell what the changes since the lock do to payloads.

    Each change is judged in both directions: what the old code wrote and the new code runs, and, while a deploy rolls,
    what the new code writes and old workers take. Such a payload is safe; or it parks, running nothing, until code that
    takes it arrives; or it runs wrongly, with a value in another parameter.

    The exit code is 0 if code and lock are the same, otherwise 1. With --allow-outdated it is 1 only if a payload runs
    wrongly or new code parks an old one. It is 2 if it could not be told.

    With --ledger or --waiting, the last check before a release, the code is not compared with the lock but with
    every payload in the ledger that waits, is due later, runs, failed, is quarantined or parked, with all that it will
    send in turn. It prints what the code would park; the exit code is 0 if that is nothing, or is parked already.
    """
    current = _current(context)
    if url is not None or waiting:
        if not _preflight(context, url, is_json=is_json):
            raise NotAllDone
        return
    locked = _read(path)
    if locked is None:
        raise CliError(f"There is no lock file {str(path)!r}. Write it with: mirepoix signatures lock")
    changes = compare_all(locked, current)
    is_outdated = locked != current
    is_harmful = any(not one.is_safe_after_deploy or (both_ways and one.verdict is not Verdict.SAFE) for one in changes)
    if is_json:
        context.print_json(_as_object(path, locked, changes, is_outdated=is_outdated))
    else:
        _print(context, changes)
        _print_verdict(context, path, locked, changes, is_outdated=is_outdated)
    if is_harmful or (is_outdated and not allow_outdated):
        raise NotAllDone


def _preflight(context: CliContext, url: str | None, *, is_json: bool) -> bool:
    """Judge what is in the ledger; whether the release may go out."""
    catalog = installation_of(context.app).catalog
    ledger = context.at(url) if url is not None else context
    try:
        with ledger.reading() as tx:
            judged = judge(tx, catalog)
        label = ledger.source.label
    finally:
        if ledger is not context:
            ledger.close()
    if is_json:
        context.print_json(_gate_object(label, judged))
    else:
        _print_preflight(context, label, judged)
    return judged.is_open


def _gate_object(label: str, judged: Judged) -> dict[str, object]:
    found = [
        {
            "task": one.call.task,
            "version": one.call.version,
            "call": str(one.call),
            "lacking": one.lacking,
            "reason": one.reason,
            "is_carried": one.is_carried,
            "count": one.count,
            "states": dict(one.counts),
            "oldest": one.oldest,
            "example": one.example,
        }
        for one in judged.found
    ]
    return {
        "ledger": label,
        "payloads": judged.payloads,
        "kinds": judged.kinds,
        "would_park": judged.would_park,
        "resumed": judged.resumed,
        "unjudged": dict(judged.unjudged),
        "is_open": judged.is_open,
        "found": found,
    }


def _print_preflight(context: CliContext, label: str, judged: Judged) -> None:
    for one in judged.found:
        carried = "  carried by others, which send it later" if one.is_carried else ""
        context.print(Text.assemble((one_line(str(one.call)), "bold"), (carried, "dim")))
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        table.add_row("would park", Text(one_line(one.reason), "bold yellow" if one.is_new else "yellow"))
        states = ", ".join(f"{number:,} {state}" for state, number in one.counts.most_common())
        table.add_row("payloads", states)
        table.add_row("oldest", f"{when(one.oldest)}  {one_line(one.example)}")
        context.print(Padding(table, _INDENTED))
        context.say("")
    for content_type, number in judged.unjudged.most_common():
        of_type = f"{count(number, 'payload')} of {one_line(content_type)}"
        context.say(f"{of_type}: only the task and its version were looked at.", "yellow")
    told = f"{count(judged.payloads, 'payload')} in {label}"
    if judged.resumed:
        context.say(f"{count(judged.resumed, 'payload')} that other code parked will be resumed.", "green")
    if judged.is_open:
        already = ", but for what is parked already" if judged.found else ""
        context.say(f"{told}: this code takes all of them{already}.", "green")
    else:
        context.say(f"{told}: this code would park {judged.would_park:,} of them.", "bold red")


def _current(context: CliContext) -> dict[str, Signature]:
    """The signatures of the code."""
    if context.app is None:
        raise CliError(NEEDS_APP)
    try:
        found = signatures_of(context.app)
    except Exception as error:  # the app's own code runs here
        why = f"{type(error).__name__}: {error}"
        raise CliError(f"The modules of the app's tasks fail when they are imported: {why}.") from error
    if not found:
        raise CliError(NO_TASKS)
    return found


def _read(path: Path) -> dict[str, Signature] | None:
    """The signatures in the lock file, or None if there is none."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CliError(f"The lock file {str(path)!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is no text in UTF-8.") from error
    return read_lock(text)


def _write(path: Path, text: str) -> None:
    """Write all of it or nothing."""
    beside = path.with_name(f"{path.name}.new")
    try:
        beside.write_text(text, "utf-8")
        beside.replace(path)
    except OSError as error:
        raise CliError(f"The lock file {str(path)!r} cannot be written: {error.strerror}.") from error


def _as_object(
    path: Path, locked: dict[str, Signature], changes: list[Change], *, is_outdated: bool
) -> dict[str, object]:
    return {
        "file": str(path),
        "tasks": len(locked),
        "is_outdated": is_outdated,
        "verdict": worst(*(one.verdict for one in changes)),
        "old_to_new": worst(*(one.old_to_new for one in changes)),
        "new_to_old": worst(*(one.new_to_old for one in changes)),
        "changes": changes,
    }


def _print(context: CliContext, changes: Sequence[Change]) -> None:
    """The changes, task by task."""
    for task, of_task in groupby(changes, key=lambda one: one.task):
        context.say(one_line(task), "bold")
        for change in of_task:
            sentence = Text(one_line(change.sentence))
            if change.verdict is Verdict.SAFE:
                context.print(Padding(sentence.append("  safe", _STYLES[Verdict.SAFE]), _INDENTED))
            else:
                context.print(Padding(sentence, _INDENTED), Padding(_fate(change), _INDENTED_TWICE))
        context.say("")


def _fate(change: Change) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for heading, verdict, why in (
        ("old payloads, new code", change.old_to_new, change.old_to_new_why),
        ("new payloads, old code", change.new_to_old, change.new_to_old_why),
    ):
        text = Text(verdict.value, _STYLES[verdict])
        table.add_row(heading, Text.assemble(text, f": {one_line(why)}" if why else ""))
    if change.remedy:
        table.add_row("remedy", Text(one_line(change.remedy)))
    return table


def _print_verdict(
    context: CliContext, path: Path, locked: dict[str, Signature], changes: list[Change], *, is_outdated: bool
) -> None:
    if not is_outdated:
        context.say(f"{count(len(locked), 'task')}, all as locked in {path}.", "green")
        return
    counted = Counter(one.verdict for one in changes)
    told = ", ".join(f"{counted[verdict]} {verdict}" for verdict in reversed(Verdict) if counted[verdict])
    tasks = len({one.task for one in changes})
    if changes:
        context.say(f"{count(len(changes), 'change')} in {count(tasks, 'task')}: {told}.", "bold")
    context.say(
        f"{path} is out of date. If the changes are meant as they are, run {command('signatures')} lock.", "yellow"
    )

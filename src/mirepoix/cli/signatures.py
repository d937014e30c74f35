"""``mirepoix signatures``: lock the arguments of tasks, and judge what a change does to waiting payloads."""

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
    """Check that changed tasks can run waiting payloads.

    The lock file contains the arguments of each task. Commit it. Then a change of a task changes the file, and people
    review it together with the verdict of check.
    """


@signatures.command()
@file_option
@pass_context
def lock(context: CliContext, path: Path) -> None:
    """Write the arguments of the app's tasks into the lock file.

    It prints what changed. It does not touch the file if nothing did.
    """
    current = _current(context)
    try:
        locked = _read(path)
    except NewerLockFormat:
        raise
    except ConfigurationError as error:
        click.echo(f"mirepoix: {one_line(str(error))} The file is replaced.", err=True)
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
    "--allow-outdated", is_flag=True, help="Accept safe changes, e.g. with the lock file of the last release."
)
@click.option("--both-ways", is_flag=True, help="Also fail if old workers park new payloads during a deploy.")
@click.option("--ledger", "url", metavar="URL", help="Check the payloads in that ledger and not the lock file.")
@click.option("--waiting", is_flag=True, help="Check the payloads in the app's own ledger and not the lock file.")
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
    """Judge what the changes since the lock do to payloads.

    It judges each change in both directions: old payloads in new code, and, during a deploy, new payloads in old
    workers. Such a payload is safe; or it parks and does not run until code that takes it arrives; or it runs wrongly,
    with a value in another parameter.

    The exit code is 0 if code and lock file are the same, otherwise 1. With --allow-outdated it is 1 only if a payload
    runs wrongly or new code parks an old payload. It is 2 if the check could not be made.

    --ledger and --waiting are for the last check before a release. They compare the code with the payloads in the
    ledger: every task that waits, is due later, runs, failed, is quarantined or parked, and all tasks that these will
    send. They print what the code would park. The exit code is 0 if it would park nothing that is not parked already.
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
    is_harmful = any(
        not change.is_safe_after_deploy or (both_ways and change.verdict is not Verdict.SAFE) for change in changes
    )
    if is_json:
        context.print_json(_as_object(path, locked, changes, is_outdated=is_outdated))
    else:
        _print(context, changes)
        _print_verdict(context, path, locked, changes, is_outdated=is_outdated)
    if is_harmful or (is_outdated and not allow_outdated):
        raise NotAllDone


def _preflight(context: CliContext, url: str | None, *, is_json: bool) -> bool:
    """Judge the payloads in the ledger. Return whether the release may go out."""
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
        context.print_json(_preflight_object(label, judged))
    else:
        _print_preflight(context, label, judged)
    return judged.is_open


def _preflight_object(label: str, judged: Judged) -> dict[str, object]:
    found = [
        {
            "task": finding.call.task,
            "version": finding.call.version,
            "call": str(finding.call),
            "lacking": finding.lacking,
            "reason": finding.reason,
            "is_carried": finding.is_carried,
            "count": finding.count,
            "states": dict(finding.counts),
            "oldest": finding.oldest,
            "example": finding.example,
        }
        for finding in judged.found
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
    for finding in judged.found:
        carried = "  another task will send it" if finding.is_carried else ""
        context.print(Text.assemble((one_line(str(finding.call)), "bold"), (carried, "dim")))
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        table.add_row("would park", Text(one_line(finding.reason), "bold yellow" if finding.is_new else "yellow"))
        states = ", ".join(f"{number:,} {state}" for state, number in finding.counts.most_common())
        table.add_row("payloads", states)
        table.add_row("oldest", f"{when(finding.oldest)}  {one_line(finding.example)}")
        context.print(Padding(table, _INDENTED))
        context.say("")
    for content_type, number in judged.unjudged.most_common():
        of_type = f"{count(number, 'payload')} of {one_line(content_type)}"
        context.say(f"{of_type}: only the task and its version were checked.", "yellow")
    total = f"{count(judged.payloads, 'payload')} in {label}"
    if judged.resumed:
        context.say(f"{count(judged.resumed, 'payload')} that other code parked will be resumed.", "green")
    if judged.is_open:
        already = " except those that are parked already" if judged.found else ""
        context.say(f"{total}: this code can take all of them{already}.", "green")
    else:
        context.say(f"{total}: this code would park {judged.would_park:,} of them.", "bold red")


def _current(context: CliContext) -> dict[str, Signature]:
    """Return the signatures of the tasks in the code."""
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
    """Return the signatures in the lock file, or None if there is no such file."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CliError(f"The lock file {str(path)!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not text in UTF-8.") from error
    return read_lock(text)


def _write(path: Path, text: str) -> None:
    """Write the whole file or nothing."""
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
        "verdict": worst(*(change.verdict for change in changes)),
        "old_to_new": worst(*(change.old_to_new for change in changes)),
        "new_to_old": worst(*(change.new_to_old for change in changes)),
        "changes": changes,
    }


def _print(context: CliContext, changes: Sequence[Change]) -> None:
    """Print the changes, task by task."""
    for task, of_task in groupby(changes, key=lambda change: change.task):
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
        table.add_row("fix", Text(one_line(change.remedy)))
    return table


def _print_verdict(
    context: CliContext, path: Path, locked: dict[str, Signature], changes: list[Change], *, is_outdated: bool
) -> None:
    if not is_outdated:
        context.say(f"{count(len(locked), 'task')}, all as locked in {path}.", "green")
        return
    counted = Counter(change.verdict for change in changes)
    verdicts = ", ".join(f"{counted[verdict]} {verdict}" for verdict in reversed(Verdict) if counted[verdict])
    tasks = len({change.task for change in changes})
    if changes:
        context.say(f"{count(len(changes), 'change')} in {count(tasks, 'task')}: {verdicts}.", "bold")
    context.say(f"{path} is out of date. If you want these changes, run {command('signatures')} lock.", "yellow")

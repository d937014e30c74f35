"""``mirepoix doctor``: find what will go wrong, in the configuration, the servers and the deployment."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click
from rich.text import Text

from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError, NotAllDone
from mirepoix.cli.options import json_option
from mirepoix.doctor import examine
from mirepoix.doctor.rules import RULES, Finding, Severity
from mirepoix.operations.format import count, one_line

STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.INFO: "dim"}


@click.command()
@click.argument("places", nargs=-1, metavar="[PATHS]", type=click.Path(exists=True, path_type=Path))
@click.option("--offline", is_flag=True, help="Ask neither the broker nor the database.")
@click.option(
    "--ignore", "ignored", metavar="CODES", default="", help="Leave out these rules, with commas between them."
)
@json_option
@pass_context
def doctor(context: CliContext, places: tuple[Path, ...], ignored: str, *, offline: bool, is_json: bool) -> None:
    """Find what will lose tasks, before it happens.

    It reads the configuration of the app and of its tasks, asks the broker and the ledger's database, and reads the
    files of systemd, supervisor, Kubernetes and Docker and the Procfile in PATHS (files or folders; this folder if
    none are given). It changes nothing. The app needs no ledger.

    The exit code is 0 if there is no error or warning, 1 if there is, and 2 if the app cannot be loaded.
    """
    app = context.app
    if app is None:
        raise CliError("No app is named. Use celery -A YOUR_APP mirepoix doctor, or mirepoix --app YOUR_APP doctor.")
    codes = {code.strip().upper() for code in ignored.split(",") if code.strip()}
    if unknown := sorted(codes - RULES.keys()):
        raise CliError(f"There is no rule {', '.join(unknown)}. docs/reference/doctor.md lists them.")
    try:
        examine.load(app)
    except Exception as error:  # the app's own code runs here
        raise CliError(f"The app cannot be loaded: {type(error).__name__}: {one_line(str(error))}") from error
    facts = examine.facts_of(app, places or (Path(),), asks_servers=not offline)
    found = examine.findings(facts, codes)
    if is_json:
        context.print_json({"findings": found, "rules": len(RULES), "tasks": len(facts.tasks)})
    else:
        _print(context, found, len(RULES))
    if any(finding.severity is not Severity.INFO for finding in found):
        raise NotAllDone


def _print(context: CliContext, found: list[Finding], rules: int) -> None:
    for finding in found:
        severity = (f"{finding.severity:<8}", STYLES[finding.severity])
        context.say(Text.assemble(severity, (f"{finding.code}  ", "dim"), (finding.title, "bold")))
        for name, text in (("found", finding.evidence), ("remedy", finding.remedy), ("docs", finding.link)):
            context.say(Text.assemble((f"        {name:<7} ", "dim"), one_line(text)))
    counts = Counter(finding.severity for finding in found)
    total = ", ".join(count(counts[severity], severity.value) for severity in Severity if counts[severity])
    context.say(("\n" if found else "") + f"{total or 'Nothing found'} ({rules} rules)", "dim")

"""``mirepoix lint``: find what makes tasks unsafe to retry, in the code."""

from __future__ import annotations

from pathlib import Path

import click

from mirepoix.cli.errors import CliError, NotAllDone
from mirepoix.lint.formats import FORMATS
from mirepoix.lint.rules import RULES, explained
from mirepoix.lint.run import lint as lint_paths
from mirepoix.lint.settings import check_codes, read_settings
from mirepoix.operations.format import count


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", "output", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.option("--json", "is_json", is_flag=True, help="The same as --format json.")
@click.option("--ignore", "ignored", metavar="CODES", help="Leave out these rules, with commas between them.")
@click.option("--explain", metavar="CODE", help="Explain a rule and do nothing else; 'all' explains every rule.")
def lint(paths: tuple[Path, ...], output: str, ignored: str | None, explain: str | None, *, is_json: bool) -> None:
    """Find what makes tasks unsafe to retry, in the code.

    It reads the Python files in PATHS, or in this folder. It imports none of them and needs no app and no ledger. It
    judges each function by itself and reports only what is certain, so a clean report proves nothing.

    The exit code is 0 if there are no findings or only infos, 1 if there are others, and 2 if a file or the settings
    cannot be read.
    """
    output = "json" if is_json else output
    if explain is not None:
        codes = list(RULES) if explain.lower() == "all" else sorted(check_codes([explain], "--explain"))
        click.echo("\n".join(explained(RULES[code]) for code in codes), nl=False)
        return
    given = paths or (Path(),)
    start = given[0] if given[0].is_dir() else given[0].parent
    settings = read_settings(Path() if not paths else start)
    if ignored:
        more = check_codes(ignored.split(","), "--ignore")
        settings = type(settings)(settings.ignore | more, settings.exclude, settings.ledger, settings.folder)
    report = lint_paths(given, settings)
    click.echo(FORMATS[output](report), nl=False)
    if output == "text":
        click.echo(f"{count(len(report.found), 'finding')} in {count(report.files, 'file')}.", err=True)
    if report.is_broken:
        raise CliError("A file could not be read (MP000): correct it, or exclude it in [tool.mirepoix.lint].")
    if not report.is_clean:
        raise NotAllDone

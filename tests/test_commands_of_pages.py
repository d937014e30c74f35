"""Each `mirepoix` command that a page shows exists, with the options that it shows."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from pathlib import Path

import click
import pytest

from mirepoix.cli.main import mirepoix

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
TYPED = re.compile(
    r"^(?:\$ |ExecStart\w*=)?(?:\S*celery (?:-A|--app) \S+ |python manage\.py |manage\.py )?mirepoix (?!worker)(.*)$"
)
"""A line that somebody types, or what stands between two backticks."""


def commands(page: Path) -> list[str]:
    """What the page shows as typed after the word mirepoix."""
    found = []
    text = page.read_text("utf-8")
    for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        if language in {"console", "bash", "sh"}:
            found += [line.strip().split("   #")[0].split("     #")[0] for line in block.splitlines()]
        elif language == "text":
            found += [line for line in block.splitlines() if line.startswith("$ ")]
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose)
    return [match[1] for line in found if (match := TYPED.match(line))]


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in PAGES if commands(page)])
def test_the_commands_of_a_page_exist(page: str):
    for line in sorted(set(commands(ROOT / page))):
        parse(line)


def parse(line: str) -> None:
    """Raise click's error if there is no such command or option."""
    rest = [word for word in shlex.split(re.split(r" \\?[|>]| && ", line)[0]) if word not in {"…", "...", "[PATHS]"}]
    command: click.Command = mirepoix
    context = click.Context(mirepoix)
    while True:
        # A text may name an option without its value.
        with suppress(click.BadOptionUsage):
            _, rest, _ = command.make_parser(context).parse_args(rest)
        if not isinstance(command, click.Group) or not rest or rest[0].startswith("-"):
            return
        name, *rest = rest
        found = command.get_command(context, name)
        assert found is not None, f"no command {name!r}: mirepoix {line}"
        command, context = found, click.Context(found, parent=context)


@pytest.mark.parametrize("line", ["no-such-command", "tasks --no-such-option", "--app shop failures no-such-command"])
def test_a_wrong_one_is_found(line: str):
    with pytest.raises((click.UsageError, AssertionError)):
        parse(line)

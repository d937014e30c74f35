"""``manage.py mirepoix …``: the command line of Mirepoix with the project's app and its ledger."""

from __future__ import annotations

import sys
from argparse import REMAINDER
from collections.abc import Sequence
from contextlib import redirect_stdout
from types import SimpleNamespace
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mirepoix.cli.main import mirepoix
from mirepoix.django import project
from mirepoix.errors import ConfigurationError

_DJANGOS = ("--settings", "--pythonpath")
"""Options that Django reads itself before it chooses a command."""


class Command(BaseCommand):  # type: ignore[misc]  # Django brings no types
    """Pass every argument to ``mirepoix``, and exit with its exit code."""

    help = "See what became of every task, and decide about tasks that need you."
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's way)

    def run_from_argv(self, argv: list[str]) -> None:
        """Run from the shell. ``mirepoix`` handles all options, also ``--help``."""
        words = _without_djangos(argv[2:])
        try:
            given = _given(words)
        except CommandError as error:
            self.stderr.write(f"Error: {error}")
            sys.exit(error.returncode)
        mirepoix.main(words, f"{argv[0]} {argv[1]}", obj=given)

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("arguments", nargs=REMAINDER)

    def handle(self, *_: Any, arguments: Sequence[str] = (), **__: Any) -> None:
        """Run ``call_command("mirepoix", "status")``. Raises CommandError if the exit code is not 0."""
        self.stdout.ending = ""  # the output has its own line ends
        with redirect_stdout(self.stdout):
            try:
                mirepoix.main(list(arguments), "manage.py mirepoix", obj=_given(arguments))
            except SystemExit as ended:
                if ended.code:
                    raise CommandError(
                        f"mirepoix ended with exit code {ended.code}", returncode=int(ended.code)
                    ) from None


def _given(words: Sequence[str]) -> SimpleNamespace | None:
    """Return what ``celery -A`` would pass, or None if there is no app and *words* need none."""
    try:
        return SimpleNamespace(app=project.celery_app())
    except ConfigurationError as error:
        if any(word.startswith(("-h", "--help", "-A", "--app", "--ledger")) for word in words):
            return None
        raise CommandError(str(error), returncode=2) from error


def _without_djangos(words: list[str]) -> list[str]:
    kept: list[str] = []
    is_value = False
    for word in words:
        if is_value:
            is_value = False
        elif word in _DJANGOS:
            is_value = True
        elif not word.startswith(tuple(f"{name}=" for name in _DJANGOS)):
            kept.append(word)
    return kept

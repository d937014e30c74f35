"""The errors that the command line prints instead of a traceback."""

from __future__ import annotations

from typing import IO, Any

import click

from mirepoix.cli.hints import as_typed
from mirepoix.operations.format import one_line


class CliError(click.ClickException):
    """The command cannot start or go on. The message is one line that says what to do; the exit code is 2."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(as_typed(message))

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"mirepoix: {one_line(self.format_message())}", file=file, err=file is None)


class NotAllDone(click.exceptions.Exit):
    """The command did not do all of its work, and has printed what it left out; the exit code is 1."""

    def __init__(self) -> None:
        super().__init__(1)

"""What the command line says instead of a traceback."""

from __future__ import annotations

from typing import IO, Any

import click

from mirepoix.cli.hints import as_typed
from mirepoix.operations.format import one_line


class CliError(click.ClickException):
    """One line that names the thing and the remedy; exit code 2."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(as_typed(message))

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to standard error."""
        click.echo(f"mirepoix: {one_line(self.format_message())}", file=file, err=file is None)


class NotAllDone(click.exceptions.Exit):
    """Something that was asked for was not done, and has been reported; exit code 1."""

    def __init__(self) -> None:
        super().__init__(1)

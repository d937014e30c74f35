"""The context of a command: the app, its ledger, one connection to the ledger, and the console to print on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text

from mirepoix.cli.columns import Column, rows
from mirepoix.cli.errors import CliError
from mirepoix.connect.source import BOUND_S, OwnConnection, Source
from mirepoix.connect.url import source_for
from mirepoix.connect.verdict import Verdict, verdict
from mirepoix.ledger.migrate import require_current
from mirepoix.ledger.tx import Tx
from mirepoix.operations.format import as_json, one_line, printable

if TYPE_CHECKING:
    from mirepoix.celery.task_catalog import TaskCatalog

UNBOUNDED = 10_000
"""A width in cells that is enough for every line."""

NO_LEDGER = (
    "No ledger is named. Use celery -A YOUR_APP mirepoix …, mirepoix --app YOUR_APP … (or MIREPOIX_APP=YOUR_APP), "
    "or mirepoix --ledger URL …"
)


class Printable:
    """Print *inner* without the control characters that rows of the ledger may contain."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self._inner, options):
            yield Segment(text if control else printable(text), style, control)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._inner)


class CliContext:
    """Find the app and open the ledger when a command first needs them, so that ``--help`` needs neither."""

    def __init__(
        self,
        app_name: str | None,
        url: str | None,
        celery_app: Any,
        *,
        no_color: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        self._app_name = app_name
        self._url = url
        self._celery_app = celery_app
        self._opened: OwnConnection | None = None
        self._is_ready = False
        self._timeout_s = timeout_s
        self.bound_s: float | None = timeout_s or BOUND_S
        """How long to wait for an answer of the ledger. None means no limit."""
        # Names and errors are text of the user's programs, so rich must not read them as markup.
        self.console = Console(markup=False, highlight=False, emoji=False, no_color=no_color or None)

    @cached_property
    def app(self) -> Any | None:
        """The Celery app, or None if the user named none."""
        if self._app_name is not None:
            return found_app(self._app_name)
        return self._celery_app

    @cached_property
    def source(self) -> Source:
        """The ledger's database: that of ``--ledger`` if it was given, otherwise the app's."""
        if self._url is not None:
            return source_for(self._url)
        if self.app is None:
            raise CliError(NO_LEDGER)
        from mirepoix.celery.installation import installation_of

        source: Source = installation_of(self.app).source
        return source

    def at(self, url: str) -> CliContext:
        """Return a context for another ledger."""
        return CliContext(None, url, None, timeout_s=self._timeout_s)

    def wait(self, bound_s: float | None) -> float | None:
        """Limit the wait for each answer to ``--timeout``, or to *bound_s* without it; return the limit."""
        self.bound_s = self._timeout_s or bound_s
        return self.bound_s

    @cached_property
    def installation(self) -> Any:
        """The app's installation. Without an app, a new one that knows every queue and no task.

        Do not read it inside a transaction.
        """
        from mirepoix.celery.app import install
        from mirepoix.celery.installation import installation_of

        if self.app is not None:
            return installation_of(self.app)
        self.ready()
        from celery import Celery

        return install(Celery("mirepoix", set_as_current=False), self._url)

    @cached_property
    def catalog(self) -> TaskCatalog | None:
        """What the app's tasks can take; None without an app. Their modules are imported as a worker imports them."""
        if self.app is None:
            return None
        try:
            self.app.loader.import_default_modules()
        except Exception as error:  # the app's own code runs here
            why = f"{type(error).__name__}: {error}"
            raise CliError(f"The modules of the app's tasks fail when they are imported: {why}.") from error
        catalog: TaskCatalog = self.installation.catalog
        return catalog

    def open(self) -> OwnConnection:
        """Return the connection to the ledger; open it the first time. The tables are not checked."""
        if self._opened is None:
            # libpq alone would wait for minutes for a host that does not answer.
            os.environ.setdefault("PGCONNECT_TIMEOUT", "10")
            self._opened = self.source.open(self.bound_s)
        return self._opened

    def require_file(self) -> None:
        """Refuse an SQLite file that does not exist, because SQLite would create an empty one."""
        path = getattr(self.source, "path", None)
        if isinstance(path, str) and not Path(path).exists():
            raise CliError(
                f"There is no ledger in {self.source.label}: the file does not exist. Check the path, or run migrate."
            )

    def ready(self) -> OwnConnection:
        """Return the connection. Raise an error with the fix if the tables are missing or of another version."""
        if not self._is_ready:
            self.require_file()
            self.require_schema()
            self._is_ready = True
        return self.open()

    def require_schema(self) -> None:
        """Refuse tables that are missing or of another version."""
        require_current(self.open(), self.source.label, self._is_of_tables)

    def _is_of_tables(self, error: Exception) -> bool:
        """Return whether *error* says that the tables are missing or unreadable, and not that the database is away."""
        return (
            isinstance(error, self.database_errors()) and verdict(error, self.source.disconnects) is not Verdict.PASSES
        )

    def reading(self) -> AbstractContextManager[Tx]:
        """Begin a transaction that only reads, so that a slow search blocks no writer."""
        return self.ready().reading()

    def database_errors(self) -> tuple[type[Exception], ...]:
        """Return the base class of the driver's errors, which PEP 249 calls ``Error``."""
        return self.source.errors

    def explained(self, error: Exception) -> CliError | None:
        """Return *error* as a message if it came from the ledger's database, otherwise None."""
        if "source" not in self.__dict__ or not isinstance(error, self.database_errors()):
            return None
        label, message = self.source.label, one_line(str(error))
        if self._opened is None:
            return CliError(
                f"The ledger in {label} cannot be reached ({message}). Is the database up, and the URL right?"
            )
        done = "Everything that was reported as done is done. Run the command again for the rest."
        if verdict(error, self.source.disconnects) is Verdict.PASSES and self.bound_s is not None:
            return CliError(
                f"The ledger in {label} gave no answer in {self.bound_s:g} s ({message}). It is away or busy, or a "
                f"transaction holds a lock. {done} --timeout 5m waits longer."
            )
        return CliError(f"The ledger in {label} failed ({message}). {done}")

    def print(self, *what: RenderableType) -> None:
        for renderable in what:
            self.console.print(Printable(renderable))

    def say(self, text: str | Text, style: str = "") -> None:
        """Print one line, never wrapped or cut, so that it can be grepped."""
        line = Text(text, style=style) if isinstance(text, str) else text
        self.console.print(Printable(line), soft_wrap=True)

    def say_all(self, lines: Iterable[Text], indent: int = 0) -> None:
        """Print lines, never wrapped or cut, *indent* cells from the left."""
        for line in lines:
            self.say(Text(" " * indent) + line if indent else line)

    @property
    def width(self) -> int:
        """The width of the screen in cells. Nothing is cut in a file or a pipe, unless COLUMNS is set."""
        return self.console.width if self.console.is_terminal or "COLUMNS" in os.environ else UNBOUNDED

    def list(self, columns: Sequence[Column], cells: Iterable[Sequence[Text | str]]) -> None:
        """Print a list as wide as the screen, with complete ids."""
        self.say_all(rows(columns, cells, self.width))

    def facts(self, facts: Iterable[tuple[str, str | Text]], indent: int = 0) -> None:
        """Print ``name  value`` for each value that is not empty, never wrapped or cut."""
        shown = [(name, value) for name, value in facts if value]
        longest = max((len(name) for name, _ in shown), default=0)
        self.say_all((Text.assemble((f"{name:<{longest}}  ", "dim"), value) for name, value in shown), indent)

    def traceback(self, text: str, indent: int) -> None:
        """Print a traceback. The terminal wraps its lines, so that a copy has no extra line breaks."""
        code = printable(text.rstrip())
        lines = Syntax(code, "pytb", theme="ansi_dark", background_color="default").highlight(code).split("\n")
        self.say_all((line for line in lines if line.plain or line is not lines[-1]), indent)

    def print_json(self, value: Any) -> None:
        click.echo(as_json(value))

    def disconnect(self) -> None:
        """Close the connection to the ledger. The next command that needs a connection opens another one."""
        if self._opened is not None:
            self._opened.close()
        self._opened, self._is_ready = None, False

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        if "source" in self.__dict__:
            self.source.close()


def found_app(name: str) -> Any:
    """Find the Celery app of that name as ``celery -A`` does."""
    from celery import Celery
    from celery.app.utils import find_app

    try:
        app = find_app(name)
    except ModuleNotFoundError as error:
        raise CliError(
            f"The app {name!r} cannot be imported: there is no module {error.name!r}. Run it from the project's folder."
        ) from error
    except AttributeError as error:
        raise CliError(
            f"The app {name!r} was not found: {error}. Name it as celery -A does, e.g. shop.celery:app."
        ) from error
    except Exception as error:  # the app's own code runs here
        why = f"{type(error).__name__}: {error}"
        raise CliError(
            f"The app {name!r} fails when it is imported: {why}. See it with: celery -A {name} report"
        ) from error
    if not isinstance(app, Celery):
        raise CliError(
            f"{name!r} is not a Celery app but {type(app).__name__}. Name it as celery -A does, e.g. shop.celery:app."
        )
    return app


pass_context = click.make_pass_decorator(CliContext)

"""``mirepoix metrics``: print the metrics in Prometheus' text format, or serve them."""

from __future__ import annotations

import os
import signal
from importlib.resources import files
from pathlib import Path

import click

from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError
from mirepoix.config import Settings
from mirepoix.metrics.exporter import NAMES, Exporter
from mirepoix.metrics.server import PATH, serve

TOKEN = "MIREPOIX_METRICS_TOKEN"  # noqa: S105 (the name of a variable)
LAST_PORT = 65_535
SHIPPED = {"rules": "rules.yml", "dashboard": "dashboard.json"}
COUNT_S = 600.0
"""How long an answer of the ledger may take: the first one counts every row."""


class Address(click.ParamType):  # type: ignore[type-arg]  # not generic in older click
    """``HOST:PORT``, or ``[HOST]:PORT`` for IPv6."""

    name = "host:port"

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, colon, port = value.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > LAST_PORT:
            self.fail(f"{value!r} is no address. Write 127.0.0.1:9540.", param, ctx)
        return host.strip("[]") or "127.0.0.1", int(port)


@click.command()
@click.option("--serve", "address", metavar="HOST:PORT", type=Address(), help=f"Serve them at {PATH} until stopped.")
@click.option("--names", type=click.Choice(NAMES), default="mirepoix", show_default=True, help="Which names they have.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The file with the bearer token that a request must send. Without it: the variable {TOKEN}.",
)
@click.option(
    "--print", "shipped", type=click.Choice(tuple(SHIPPED)), help="Print the alert rules or the Grafana dashboard."
)
@pass_context
def metrics(
    context: CliContext, address: tuple[str, int] | None, names: str, token_file: Path | None, shipped: str | None
) -> None:
    """Print or serve the metrics of the ledger for Prometheus.

    The numbers are read from the ledger's rows, so they are right also after workers were killed. Pruning does not
    change the counters. Without a token it serves on a loopback address only.
    """
    if shipped is not None:
        click.echo((files("mirepoix.metrics") / SHIPPED[shipped]).read_text("utf-8"), nl=False)
        return
    context.wait(COUNT_S)
    context.ready()
    installation = getattr(context.app, "mirepoix", None)
    settings = Settings() if installation is None else installation.settings
    token = _token(token_file) if address is not None else None
    exporter = Exporter(context.source, settings, names=names, token=token, bound_s=context.bound_s or COUNT_S)
    try:
        text = exporter.text()
        if address is None:
            click.echo(text, nl=False)
        else:
            _serve(context, exporter, address, has_token=token is not None)
    finally:
        exporter.close()


def _serve(context: CliContext, exporter: Exporter, address: tuple[str, int], *, has_token: bool) -> None:
    host, port = address
    try:
        server = serve(exporter, host, port, has_token=has_token)
    except OSError as error:
        raise CliError(f"The metrics cannot be served at {host}:{port}: {error.strerror or error}.") from error

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"The metrics are at http://{shown}:{server.server_port}{PATH}.")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)
    finally:
        server.server_close()


def _token(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(TOKEN) or None
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"The token cannot be read from {path}: {error}.") from error
    if not token:
        raise CliError(f"The file {path} with the token is empty.")
    return token

"""``mirepoix dashboard``: serve the web pages of the ledger."""

from __future__ import annotations

import os
import secrets

import click

from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError
from mirepoix.config import Settings
from mirepoix.errors import MissingLibrary

OPERATOR = "operator"
"""The user of the password in the environment, and of the link that is printed without any credential."""

PASSWORD = "MIREPOIX_DASHBOARD_PASSWORD"  # noqa: S105 (the name of a variable)
OPEN_TO_ALL = (
    "{!r} can be reached from other hosts, and the dashboard has no credential. Set mirepoix_dashboard_users (make a "
    f"hash: mirepoix dashboard --hash-password), or the environment variable {PASSWORD}, or let a proxy name the users "
    "(mirepoix_dashboard_proxy_header). Or listen on 127.0.0.1."
)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="The port; 0 is any.")
@click.option("--prefix", default="", metavar="PATH", help="The path under which a proxy serves it: /jobs.")
@click.option("--hash-password", "is_hashing", is_flag=True, help="Ask for a password, print its hash, and end.")
@pass_context
def dashboard(context: CliContext, host: str, port: int, prefix: str, is_hashing: bool) -> None:
    """Serve web pages of the ledger, until it is stopped.

    Without a credential it listens on this host only, and prints a link that logs in. With a credential (the setting
    dashboard_users, the variable MIREPOIX_DASHBOARD_PASSWORD or a trusted proxy) it may listen anywhere.
    """
    try:
        from mirepoix.dashboard import Role, User, asgi
        from mirepoix.dashboard.access import Access, hashed
        from mirepoix.dashboard.server import LOOPBACK, is_loopback, listening, serve
    except ModuleNotFoundError as error:
        if error.name != "uvicorn":
            raise
        raise CliError(str(MissingLibrary(error.name, "dashboard"))) from error
    if is_hashing:
        click.echo(hashed(click.prompt("Password", hide_input=True, confirmation_prompt=True)))
        return
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise click.UsageError("--prefix must begin with / and not end with it: /jobs.")
    settings = Settings() if context.app is None else context.installation.settings
    users = dict(settings.dashboard_users or {})
    if password := os.environ.get(PASSWORD):
        users[OPERATOR] = f"{Role.ADMINISTER} {hashed(password)}"
    access = Access(users, {}, settings.dashboard_proxy_header, tuple(settings.dashboard_trusted_proxies))
    if not access.has_credentials and not is_loopback(host):
        raise CliError(OPEN_TO_ALL.format(host))
    context.ready()
    token = None if access.has_credentials else secrets.token_urlsafe(24)
    app = asgi(
        context.installation.app,
        users=users,
        tokens={token: User(OPERATOR, frozenset(Role))} if token else None,
        prefix=prefix,
        # Another site could point its own name at this host, and read the pages with the browser's help.
        hosts=(*LOOPBACK, host) if is_loopback(host) and not settings.dashboard_trusted_proxies else (),
        has_app=context.app is not None,
    )
    try:
        listener = listening(host, port)
    except OSError as error:
        raise CliError(f"{host} port {port} cannot be used: {error.strerror or error}. Try another --port.") from error
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}{prefix}/"
    context.say(f"{address}enter?token={token}" if token else address)
    serve(app, listener)

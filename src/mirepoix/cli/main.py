"""The group of commands: ``celery -A shop mirepoix …`` and ``mirepoix --app shop …``."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from typing import Any

import click
from click.core import ParameterSource

from mirepoix.celery.pool.names import register
from mirepoix.cli.alerts import alerts
from mirepoix.cli.change import move, postpone, set_priority
from mirepoix.cli.context import CliContext
from mirepoix.cli.dashboard import dashboard
from mirepoix.cli.decide import cancel, discard, requeue, retry
from mirepoix.cli.doctor import doctor
from mirepoix.cli.drain import drain
from mirepoix.cli.edit import edit
from mirepoix.cli.errors import CliError
from mirepoix.cli.failures import failures
from mirepoix.cli.health import health
from mirepoix.cli.limits import limits
from mirepoix.cli.lint import lint
from mirepoix.cli.maintain import drop_tables, migrate, prune
from mirepoix.cli.metrics import metrics
from mirepoix.cli.options import Duration
from mirepoix.cli.parked import parked
from mirepoix.cli.reconcile import reconcile
from mirepoix.cli.relay import relay
from mirepoix.cli.replay import progress, replay, undo
from mirepoix.cli.schedules import schedules
from mirepoix.cli.show import show
from mirepoix.cli.signatures import signatures
from mirepoix.cli.stack import stack
from mirepoix.cli.status import status
from mirepoix.cli.steer import pause, resume
from mirepoix.cli.tasks import tasks
from mirepoix.cli.top import top
from mirepoix.cli.tune import tune
from mirepoix.cli.why import why
from mirepoix.errors import MirepoixError

register()  # the celery command loads this module before it reads its arguments

DEMO = "demo"
DEMO_MODULE = "mirepoix.demo.command"
"""The module of the command ``demo``. Only that command imports it, because nobody needs the demo in production."""


class Group(click.Group):
    """List the commands in the order in which an engineer on call needs them, and print an error as one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, DEMO]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == DEMO:
            demo: click.Command = import_module(DEMO_MODULE).demo
            return demo
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. An error of the database or of the installation becomes a `CliError`."""
        try:
            return super().invoke(ctx)
        except MirepoixError as error:
            raise CliError(str(error)) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            context = ctx.find_object(CliContext)
            explained = context.explained(error) if context else None
            if explained is None:
                raise
            raise explained from error


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mirepoix", message="mirepoix %(version)s")
@click.option("-A", "--app", metavar="APP", envvar="MIREPOIX_APP", help="The Celery app, as celery -A takes it.")
@click.option("--ledger", metavar="URL", envvar="MIREPOIX_LEDGER", help="The ledger's URL, to work without an app.")
@click.option(
    "--timeout",
    type=Duration(),
    help="How long to wait for each answer of the ledger. The default is 1m; for health 5s; for migrate, prune and "
    "drop-tables no limit.",
)
@click.pass_context
def mirepoix(ctx: click.Context, app: str | None, ledger: str | None, timeout: timedelta | None) -> None:
    """See what became of every task, and decide about tasks that need you.

    Start with: status, then tasks, then show ID, then why ID.
    """
    is_plugin = hasattr(ctx.obj, "app")  # celery -A … mirepoix: Celery has found the app
    typed = {name for name in ("app", "ledger") if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    # An environment variable never overrides an option that was typed, for celery or for mirepoix.
    app = app if "app" in typed or not is_plugin else None
    ledger = ledger if "ledger" in typed or not (is_plugin or "app" in typed) else None
    context = CliContext(
        app,
        ledger,
        ctx.obj.app if is_plugin else None,
        no_color=bool(getattr(ctx.obj, "no_color", False)),
        timeout_s=None if timeout is None else timeout.total_seconds(),
    )
    ctx.obj = context
    ctx.call_on_close(context.close)


for command in (
    *(status, top, tasks, show, why, stack, failures, retry, requeue, cancel, discard, parked, edit),
    *(pause, resume, move, set_priority, postpone, schedules, limits),
    *(alerts, health, doctor, tune, dashboard, metrics, reconcile, relay),
    *(drain, signatures, lint, prune, migrate, drop_tables),
):
    mirepoix.add_command(command)
for subcommand in (replay, progress, undo):
    failures.add_command(subcommand)

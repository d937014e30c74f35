"""The migration operation that brings the ledger up to date by the scripts and the code of ``mirepoix migrate``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError
from django.db import router
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState

from mirepoix.connect.dbapi import DbapiTx
from mirepoix.connect.django import dialect_of, ledger_alias
from mirepoix.ledger import drop
from mirepoix.ledger.migrate import migrate
from mirepoix.ledger.tx import Tx
from mirepoix.sql import is_post, migrations


class MigrateLedger(Operation):  # type: ignore[misc]  # Django brings no types
    """Apply the scripts of this release that ``mirepoix_migration`` does not list, in Django's transaction.

    Each script that a release adds has a Django migration of the same name with this operation. The migration of a post
    script says ``post=True`` and comes a release later, because Django applies every migration before the new code is
    deployed. ``mirepoix migrate --post`` applies it earlier.
    It does nothing on other databases than the ledger's (``CELERY_MIREPOIX_DJANGO_ALIAS``, or ``default``), and nothing
    if a database router forbids it. Raises UnsupportedDatabase if the database cannot hold a ledger.

    Backwards, ``manage.py migrate mirepoix zero`` deletes the ledger unless it is in use. To migrate back to any other
    migration changes nothing, because the previous release works on the tables of this one.
    """

    reduces_to_sql = True

    def __init__(self, *, post: bool = False) -> None:
        self.post = post

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Add the models of the code. They only read, so they need no history.

        Then Django finds no change in them, and ``makemigrations`` never writes a migration into this package. The
        first operation adds all of them, and the others add none, which would cost as much again.
        """
        for model in apps.get_app_config(app_label).get_models():
            if (app_label, model._meta.model_name) not in state.models:
                state.add_model(ModelState.from_model(model))

    def database_forwards(self, app_label: str, schema_editor: Any, _from_state: Any, _to_state: Any) -> None:
        connection = schema_editor.connection
        if connection.alias != ledger_alias() or not router.allow_migrate(connection.alias, app_label):
            return
        dialect = dialect_of(connection)
        if schema_editor.collect_sql:  # manage.py sqlmigrate
            schema_editor.collected_sql.extend(
                script for name, script in migrations(dialect) if self.post or not is_post(name)
            )
        else:
            migrate(_DjangosTransaction(DbapiTx(connection.cursor, dialect, "pyformat")), post=self.post)

    def database_backwards(self, app_label: str, schema_editor: Any, _from_state: Any, to_state: Any) -> None:
        """Delete the ledger if this was its first migration. Raises CommandError if the ledger is in use."""
        connection = schema_editor.connection
        is_first = not any(label == app_label for label, _ in to_state.models)
        if not is_first or connection.alias != ledger_alias() or not router.allow_migrate(connection.alias, app_label):
            return
        dialect = dialect_of(connection)
        if schema_editor.collect_sql:  # manage.py sqlmigrate --backwards
            schema_editor.collected_sql.extend(f"{statement};" for statement in drop.statements(dialect))
            return
        tx = DbapiTx(connection.cursor, dialect, "pyformat")
        seen = drop.drop_in(tx, is_forced=False, is_djangos_too=False)
        if seen.is_in_use:
            raise CommandError(
                f"The ledger in Django's database {connection.alias!r} is in use: {seen}. Nothing was deleted. Stop "
                "the workers when manage.py mirepoix status says that nothing waits, then try again. To delete it "
                "anyway: manage.py mirepoix drop-tables --force"
            )

    def describe(self) -> str:
        return "Bring the tables of the Mirepoix ledger up to date"


class _DjangosTransaction:
    """A ledger `Connection` that works in the transaction of Django's migration."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        yield self._tx

    def close(self) -> None:
        """Do nothing: Django closes the connection."""

"""The migration operation that brings the ledger up to date, with the scripts and the code of ``mirepoix migrate``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.db import router
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState

from mirepoix.connect.dbapi import DbapiTx
from mirepoix.connect.django import dialect_of, ledger_alias
from mirepoix.ledger.migrate import migrate
from mirepoix.ledger.tx import Tx
from mirepoix.sql import is_post, migrations


class MigrateLedger(Operation):  # type: ignore[misc]  # Django brings no types
    """Apply every script that this release has and ``mirepoix_migration`` does not list, in Django's transaction.

    Each script that a release adds comes with a Django migration of the same name, whose operation is this one. The one
    for a post script says ``post=True``, and comes a release later: Django applies all that it finds before the new
    code is deployed. Who does not want to wait runs ``mirepoix migrate --post``.
    Does nothing on any database but the ledger's (``CELERY_MIREPOIX_DJANGO_ALIAS``, else ``default``), nor where a
    database router forbids it. Raises UnsupportedDatabase if that one is of a kind that no ledger speaks. It cannot
    be reversed: that would delete the record of every task.
    """

    reduces_to_sql = True
    reversible = False

    def __init__(self, *, post: bool = False) -> None:
        self.post = post

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Let the models be those of the code: they only read, so there is no history of theirs to keep.

        Django finds no change in them then, and ``makemigrations`` never writes a migration into this package. The
        first of these operations adds them all, so that the others, which would cost as much again, add none.
        """
        for model in apps.get_app_config(app_label).get_models():
            if (app_label, model._meta.model_name) not in state.models:  # noqa: SLF001 (Django's name for it)
                state.add_model(ModelState.from_model(model))

    def database_forwards(self, app_label: str, schema_editor: Any, _from_state: Any, _to_state: Any) -> None:
        """Apply what is missing."""
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

    def describe(self) -> str:
        """Say what happens, for people."""
        return "Bring the tables of the Mirepoix ledger up to date"


class _DjangosTransaction:
    """A ledger `Connection` whose transactions are all part of the one that Django runs the migration in."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        yield self._tx

    def close(self) -> None:
        """Leave it to Django."""

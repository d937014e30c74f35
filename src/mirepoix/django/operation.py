"""The migration operation that brings the ledger up to date, with the scripts and the code of ``mirepoix migrate``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import router
from django.db.migrations.operations.base import Operation

from mirepoix.config import Settings
from mirepoix.connect.dbapi import DbapiTx
from mirepoix.connect.django import dialect_of
from mirepoix.ledger.migrate import migrate
from mirepoix.ledger.tx import Tx
from mirepoix.sql import migrations


class MigrateLedger(Operation):  # type: ignore[misc]  # Django brings no types
    """Apply every script that this release has and ``mirepoix_migration`` does not list, in Django's transaction.

    Each script that a release adds comes with a Django migration of the same name, whose operation is this one.
    Does nothing on any database but the ledger's (``CELERY_MIREPOIX_DJANGO_ALIAS``, else ``default``), nor where a
    database router forbids it. Raises UnsupportedDatabase if that one is of a kind that no ledger speaks. It cannot
    be reversed: that would delete the record of every task.
    """

    reduces_to_sql = True
    reversible = False

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change no models: there are none."""

    def database_forwards(self, app_label: str, schema_editor: Any, _from_state: Any, _to_state: Any) -> None:
        """Apply what is missing."""
        connection = schema_editor.connection
        if connection.alias != ledger_alias() or not router.allow_migrate(connection.alias, app_label):
            return
        dialect = dialect_of(connection)
        if schema_editor.collect_sql:  # manage.py sqlmigrate
            schema_editor.collected_sql.extend(script for _, script in migrations(dialect))
        else:
            migrate(_DjangosTransaction(DbapiTx(connection.cursor, dialect, "pyformat")))

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


def ledger_alias() -> str:
    """Return the database alias that holds the ledger."""
    alias: str = getattr(settings, "CELERY_MIREPOIX_DJANGO_ALIAS", Settings().django_alias)
    return alias

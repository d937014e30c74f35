"""Columns of the ledger as Django's models read them, whatever the database and the project's time zone."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.expressions import Col
from django.utils import timezone

from mirepoix.connect.django import dialect_of
from mirepoix.ledger.query.values import bound_moment, moment


class Moment(models.DateTimeField):  # type: ignore[misc]  # Django brings no types
    """A time of the ledger, which is UTC in every column; naive in the project's own zone without ``USE_TZ``.

    Django would read it in the zone of the connection, and on PostgreSQL alone find it right.
    """

    def get_internal_type(self) -> str:
        """No type that a backend converts by itself."""
        return "LedgerMoment"

    def from_db_value(self, value: Any, _expression: Any, connection: Any) -> datetime | None:
        """As the project has its times."""
        if connection.vendor == "postgresql" and isinstance(value, datetime) and timezone.is_naive(value):
            return value  # without USE_TZ Django's connection is in the project's zone already
        found = moment(value)
        if found is None or settings.USE_TZ:
            return found
        return timezone.make_naive(found, timezone.get_default_timezone())  # type: ignore[no-any-return]

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """As the column compares with it."""
        if not isinstance(value, datetime):
            return value
        aware = timezone.make_aware(value, timezone.get_default_timezone()) if timezone.is_naive(value) else value
        return bound_moment(aware, dialect_of(connection))


class Json(models.TextField):  # type: ignore[misc]
    """JSON, which is ``json`` in PostgreSQL and text elsewhere. Text that is no JSON is left as it is."""

    def from_db_value(self, value: Any, *_: Any) -> Any:
        """What it stands for."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            return value


class Key(models.TextField):  # type: ignore[misc]
    """What tells rows apart that several columns name together: ``first:second``, read and compared as one text.

    Django knows such keys from 5.2 on, and its admin does not know them yet.
    """

    def __init__(self, *parts: str, **options: Any) -> None:
        self.parts = parts
        super().__init__(primary_key=True, **{key: value for key, value in options.items() if key != "primary_key"})

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        """With the columns it is made of."""
        name, path, args, kwargs = super().deconstruct()
        return name, path, [*args, *self.parts], kwargs

    def get_col(self, alias: str, output_field: Any = None) -> Any:
        """All of its columns."""
        return _KeyCol(alias, self, output_field)


class _KeyCol(Col):  # type: ignore[misc]
    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        quote = connection.ops.quote_name
        columns = [f"{quote(self.alias)}.{quote(part)}" for part in self.target.parts]
        if connection.vendor == "mysql":
            return f"CONCAT_WS(':', {', '.join(columns)})", []
        texts = " || ':' || ".join(f"CAST({column} AS text)" for column in columns)
        return f"({texts})", []

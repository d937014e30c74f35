"""Fields that read the ledger's columns in the same way on each database and in each time zone."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.expressions import Col
from django.utils import timezone

from mirepoix.connect.django import dialect_of
from mirepoix.ledger.query.values import HELD_UNTIL, bound_moment, moment


class Moment(models.DateTimeField):  # type: ignore[misc]  # Django brings no types
    """A time of the ledger. Every column is in UTC. Without ``USE_TZ`` the value is naive, in the project's zone.

    Django's own field would read it in the connection's zone, which is right on PostgreSQL only.
    """

    def get_internal_type(self) -> str:
        return "LedgerMoment"

    def from_db_value(self, value: Any, _expression: Any, connection: Any) -> datetime | None:
        if connection.vendor == "postgresql" and isinstance(value, datetime) and timezone.is_naive(value):
            return value  # without USE_TZ Django's connection is in the project's zone already
        found = moment(value)
        if found is None or settings.USE_TZ:
            return found
        return timezone.make_naive(found, timezone.get_default_timezone())  # type: ignore[no-any-return]

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if not isinstance(value, datetime):
            return value
        aware = timezone.make_aware(value, timezone.get_default_timezone()) if timezone.is_naive(value) else value
        return bound_moment(aware, dialect_of(connection))


class Due(Moment):
    """When a task is due. It is None for a task that is held: its row has a due time that never comes."""

    def from_db_value(self, value: Any, _expression: Any, connection: Any) -> datetime | None:
        found = moment(value)
        return None if found is None or found >= HELD_UNTIL else super().from_db_value(value, _expression, connection)


class Json(models.TextField):  # type: ignore[misc]
    """JSON, which is ``json`` in PostgreSQL and text elsewhere. Text that is not JSON is left as it is."""

    def from_db_value(self, value: Any, *_: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            return value


class Key(models.TextField):  # type: ignore[misc]
    """A primary key of several columns, read and compared as one text: ``first:second``.

    Django has such keys from 5.2 on, but its admin does not support them.
    """

    def __init__(self, *parts: str, **options: Any) -> None:
        self.parts = parts
        super().__init__(primary_key=True, **{key: value for key, value in options.items() if key != "primary_key"})

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        return name, path, [*args, *self.parts], kwargs

    def get_col(self, alias: str, output_field: Any = None) -> Any:
        return _KeyCol(alias, self, output_field)


class _KeyCol(Col):  # type: ignore[misc]
    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        quote = connection.ops.quote_name
        columns = [f"{quote(self.alias)}.{quote(part)}" for part in self.target.parts]
        if connection.vendor == "mysql":
            return f"CONCAT_WS(':', {', '.join(columns)})", []
        texts = " || ':' || ".join(f"CAST({column} AS text)" for column in columns)
        return f"({texts})", []

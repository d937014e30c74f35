"""Schedules, and the decision about each of their fire times."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0019_schedules.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0018_returned")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

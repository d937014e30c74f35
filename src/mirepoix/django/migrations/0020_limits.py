"""Limits: how many tasks with a key may run at once, or begin in a period."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0020_limits.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0019_schedules")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

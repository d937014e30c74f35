"""Budgets of retries."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0009_retries.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0008_alerts")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

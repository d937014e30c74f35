"""What a task's steps returned."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0003_steps.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0002_results")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

"""What is paused, and what holds a task."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0021_steering.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0020_limits")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

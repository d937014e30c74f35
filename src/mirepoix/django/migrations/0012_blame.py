"""On what evidence a death is blamed on a task, and what a revocation is meant for."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0012_blame.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0011_counting")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

"""Failures that are recorded and not yet counted in their group."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0011_counting.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0010_liveness")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

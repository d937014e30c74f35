"""Results, saved groups and chords."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0002_results.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0001_initial")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

"""What an attempt ran, how long its task had waited, and the totals of pruned attempts."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0017_totals.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0016_keys")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

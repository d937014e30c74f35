"""Keys of sends that happen once."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0016_keys.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0015_ends_of_alerts")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

"""Which tasks were published to the broker."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0004_sending.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0003_steps")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

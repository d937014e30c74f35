"""When a channel was notified that an alert is over."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0015_ends_of_alerts.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0014_vacuum")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

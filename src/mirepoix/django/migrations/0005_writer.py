"""Which Celery wrote a task's message."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0005_writer.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0004_sending")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

"""Which process a worker is."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0010_liveness.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0009_retries")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

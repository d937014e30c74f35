"""How soon PostgreSQL cleans up."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0014_vacuum.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0013_decisions")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

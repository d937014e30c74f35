"""Whether the calls of a limit have weights."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0023_weights.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0022_calls_of_keys")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

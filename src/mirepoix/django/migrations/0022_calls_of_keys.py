"""An index of the calls of a limit key that have not ended."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0022_calls_of_keys.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0021_steering")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

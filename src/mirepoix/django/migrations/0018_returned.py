"""An index of the tasks that are ready again after a worker had them."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0018_returned.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0017_totals")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

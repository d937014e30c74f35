"""Failure groups and replays."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0007_failures.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0006_payloads")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

"""Versions of payloads, and what other code could take."""

from typing import Any, ClassVar

from django.db import migrations

from mirepoix.django.operation import MigrateLedger


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """``mirepoix/sql/migrations/*/0006_payloads.sql``."""

    dependencies: ClassVar[list[Any]] = [("mirepoix", "0005_writer")]
    operations: ClassVar[list[Any]] = [MigrateLedger()]

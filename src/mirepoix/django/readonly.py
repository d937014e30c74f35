"""Models that only read: what stands in the ledger is written by Mirepoix, in statements that hold its promises."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models

from mirepoix.connect.django import ledger_alias
from mirepoix.errors import WrittenThroughOrm


class LedgerQuerySet(models.QuerySet):  # type: ignore[misc]  # Django brings no types
    """Reads as any other does. Whatever would write raises WrittenThroughOrm."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise WrittenThroughOrm(self.model._meta.verbose_name_plural)

    create = bulk_create = bulk_update = update = delete = _refuse
    get_or_create = update_or_create = _refuse
    acreate = abulk_create = abulk_update = aupdate = adelete = _refuse
    aget_or_create = aupdate_or_create = _refuse
    _insert = _update = _raw_delete = _refuse


class LedgerManager(models.Manager.from_queryset(LedgerQuerySet)):  # type: ignore[misc]
    """Reads from the ledger's database, whatever the routers say of others: no router of the project is needed."""

    def get_queryset(self) -> Any:
        """All rows, in the database that ``CELERY_MIREPOIX_DJANGO_ALIAS`` names."""
        queryset = super().get_queryset()
        return queryset if self._db else queryset.using(ledger_alias())


class LedgerModel(models.Model):  # type: ignore[misc]
    """A row of the ledger, to read."""

    objects = LedgerManager()

    class Meta:
        """For each of them: Mirepoix makes the tables, and people may be allowed to view them."""

        abstract = True
        managed = False
        base_manager_name = "objects"
        default_permissions = ("view",)

    def save(self, *_: Any, **__: Any) -> NoReturn:
        """Raise WrittenThroughOrm."""
        raise WrittenThroughOrm(f"{self._meta.verbose_name} {self.pk}")

    save_base = asave = save

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        """Raise WrittenThroughOrm."""
        raise WrittenThroughOrm(f"{self._meta.verbose_name} {self.pk}")

    adelete = delete

"""Models that only read. Only Mirepoix writes the ledger, because its statements keep the promises."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models

from mirepoix.connect.django import ledger_alias
from mirepoix.errors import WrittenThroughOrm


class LedgerQuerySet(models.QuerySet):  # type: ignore[misc]  # Django brings no types
    """A query set that reads as usual. Every method that would write raises WrittenThroughOrm."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise WrittenThroughOrm(self.model._meta.verbose_name_plural)

    create = bulk_create = bulk_update = update = delete = _refuse
    get_or_create = update_or_create = _refuse
    acreate = abulk_create = abulk_update = aupdate = adelete = _refuse
    aget_or_create = aupdate_or_create = _refuse
    _insert = _update = _raw_delete = _refuse


class LedgerManager(models.Manager.from_queryset(LedgerQuerySet)):  # type: ignore[misc]
    """A manager that reads from the ledger's database, so that the project needs no router for it."""

    def get_queryset(self) -> Any:
        queryset = super().get_queryset()
        return queryset if self._db else queryset.using(ledger_alias())


class LedgerModel(models.Model):  # type: ignore[misc]
    """A row of the ledger. It can only be read."""

    objects = LedgerManager()

    class Meta:
        """Mirepoix creates the tables, and people may have the permission to view them."""

        abstract = True
        managed = False
        base_manager_name = "objects"
        default_permissions = ("view",)

    def save(self, *_: Any, **__: Any) -> NoReturn:
        raise WrittenThroughOrm(f"{self._meta.verbose_name} {self.pk}")

    save_base = asave = save

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise WrittenThroughOrm(f"{self._meta.verbose_name} {self.pk}")

    adelete = delete

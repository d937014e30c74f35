"""The corpus' tables in a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from corpus.shop import MODELS, Order
from django.db import connection, transaction

import django_site


@contextmanager
def shop(url: str, *, is_in_transaction: bool) -> Iterator[int]:
    """The tables, with one order, whose key it yields."""
    django_site.use(default=django_site.database(url))
    try:
        with connection.schema_editor() as editor:
            for model in MODELS:
                editor.create_model(model)
        outer = transaction.atomic()
        if is_in_transaction:
            outer.__enter__()
        try:
            yield Order.objects.create().pk
        finally:
            if is_in_transaction:
                transaction.set_rollback(True)
                outer.__exit__(None, None, None)
    finally:
        django_site.use()

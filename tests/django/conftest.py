"""A shop for each database, the tasks of ``django.tasks``, and the end-to-end tests' way to start processes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
from celery import _state
from shop import Shop

sys.path.append(str(Path(__file__).parents[1] / "e2e"))  # last: it has a shop.py of its own


@pytest.fixture
def shop(ledger_url: str) -> Iterator[Shop]:
    """A Django project whose ledger is in its default database, once for each kind of database."""
    shop = Shop(ledger_url)
    yield shop
    shop.close()


@pytest.fixture
def jobs(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of tasks, imported anew, for this test's app alone."""
    monkeypatch.setattr(_state, "_apps", WeakSet([shop.app]))
    others = set(_state._on_app_finalizers)
    yield importlib.import_module("jobs")
    _state._on_app_finalizers.intersection_update(others)
    del sys.modules["jobs"]

"""Fixtures for the tests of a Django project. With pytest-django, a test that uses them has database access."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mirepoix.django import test


@pytest.fixture
def run_tasks(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run the sent tasks in this thread and through real serialisation: `mirepoix.django.test.run_tasks`."""
    _allow_database(request)
    return test.run_tasks


@pytest.fixture
def running_tasks(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run the sent tasks when a block ends: `mirepoix.django.test.running_tasks`."""
    _allow_database(request)
    return test.running_tasks


def _allow_database(request: pytest.FixtureRequest) -> None:
    """Do what pytest-django's fixture ``db`` does, unless the test itself asks for another kind of database access."""
    if request.config.pluginmanager.hasplugin("django") and "transactional_db" not in request.fixturenames:
        request.getfixturevalue("db")

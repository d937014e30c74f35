"""Fixtures for the tests of a Django project; with pytest-django, a test that uses one has a database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mirepoix.django import test


@pytest.fixture
def run_tasks(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`mirepoix.django.test.run_tasks`: run what was sent, in this thread and through real serialisation."""
    _allow_database(request)
    return test.run_tasks


@pytest.fixture
def running_tasks(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`mirepoix.django.test.running_tasks`: the same at the end of a block, after its ``on_commit()`` functions."""
    _allow_database(request)
    return test.running_tasks


def _allow_database(request: pytest.FixtureRequest) -> None:
    """What pytest-django's fixture ``db`` does, unless the test asks for a database of another kind itself."""
    if request.config.pluginmanager.hasplugin("django") and "transactional_db" not in request.fixturenames:
        request.getfixturevalue("db")

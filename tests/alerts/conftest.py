"""A hook and a postbox for each test that wants one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))

from receivers import Hook, Postbox, http, smtp


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook."""
    with http() as hook:
        yield hook


@pytest.fixture
def post() -> Iterator[tuple[Postbox, int]]:
    """A postbox and its SMTP port."""
    with smtp() as post:
        yield post

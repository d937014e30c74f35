"""What a test needs and this machine has not: a reason to skip at home, and to fail in CI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(message: str) -> NoReturn:
    """Skip the test, with *message*; fail it if CI is set, where nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)

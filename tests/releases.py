"""Which Celery is tested, and what its older releases do not do, whatever the ledger does."""

from __future__ import annotations

import celery
import pytest

CELERY = tuple(int(word) for word in celery.__version__.split(".")[:2])


def since(*version: int, otherwise: str) -> pytest.MarkDecorator:
    """Skip the test before that *version* of Celery: *otherwise* says what it did."""
    return pytest.mark.skipif(version > CELERY, reason=f"Celery before {'.'.join(map(str, version))}: {otherwise}")


SENT_ONCE = since(5, 7, otherwise="a signature that holds others keeps the ids of its first sending: clone() it")

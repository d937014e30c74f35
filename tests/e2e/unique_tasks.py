"""Unique tasks of the shop."""

from __future__ import annotations

from typing import Any

from shop import app, run


@app.task(bind=True, unique=True, max_retries=3)
def sync(self: Any, customer: str) -> None:
    """Ask to run again twice, with the same key."""
    with run(self):
        if self.request.retries < 2:
            raise self.retry(countdown=0)

"""The users of the tests, their app, and where a page has its form token."""

from __future__ import annotations

import re
from typing import Any

from celery import Celery

import mirepoix
from mirepoix.dashboard.access import hashed

PASSWORD = "a long password"
HASH = hashed(PASSWORD)
USERS = {
    "vera": f"view {HASH}",
    "arno": f"arguments {HASH}",
    "ana": f"act,arguments {HASH}",
    "root": f"administer {HASH}",
}
TOKEN = re.compile(r'name="form_token" value="(\w+)"')


def shop(url: str) -> Celery:
    """An app with that ledger, and one task."""
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, url)

    @app.task(name="shop.payments.charge", shared=False)
    def charge(order: str, details: dict[str, Any], card: str, password: str, note: str) -> None: ...

    return app

"""The dashboard on a ledger of the tests' own, and browsers of several users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Celery
from people import PASSWORD, TOKEN, USERS, shop
from scenery import Scenery
from starlette.testclient import TestClient

from driver import Ledger
from mirepoix.dashboard import asgi


@dataclass
class Browser:
    """A client that keeps cookies, and sends the form token as a page's form would."""

    client: TestClient

    def get(self, path: str, code: int = 200, **given: Any) -> str:
        """The page."""
        answer = self.client.get(path, **given)
        assert answer.status_code == code, (path, answer.status_code, answer.text[:500])
        return answer.text

    def token(self, path: str = "/") -> str:
        """The form token on a page."""
        found = TOKEN.search(self.client.get(path).text)
        assert found is not None
        return found[1]

    def post(self, path: str, code: int = 200, token: str | None = None, **form: Any) -> str:
        """The page after a form was sent and its redirections were followed."""
        data = {"form_token": self.token() if token is None else token, **form}
        answer = self.client.post(path, data=data)
        assert answer.status_code == code, (path, answer.status_code, answer.text[:500])
        return answer.text


@pytest.fixture
def celery_app(ledger_url: str) -> Celery:
    """An app with the ledger, and one task."""
    return shop(ledger_url)


@pytest.fixture
def scenery(ledger: Ledger) -> Scenery:
    """A ledger in which everything happens."""
    return Scenery(ledger)


@pytest.fixture
def dashboard(celery_app: Celery) -> Any:
    """The dashboard with four users."""
    return asgi(celery_app, users=USERS, secret="for tests")


@pytest.fixture
def visit(dashboard: Any) -> Callable[..., Browser]:
    """Makes the browser of a user who has logged in: ``visit("ana")``; of nobody: ``visit(None)``."""

    def open_(name: str | None, app: Any = None, **given: Any) -> Browser:
        browser = Browser(TestClient(app or dashboard, base_url="http://testserver", **given))
        if name is not None:
            browser.post("/login", token=browser.token("/login"), name=name, password=PASSWORD)
        return browser

    return open_

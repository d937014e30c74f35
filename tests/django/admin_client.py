"""Somebody at the admin of a shop."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from shop import Shop

LIST = "/admin/mirepoix/task/"


class AdminClient:
    """A person at the admin."""

    def __init__(self, shop: Shop, *permissions: str, is_master: bool = False) -> None:
        self.shop = shop
        self.user = User.objects.create_user("ann", is_staff=True, is_superuser=is_master)
        self.user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        self.client = Client()
        self.client.force_login(self.user)

    def page(self, url: str = LIST, status: int = 200, **query: Any) -> str:
        return self._text(self.client.get(url, query), status)

    def ids(self, **query: Any) -> list[str]:
        """What the list shows, by the ids of its checkboxes or links."""
        return re.findall(r'href="/admin/mirepoix/task/([^/"]+)/change/[^"]*">', self.page(**query))

    def act(self, verb: str, *ids: str, **more: Any) -> str:
        """Choose an action for some of the list."""
        data = {"action": f"{verb}_tasks", "_selected_action": ids, "index": 0, **more}
        return self._text(self.client.post(LIST, data, follow=True))

    def confirm(self, page: str, **more: Any) -> str:
        """Say yes to the question on *page*."""
        (url,) = re.findall(r'action="([^"]+/decide/[^"]+)"', page)
        (ids,) = re.findall(r"<textarea[^>]*>([^<]*)</textarea>", page)
        data = {"ids": ids, "is_sure": "yes", "reason": "a fixed card reader", **more}
        return self._text(self.client.post(url, data, follow=True))

    def decide(self, verb: str, ids: str, status: int = 200, **more: Any) -> str:
        return self._text(self.client.post(f"{LIST}decide/{verb}/", {"ids": ids, **more}, follow=True), status)

    @staticmethod
    def _text(response: Any, status: int = 200) -> str:
        assert response.status_code == status, response.content[:500]
        return unescape(response.content.decode())

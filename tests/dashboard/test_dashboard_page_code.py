"""The code on the page about the dashboard runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path

from celery import Celery
from starlette.testclient import TestClient

import mirepoix
from mirepoix.dashboard import asgi

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "dashboard.md"


def test_every_block_runs_and_the_mounted_site_answers(sqlite_url):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        app = Celery("shop", set_as_current=False)
        mirepoix.install(app, sqlite_url)
        names = {"app": app}
        exec(block, names)
        if "site" not in names:
            asgi(app)
            continue
        client = TestClient(names["site"])
        assert client.get("/ops/tasks/").status_code == 401
        assert client.get("/ops/tasks/queues", headers={"cookie": "staff=ana"}).status_code == 200

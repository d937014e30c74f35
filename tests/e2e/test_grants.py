"""The grants of docs/how-to/connections.md suffice: to send, to work, to look and to decide."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from celery import chord
from click.testing import CliRunner, Result
from workers import Shop

from mirepoix.cli.main import mirepoix
from mirepoix.connect.url import source_for
from servers import MariadbServer, Served

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "connections.md"
ROLE = "shop_app"


def granted(served: Served) -> str:
    """Make the role, grant it what the page says, and return its URL."""
    postgresql, mysql = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    parts = urlsplit(served.url)
    database = parts.path.strip("/")
    source = source_for(served.url)
    connection = source.open()
    with connection.transaction() as tx:
        if isinstance(served.server, MariadbServer):
            tx.script(f"CREATE OR REPLACE USER '{ROLE}'@'%'")
            tx.script(mysql.replace("shop.*", f"{database}.*"))
        else:
            tx.script(f"CREATE ROLE {ROLE} LOGIN")
            tx.script(postgresql)
    connection.close()
    source.close()
    return urlunsplit(parts._replace(netloc=f"{ROLE}@127.0.0.1:{parts.port}"))


@pytest.fixture
def shop(served: Served, tmp_path: Path):
    with Shop(tmp_path / "shop", granted(served)) as shop:
        yield shop
    if not isinstance(served.server, MariadbServer):
        with served.server.connected() as connection:
            connection.execute(f"DROP OWNED BY {ROLE}")
        source = source_for(served.url)
        owner = source.open()
        with owner.transaction() as tx:
            tx.script(f"DROP OWNED BY {ROLE};\nDROP ROLE {ROLE}")
        owner.close()
        source.close()


def done(shop: Shop, command: str) -> Result:
    """What a command says with the role's URL."""
    return CliRunner().invoke(mirepoix, ["--ledger", shop.url, *command.split()], env={"MIREPOIX_APP": None})


def test_a_role_with_the_documented_grants_can_do_all_but_migrate(shop: Shop):
    worker = shop.worker(retention_s=3600.0)
    body = chord([shop.task("add", 1, 2), shop.task("add", 3, 4)], shop.task("note")).apply_async()
    tasks = [body.id, shop.send("again", 1, 0.01), shop.send("fail"), shop.send("spin", 0.0, countdown=0.05)]
    shop.wait(tasks)
    assert sorted(shop.state(id) for id in tasks) == ["failed", "succeeded", "succeeded", "succeeded"]
    assert shop.app.control.ping(timeout=5.0, limit=1)
    for command in ("health", "status", "tasks", "failures", "parked", f"show {tasks[2]}", f"retry {tasks[2]}"):
        said = done(shop, command)
        assert said.exit_code == 0, said.output
    assert done(shop, "prune --older-than 1h").exit_code == 0
    assert done(shop, "drop-tables --yes --force").exit_code == 2
    assert worker.stop().exit_code == 0
    source = shop.ledger.source
    lock = source.hold_liveness("w9", 9)
    source.hold_liveness("w9", 9, before=lock).close()  # it ends the session that holds it
    lock.close()
    assert "denied" not in worker.said

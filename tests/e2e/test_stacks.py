"""The Python stack of a task that runs, from its worker, and what is answered if it cannot be had."""

from __future__ import annotations

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from kombu.pidbox import Mailbox
from starlette.testclient import TestClient
from workers import Shop

from mirepoix.celery import stacks
from mirepoix.dashboard import Role, User, asgi
from pace import DEADLINE_S, until

pytestmark = pytest.mark.slow


def running(shop: Shop) -> str:
    """A task that runs until the file `open` is made."""
    id = shop.send("gate", "open")
    shop.begun(id)
    until(lambda: shop.row(id)["state"] == "running", "its start is recorded")
    return id


def requests(shop: Shop) -> int:
    """How many requests for a stack are in the ledger."""
    sql = "SELECT count(*) FROM mirepoix_message WHERE message LIKE :like"
    return shop.ledger.query(sql, like=f"%{stacks.COMMAND}%")[0][0]


@pytest.mark.parametrize("pool", ["prefork", "mirepoix-asyncio", "threads"])
def test_a_running_task_shows_its_stack_and_goes_on(shop: Shop, pool: str) -> None:
    worker = shop.worker(pool=pool)
    id = running(shop)
    found = stacks.ask(shop.app, "w1@test", id, DEADLINE_S)
    assert found.trouble == ""
    assert "most recent call first" in found.text
    assert 'shop.py", line' in found.text
    assert " in gate" in found.text
    assert found.pid in ([worker.pid] if pool == "threads" else worker.children())
    again = stacks.ask(shop.app, "w1@test", id, DEADLINE_S).text
    assert again.count(" in gate") == 1
    assert "\0" not in again
    assert "does not run in this worker" in stacks.ask(shop.app, "w1@test", "another", DEADLINE_S).trouble
    shop.make("open")
    shop.wait(id, "succeeded")
    assert shop.runs(id) == 1


def test_a_frozen_worker_or_process_gives_no_answer_in_bounded_time(
    postgresql_url: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Shop(tmp_path / "shop", postgresql_url) as shop:
        worker = shop.worker(concurrency=1)
        id = running(shop)
        (process,) = worker.children()
        os.kill(process, signal.SIGSTOP)
        until(lambda: stacks._status(process)["State"][0] in "Tt", "it is stopped")
        asked = stacks.ask(shop.app, "w1@test", id, DEADLINE_S)
        assert asked.trouble == f"process {process} gave no answer: it is stopped"
        os.kill(process, signal.SIGCONT)
        worker.freeze()
        monkeypatch.setattr(Mailbox, "oid", "one")  # kombu makes it of an address, which may be the same
        assert "w1@test gave no answer in 0.1 s" in stacks.ask(shop.app, "w1@test", id, 0.1).trouble
        before = requests(shop)
        with ThreadPoolExecutor(1) as pool:  # the answer to the first request comes while the second waits
            second = pool.submit(stacks.ask, shop.app, "w1@test", id, DEADLINE_S)
            until(lambda: requests(shop) > before, "the second request is in the ledger")
            worker.thaw()
            found = second.result()
        assert found.trouble == ""
        assert " in gate" in found.text
        assert "\0" not in found.text


def test_the_command_prints_it_and_records_who_asked(postgresql_url: str, tmp_path) -> None:
    with Shop(tmp_path / "shop", postgresql_url) as shop:
        shop.worker(concurrency=1)
        id = running(shop)
        ran = shop.celery("mirepoix", "stack", id[:8], "--by", "ana", "--wait", "30s")
        assert " in gate" in ran.stdout, ran.stderr
        assert json.loads(shop.celery("mirepoix", "stack", id, "--json").stdout)["stack"]["trouble"] == ""
        acts = shop.ledger.query("SELECT task_id, verb, decided_by FROM mirepoix_decision ORDER BY decided_at")
        assert acts[0] == (id, "stack", "ana")
        dashboard = asgi(shop.app, authorize=lambda _: User("ben", frozenset({Role.ARGUMENTS})))
        client = TestClient(dashboard)
        token = re.search(
            r'action="/stack"><input type="hidden" name="form_token" value="(\w+)"', client.get("/workers").text
        )
        page = client.post("/stack", data={"form_token": token[1], "id": id}).text
        assert " in gate" in page
        assert "stack by ben" in client.get(f"/tasks/{id}").text
        shop.make("open")
        shop.wait(id, "succeeded")
        refused = shop.celery("mirepoix", "stack", id)
        assert refused.returncode == 2
        assert "does not run: it is succeeded" in refused.stderr

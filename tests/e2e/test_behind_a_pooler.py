"""Workers of an app whose programs send through pgbouncer."""

from __future__ import annotations

from pathlib import Path

from workers import Shop

from pgbouncer import Pgbouncer


def test_a_worker_refuses_a_shared_session_and_works_at_a_url_of_its_own(postgresql_url: str, tmp_path: Path):
    with Pgbouncer(postgresql_url) as pooler, Shop(tmp_path / "shop", pooler.url) as shop:
        refused = shop.worker("refused", is_awaited=False).ends()
        assert refused.exit_code != 0
        assert "Give workers the server's own address" in refused.said
        assert "Traceback" not in refused.said
        sent = [shop.send("add", 1, 2), shop.send("again", 1, 0.01), shop.send("fail")]
        worker = shop.worker(worker_url=postgresql_url)
        assert shop.app.AsyncResult(sent[0]).get(timeout=60) == 3
        shop.wait(sent)
        assert shop.app.control.ping(timeout=10.0, limit=1) == [{"w1@test": {"ok": "pong"}}]
        assert worker.stop().exit_code == 0

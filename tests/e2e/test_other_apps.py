"""A worker says which tasks of its process another app, without a ledger, would send."""

from __future__ import annotations

from pathlib import Path

from workers import Shop

OTHER = """
reports = Celery("reports", broker="memory://", set_as_current=False)

@reports.task
def build(): ...
"""


def test_a_worker_names_the_tasks_that_go_past_its_ledger_by_another_app(sqlite_url: str, tmp_path: Path):
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        with (shop.folder / "shop.py").open("a") as module:
            module.write(OTHER)
        worker = shop.worker(pool="solo").stop()
        warning = "1 task(s) of the Celery app 'reports' go to a broker of its own and never reach the ledger"
        assert f"{warning}: shop.build." in worker.said

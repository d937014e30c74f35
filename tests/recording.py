"""Ledgers with a record of runs, for what reads it: `mirepoix tune` and its page."""

from __future__ import annotations

from driver import Ledger

NOW = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now', '-{0} seconds')",
    "mysql": "UTC_TIMESTAMP(6) - INTERVAL {0} SECOND",
}


def ago(ledger: Ledger, seconds: float) -> str:
    """That moment, in SQL."""
    return NOW.get(ledger.source.dialect, "statement_timestamp() - {0} * interval '1 second'").format(seconds)


def ran_one_after_another(ledger: Ledger, count: int, name: str = "shop.mail", run_s: float = 0.9) -> None:
    """Tasks that ran one after another on the one process of a worker ``w``, each as soon as it was ready."""
    ledger.worker("w")
    ledger.write(
        "UPDATE mirepoix_worker SET concurrency = 1, pool = 'prefork', queues = '[\"celery\"]',"
        f" started_at = {ago(ledger, 5_000)} WHERE id = 'w'"
    )
    ledger.send(*(f"{name}{n}" for n in range(count)), name=name)
    taken = [lease for _ in range(count // 100 + 1) for lease in ledger.take("w", 100)]
    for one in taken:
        ledger.succeed(one.lease)
    numbers = {one.lease.task_id: n for n, one in enumerate(taken)}
    with ledger.connection.transaction() as tx:
        for task_id, n in numbers.items():
            at = 1_000 - n
            tx.script(
                f"UPDATE mirepoix_task SET waited_s = 0.004, leased_at = {ago(ledger, at)}, run_time_s = {run_s},"
                f" started_at = {ago(ledger, at)}, finished_at = {ago(ledger, at - run_s)}, peak_memory_kb = 90000"
                f" WHERE id = '{task_id}'"
            )

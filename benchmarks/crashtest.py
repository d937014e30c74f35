"""What the crash-point tester costs, on SQLite and PostgreSQL: ``python -m benchmarks.crashtest``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "crashtest")]


def main() -> None:
    """Print a table."""
    import psycopg
    from corpus.apps import plain
    from corpus.database import shop
    from corpus.shop import Line, Order

    from servers import PostgresServer, require_postgres

    @plain.task(shared=False, name="ten_points")
    def ten_points(order):
        for number in range(5):
            Order.objects.filter(pk=order).update(total=number)
        for number in range(5):
            Order.objects.filter(pk=order).update(count=number)

    @plain.task(shared=False, name="import_rows")
    def import_rows(order):
        for number in range(300):
            Line.objects.create(name=f"row {number}")

    folder = tempfile.TemporaryDirectory()
    server = PostgresServer(require_postgres())
    server.start()
    urls = {"SQLite": "sqlite:///:memory:", "PostgreSQL": server.url()}
    print("| task | database | mode | crashes | deliveries | seconds |\n|---|---|---|---|---|---|")
    try:
        for database, url in urls.items():
            with shop(url, is_in_transaction=True) as order:
                for task, mode, more in (
                    (ten_points, "sampled", {}),
                    (ten_points, "sampled", {"second": True}),
                    (ten_points, "exhaustive", {}),
                    (import_rows, "sampled", {}),
                    (import_rows, "sampled", {"second": True}),
                ):
                    _row(task, order, f"{database}, savepoints", mode, more)
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE another")
        urls = {"SQLite": f"sqlite:///{folder.name}/shop.db", "PostgreSQL": server.url("another")}
        for database, url in urls.items():
            with shop(url, is_in_transaction=False) as order:
                for more in ({}, {"kill": True}):
                    _row(ten_points, order, f"{database}, real commits", "sampled", more)
                if database == "PostgreSQL":
                    with psycopg.connect(url, autocommit=True) as connection:
                        rows = "SELECT id, repeat('x', 200) FROM generate_series(1, 100) id"
                        for number in range(150):
                            connection.execute(f"CREATE TABLE other_{number} AS {rows}")
                    _row(ten_points, order, f"{database}, real commits, 150 more tables of 100 rows", "sampled", {})
    finally:
        server.remove()
        folder.cleanup()
    print(f"\nThe plugin, unused, adds {_import_ms():.1f} ms to the start of pytest (best of 9).")


def _row(task, order, state, mode, more):
    from mirepoix.crashtest.check import explore

    tried = explore(task, (order,), mode=mode, budget_s=600, **more).explored
    words = ", ".join([mode, *more])
    print(f"| {task.name} | {state} | {words} | {len(tried.tried)} | {tried.deliveries} | {tried.took_s:.2f} |")


def _import_ms() -> float:
    code = (
        "import pytest, time; began = time.perf_counter(); import mirepoix.pytest.plugin; "
        "print((time.perf_counter() - began) * 1000)"
    )
    times = []
    for _ in range(9):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(float(done.stdout))
    return min(times)


if __name__ == "__main__":
    began_at = time.monotonic()
    main()
    print(f"{time.monotonic() - began_at:.0f} s in all.")

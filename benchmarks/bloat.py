"""What running tasks leaves behind in PostgreSQL's tables: ``python -m benchmarks.bloat``.

Tasks stand in a table with a history, then they are taken, noted as begun, and finished in batches, as workers do; one
of ten fails. A worker's heartbeat goes on beside. Printed are the size of the table, the rows that are dead and not yet
vacuumed, what autovacuum did, and how many updates were HOT (no index was written). ``--set`` tries other settings.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from benchmarks import client
from benchmarks.growth import clone
from benchmarks.machine import load, print_header
from benchmarks.servers import Server, servers

BATCH = 50
TABLES = ("mirepoix_task", "mirepoix_worker", "mirepoix_attempt")


def run(server: Server, history: int, tasks: int, settings: str) -> None:
    from mirepoix.connect.url import source_for
    from mirepoix.ledger import counting, finish, take, workers
    from mirepoix.records import AttemptFailure, Completion, Worker

    server.reset()
    client.send(server, "single", 1)
    server.execute("UPDATE mirepoix_task SET state = 'parked', finished_at = now()")
    model = server.execute("SELECT min(id) FROM mirepoix_task", rows=True)[0][0]
    if settings:
        server.execute(f"ALTER TABLE mirepoix_task SET ({settings})")
    clone(server, model, history, finished=True)
    clone(server, model, tasks)
    server.execute("VACUUM FREEZE ANALYZE", "CHECKPOINT", "SELECT pg_stat_reset()")
    before = size(server)
    connection = source_for(server.url).open()
    worker = Worker(id="w1", name="w1@host", host="host", pid=1, queues=("celery",))
    with connection.transaction() as tx:
        workers.register(tx, worker, 30.0)
    began, beat, most = time.monotonic(), 0.0, before
    while True:
        with connection.transaction() as tx:
            leases = [taken.lease for taken in take.take(tx, "w1", ["celery"], BATCH)]
        if not leases:
            break
        with connection.transaction() as tx:
            take.start(tx, "w1", [(lease, 0.0, 1) for lease in leases])
        fail, succeed = leases[: BATCH // 10], leases[BATCH // 10 :]
        with connection.transaction() as tx:
            finish.succeed(tx, "w1", [Completion(lease, run_time_s=0.1) for lease in succeed])
        for lease in fail:
            with connection.transaction() as tx:
                finish.fail(tx, lease, AttemptFailure("ValueError: no", "builtins.ValueError", "Traceback"))
        if time.monotonic() - beat > 0.5:
            beat = time.monotonic()
            with connection.transaction() as tx:
                workers.heartbeat(tx, "w1", 30.0)
            counting.count_all(connection)
            most = max(most, size(server))
    rate = tasks / (time.monotonic() - began)
    connection.close()
    time.sleep(1.0)  # until the session's statistics are told
    print(f"{settings or 'as migrated'}: {rate:.0f} tasks/s", flush=True)
    print(f"  mirepoix_task: {before / 1e6:.0f} MB before, {most / 1e6:.0f} MB at the most; its indexes: ", end="")
    print(f"{server.execute(INDEXES, rows=True)[0][0] / 1e6:.0f} MB")
    for row in server.execute(STATISTICS, rows=True):
        print("  {}: {:,} updates, {:,} HOT, {:,} dead rows, {} times vacuumed".format(*row), flush=True)


INDEXES = "SELECT pg_indexes_size('mirepoix_task')"
STATISTICS = f"""SELECT relname, n_tup_upd, n_tup_hot_upd, n_dead_tup, autovacuum_count FROM pg_stat_user_tables
                  WHERE relname IN {TABLES} ORDER BY relname"""


def size(server: Server) -> Any:
    return server.execute("SELECT pg_table_size('mirepoix_task')", rows=True)[0][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", type=int, default=300_000, help="finished tasks (default 300,000)")
    parser.add_argument("--tasks", type=int, default=60_000, help="tasks that are run (default 60,000)")
    parser.add_argument("--naptime", type=int, default=10, help="how often autovacuum looks, in seconds (default 10)")
    parser.add_argument("--set", action="append", default=[], help="storage parameters to try, e.g. 'fillfactor = 70'")
    given = parser.parse_args()
    with servers("postgresql") as (server,):
        nap = f"autovacuum_naptime {given.naptime} s"
        print_header(f"Bloat ({given.history:,} finished, {given.tasks:,} run)", [server], nap)
        server.execute(f"ALTER SYSTEM SET autovacuum_naptime = '{given.naptime}s'", "SELECT pg_reload_conf()")
        for settings in given.set or [""]:
            run(server, given.history, given.tasks, settings)
        print(f"load after: {load()}")


if __name__ == "__main__":
    main()

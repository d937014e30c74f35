"""What the operator's looks cost on a big ledger: ``python -m benchmarks.looks``.

The rows are made by SQL: finished tasks 20 ms apart (so that more ended in the last hour than are counted), waiting
ones (a tenth scheduled, some retried or given back by an attempt), failed and quarantined ones, workers alive and
dead. Each look is taken several times on one connection. Printed are the time from the first statement to the last
row, the processor's time that the database took for it, and the statements that took longest.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from benchmarks import client
from benchmarks.machine import cpu_s, load, print_header
from benchmarks.servers import LEDGERS, Server, servers

COLUMNS = "name, content_type, content_encoding, body_encoding, body, headers, properties, exchange, routing_key, shape"
WORKERS = 20
CHUNK = 1_000_000


def fill(server: Server, finished: int, waiting: int) -> None:
    """A ledger with that history."""
    server.reset()
    client.send(server, "single", 1)
    server.execute(f"UPDATE mirepoix_task SET state = 'cancelled', finished_at = {_ago(server, '0')}")
    model = server.execute("SELECT min(id) FROM mirepoix_task", rows=True)[0][0]
    later, alive = _ago(server, "-3600"), "'2999-01-01 00:00:00'"
    for n in range(WORKERS * 2):
        state = "alive" if n < WORKERS else "dead"
        ended = "NULL" if n < WORKERS else _ago(server, "100000")
        server.execute(
            "INSERT INTO mirepoix_worker (id, name, host, pid, queues, software, state, alive_until, ended_at) VALUES"
            f" ('w{n}', 'shop{n}@host', 'host', {n}, '[\"q0\", \"q1\"]', '{{}}', '{state}', {alive}, {ended})"
        )
    for start in range(0, finished, CHUNK):
        at = _ago(server, f"(n + {start}) * 0.02")
        more = f"'q0', 'succeeded', 1, {at}, {at}, {at}, {at}, 0.001, {_text(server, 'w', f'n % {WORKERS}')}, NULL"
        _insert(server, model, min(CHUNK, finished - start), f"done{start // CHUNK}-", more)
    at = _ago(server, f"({waiting} - n) * 0.01")
    queue, due = _text(server, "q", "n % 5"), f"CASE WHEN n % 10 = 0 THEN {later} END"
    fence = "CASE WHEN n % 5 = 1 OR n % 50 = 2 THEN 1 ELSE 0 END"
    values = f"{queue}, 'pending', {fence}, {at}, {at}, NULL, NULL, NULL, NULL, {due}"
    _insert(server, model, waiting, "wait-", values)
    server.execute(f"UPDATE mirepoix_task SET eta = {_ago(server, '1')} WHERE state = 'pending' AND seq % 5 = 1")
    server.execute(
        "INSERT INTO mirepoix_attempt (task_id, fence, outcome, finished_at)"
        " SELECT id, fence, 'returned', created_at FROM mirepoix_task WHERE state = 'pending' AND fence = 1"
    )
    for state, count in (("failed", 20_000), ("quarantined", 500), ("parked", 500)):
        worker = _text(server, "w", f"n % {WORKERS}")
        _insert(server, model, count, f"{state}-", f"'q0', '{state}', 1, {at}, {at}, {at}, {at}, 0.1, {worker}, NULL")
    tidy = {"postgresql": ("VACUUM ANALYZE", "CHECKPOINT"), "mariadb": ("ANALYZE TABLE mirepoix_task",)}
    server.execute(*tidy.get(server.name, ("ANALYZE",)))


def _insert(server: Server, model: str, count: int, prefix: str, values: str) -> None:
    of = ", ".join(f"t.{column}" for column in COLUMNS.split(", "))
    number = f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) SELECT n FROM c) AS c"
    if server.name == "postgresql":
        number = f"generate_series(1, {count}) AS s(n)"
    prelude = ["SET SESSION max_recursive_iterations = 10000000"] if server.name == "mariadb" else []
    server.execute(
        *prelude,
        f"INSERT INTO mirepoix_task (id, {COLUMNS}, queue, state, fence, created_at, leased_at, started_at,"
        f" finished_at, run_time_s, worker_id, due_at) SELECT {_text(server, prefix, '1000000000 + n')}, {of}, {values}"
        f" FROM (SELECT * FROM mirepoix_task WHERE id = '{model}') AS t CROSS JOIN {number}",
    )


def _ago(server: Server, seconds: str) -> str:
    spelled = {
        "postgresql": f"now() - ({seconds}) * interval '1 second'",
        "mariadb": f"UTC_TIMESTAMP(6) - INTERVAL ({seconds}) SECOND",
        "sqlite": f"strftime('%Y-%m-%d %H:%M:%f', 'now', (-({seconds})) || ' seconds')",
    }
    return spelled[server.name]


def _text(server: Server, prefix: str, number: str) -> str:
    if server.name == "mariadb":
        return f"concat('{prefix}', {number})"
    return f"'{prefix}' || ({number})"


def looks() -> dict[str, Callable[[Any], object]]:
    """Each by the command that takes it."""
    from mirepoix.ledger import alerts, sending
    from mirepoix.ledger.query.recorded import recorded
    from mirepoix.ledger.query.tasks import Filters, search
    from mirepoix.operations import health
    from mirepoix.operations.look import look_in
    from mirepoix.states import State

    def status(tx: Any) -> None:
        health.overview(tx, 60.0)
        alerts.all_open(tx)

    def probe(tx: Any) -> None:
        health.overview(tx, 300.0)
        alerts.all_open(tx)
        sending.leader(tx)
        sending.count_unsent(tx)

    return {
        "status": status,
        "top, and the dashboard's overview": look_in,
        "tune": lambda tx: recorded(tx, 86_400.0, 20_000),
        "health": probe,
        "tasks": lambda tx: search(tx, Filters(), 51),
        "tasks --name '*nothing*'": lambda tx: search(tx, Filters(name="*nothing*"), 51),
        "tasks --name '*oop*' (1,000, as the admin)": lambda tx: search(tx, Filters(name="*oop*"), 1001),
        "the admin's search for 'nothing'": lambda tx: search(tx, Filters(name="*nothing*", among=200_000), 1001),
        "tasks --worker 'shop7@*'": lambda tx: search(tx, Filters(worker="shop7@*"), 51),
        "tasks --worker 'nobody@*'": lambda tx: search(tx, Filters(worker="nobody@*"), 51),
        "tasks --state failed": lambda tx: search(tx, Filters(states=frozenset({State.FAILED})), 51),
        "tasks --since 1h --limit 1000": lambda tx: search(tx, Filters(since=timedelta(hours=1)), 1001),
    }


def measure(server: Server, rounds: int) -> None:
    """Print what each look took."""
    from mirepoix.connect.url import source_for

    connection = source_for(server.url).open()
    for label, look in looks().items():
        times, spent = [], {}
        cpu = used(server, connection)
        for _ in range(rounds):
            with connection.reading() as tx:
                timed = Timed(tx, spent)
                began = time.perf_counter()
                look(timed)
                times.append(time.perf_counter() - began)
                if times[-1] > 20:
                    break
        longest = sorted(spent.items(), key=lambda one: -one[1])[:4]
        said = ", ".join(f"{name} {1000 * seconds / len(times):.0f}" for name, seconds in longest)
        cpu_ms = 1000 * (used(server, connection) - cpu) / len(times)
        print(f"  {label:44} {1000 * statistics.median(times):8.0f} ms, CPU {cpu_ms:.0f}: {said}", flush=True)
    connection.close()


def used(server: Server, connection: Any) -> float:
    """The processor seconds of the database so far: of its one session, of a server that does nothing else, of us."""
    if server.name == "sqlite":
        return time.process_time()
    return cpu_s(connection.raw.info.backend_pid) if server.name == "postgresql" else server.cpu_s()


class Timed:
    """A transaction that notes how long each statement takes."""

    def __init__(self, tx: Any, spent: dict[str, float]) -> None:
        self._tx, self._spent = tx, spent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def fetch(self, statement: str, /, **params: Any) -> Any:
        return self._timed(statement, lambda: self._tx.fetch(statement, **params))

    def query(self, sql: str, /, **params: Any) -> Any:
        return self._timed("query", lambda: self._tx.query(sql, **params))

    def _timed(self, name: str, act: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        found = act()
        self._spent[name] = self._spent.get(name, 0.0) + time.perf_counter() - began
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=list(LEDGERS))
    parser.add_argument("--hold", action="store_true", help="keep the servers until Enter is pressed")
    given = parser.parse_args()
    with servers(*given.systems) as systems:
        how = f"{given.finished:,} finished, {given.waiting:,} waiting"
        print_header(f"The operator's looks ({given.rounds} rounds)", systems, how)
        for server in systems:
            began = time.perf_counter()
            fill(server, given.finished, given.waiting)
            print(f"{server.label}: filled in {time.perf_counter() - began:.0f} s ({server.url})", flush=True)
            measure(server, given.rounds)
        print(f"load after: {load()}")
        if given.hold:
            input("Enter ends the servers: ")


if __name__ == "__main__":
    main()

"""What a task costs when many wait and when many are done: ``python -m benchmarks.growth``.

Both kinds of row are cloned by SQL from tasks that Celery sent. While a worker drains, the queue is filled up to its
size again, so each state of the table holds for the whole measurement; the filling costs the same in all of them. Then
the plans of the hot statements are shown, each run in a transaction that is rolled back.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import uuid

from benchmarks import client
from benchmarks.machine import Span, load, print_header
from benchmarks.servers import LEDGERS, Server, servers
from benchmarks.worker import Worker

COLUMNS = "name, queue, content_type, content_encoding, body_encoding, body, properties, exchange, routing_key, shape"
STEP = 500


def clone(server: Server, model: str, count: int, *, finished: bool = False) -> None:
    """Add *count* rows like the task *model*."""
    # Half a second apart, a million of them are younger than what the worker prunes.
    # Scattered as the ids of Celery are, and the same for one n wherever it stands in the statement.
    unique = uuid.uuid4().hex[8:]
    if server.name == "postgresql":
        id = f"lpad(to_hex(n::bigint * 2654435761 % 4294967296), 8, '0') || '{unique}'"
        number = f"generate_series(1, {count}) AS s(n)"
        moment, wake = "now() - n * interval '0.5 second'", "SELECT pg_notify('mirepoix', '')"
        headers = f"replace(t.headers::text, t.id, {id})::json"
    elif server.name == "mariadb":
        id = f"concat(lpad(lower(hex(n * 2654435761 % 4294967296)), 8, '0'), '{unique}')"
        number = (
            f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) SELECT n FROM c) AS c"
        )
        moment, wake = "UTC_TIMESTAMP(6) - INTERVAL n * 0.5 SECOND", "SELECT 1"
        headers = f"replace(t.headers, t.id, {id})"
    else:
        id = f"printf('%08x', n * 2654435761 % 4294967296) || '{unique}'"
        number = f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) SELECT n FROM c)"
        moment, wake = "strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || (n * 0.5) || ' seconds')", "SELECT 1"
        headers = f"replace(t.headers, t.id, {id})"
    more, values = "", ""
    if finished:
        more = ", state, fence, created_at, leased_at, started_at, finished_at, run_time_s, worker_id"
        values = f", 'succeeded', 1, {moment}, {moment}, {moment}, {moment}, 0.001, 'w@gone'"
    of = ", ".join(f"t.{column}" for column in COLUMNS.split(", "))
    one = f"(SELECT * FROM mirepoix_task WHERE id = '{model}') AS t"
    prelude = ["SET SESSION max_recursive_iterations = 10000000"] if server.name == "mariadb" else []
    server.execute(
        *prelude,
        f"INSERT INTO mirepoix_task (id, headers, {COLUMNS}{more}) SELECT {id}, {headers}, {of}{values} "
        f"FROM {one} CROSS JOIN {number}",
        wake,
    )


def prepare(server: Server, waiting: int, finished: int) -> str:
    """Fill a fresh ledger; the id of the task that its rows are like."""
    server.reset()
    client.send(server, "single", 1)
    server.execute("UPDATE mirepoix_task SET state = 'parked'")
    model = server.execute("SELECT min(id) FROM mirepoix_task", rows=True)[0][0]
    if finished:
        clone(server, model, finished, finished=True)
    clone(server, model, waiting)
    tidy = {"postgresql": ("VACUUM ANALYZE", "CHECKPOINT"), "mariadb": ("ANALYZE TABLE mirepoix_task",)}
    server.execute(*tidy.get(server.name, ("ANALYZE",)))
    return model


def drain(server: Server, model: str, tasks: int) -> Span:
    with Worker(server) as worker:
        worker.wait(lambda: worker.done() >= 200)
        filled = worker.done()
        clone(server, model, filled)
        first = worker.snapshot()
        while worker.done() - first.done < tasks:
            worker.wait(lambda filled=filled: worker.done() >= filled + STEP)
            clone(server, model, STEP)
            filled += STEP
        return Span.between(first, worker.snapshot())


def plans(server: Server) -> dict[str, str]:
    """Each hot statement's plan, on the table as it is."""
    from mirepoix.connect.url import source_for
    from mirepoix.sql import statement

    if server.name == "mariadb":
        return mariadb_plans(server)
    wanted = {"worker_id": "explain", "queues": json.dumps(["celery"]), "batch": 100, "rows": "[]"}
    name = "explain"
    insert = (
        "INSERT INTO mirepoix_worker (id, name, host, pid, queues, software, alive_until) "
        f"VALUES ('{name}', 'e', 'h', 1, '[]', '{{}}', '2999-01-01')"
    )
    found = {}
    connection = source_for(server.url).open()
    raw = connection._connection
    raw.execute("BEGIN")
    raw.execute(insert)
    if server.name == "postgresql":
        held = raw.execute(statement("take", "postgresql", "pyformat"), wanted).fetchall()
        prefix, style = "EXPLAIN (ANALYZE, BUFFERS, COSTS off) ", "pyformat"
    else:
        held = raw.execute(statement("take", "sqlite", "named"), wanted).fetchall()
        prefix, style = "EXPLAIN QUERY PLAN ", "named"
    wanted["rows"] = json.dumps(
        [
            {"id": row[0], "fence": row[1], "run_time_s": 0.1, "peak_memory_kb": 1, "reason": None, "pid": 1}
            for row in held
        ]
    )
    for verb in ("take", "succeed", "release_due", "next_due", "expire", "lose_of_dead_workers"):
        sql = statement(verb, server.name, style)
        rows = raw.execute(prefix + sql, wanted).fetchall()
        found[verb] = "\n".join(str(row[-1]) for row in rows)
    raw.execute("ROLLBACK")
    connection.close()
    return found


def mariadb_plans(server: Server) -> dict[str, str]:
    """The same of MariaDB, whose statements are several: the plan of each step, not run."""
    from mirepoix.connect.url import source_for
    from mirepoix.sql import steps

    found = {}
    connection = source_for(server.url).open()
    ids = [
        row[0] for row in server.execute("SELECT id FROM mirepoix_task WHERE state = 'pending' LIMIT 100", rows=True)
    ]
    wanted = {"worker_id": "explain", "queue": "celery", "batch": 100, "found": json.dumps(ids)}
    wanted["rows"] = json.dumps([{"id": id, "fence": 1, "run_time_s": 0.1, "pid": 1} for id in ids])
    with connection.raw.cursor() as cursor:
        for verb in ("take", "succeed", "release_due", "next_due", "expire", "lose_of_dead_workers"):
            lines = []
            for step in steps(verb, "mysql", "pyformat"):
                cursor.execute("EXPLAIN " + step.sql, {name: wanted[name] for name in step.names if name in wanted})
                for _, _, table, access, _, index, _, _, rows, *_ in cursor.fetchall():
                    if index:
                        lines.append(f"USING INDEX {index} on {table}: {access}, {rows} rows")
            found[verb] = "\n".join(lines)
    connection.close()
    return found


def summary(plan: str) -> str:
    """The time, the buffers and the indexes of one plan in a line."""
    time_ms = re.search(r"Execution Time: ([\d.]+)", plan)
    buffers = re.search(r"Buffers: shared ([^\n]+)", plan)
    scans = re.findall(r"(?:Index (?:Only )?Scan using|Bitmap Index Scan on|Seq Scan on|Index Scan on) (\w+)", plan)
    scans += re.findall(r"(?:USING (?:COVERING )?INDEX|SCAN) (\w+)", plan)
    words = [f"{time_ms[1]} ms"] if time_ms else []
    return "; ".join([*words, *([buffers[1]] if buffers else []), ", ".join(dict.fromkeys(scans)) or "no scan"])


def report(server: Server, ledgers: dict[str, Server], spans: dict[str, list[Span]], in_full: bool) -> None:
    # SQLite's work is done in the worker's own process.
    party = "parent" if server.name == "sqlite" else "server"
    base = None
    for label, found in spans.items():
        us = {name: statistics.median(span.us(name) for span in found) for name in found[0].parties}
        base = base or us[party]
        cpu = ", ".join(f"{name} {cost:.0f}" for name, cost in us.items())
        others = "/".join(f"{span.others:.1f}" for span in found)
        rate = statistics.median(span.rate for span in found)
        print(f"{server.label}, {label}: {rate:.0f}/s; CPU us a task: {cpu}; others {others}")
        print(f"    {party}: {us[party] / base:.2f} x", flush=True)
        for verb, plan in plans(ledgers[label]).items():
            print(f"    {verb}: {summary(plan)}")
            if in_full:
                print("      " + plan.replace("\n", "\n      "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=3000, help="tasks a drain (default 3000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=list(LEDGERS))
    parser.add_argument("--plans", action="store_true", help="print the plans in full")
    given = parser.parse_args()
    states = {
        "1,000 waiting": (1000, 0),
        f"{given.waiting:,} waiting": (given.waiting, 0),
        f"1,000 waiting + {given.finished:,} finished": (1000, given.finished),
    }
    with servers(*given.systems) as systems:
        print_header(
            f"Cost of a task as the table grows ({given.rounds} x {given.tasks} tasks)",
            systems,
            "prefork -c 2, no-op tasks",
        )
        for server in systems:
            ledgers = {label: server.another(f"ledger{number}") for number, label in enumerate(states)}
            models = {label: prepare(ledgers[label], *states[label]) for label in states}
            spans: dict[str, list[Span]] = {label: [] for label in states}
            for _ in range(given.rounds):  # in turn, so that what else the machine does hits all alike
                for label, ledger in ledgers.items():
                    spans[label].append(drain(ledger, models[label], given.tasks))
            report(server, ledgers, spans, given.plans)
        print(f"load after: {load()}")


if __name__ == "__main__":
    main()

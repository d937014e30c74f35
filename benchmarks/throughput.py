"""How fast no-op tasks are sent and run, beside Celery on RabbitMQ and on Redis: ``python -m benchmarks.throughput``.

Each round runs every system once, one after the other, so that what else the machine does hits all alike; the ratios
are of the medians. A drain is measured from its 10th to its 95th hundredth, so that neither the start of the worker nor
its last batch count.
"""

from __future__ import annotations

import argparse
import statistics
import time

from benchmarks import client
from benchmarks.machine import Span, load, print_header
from benchmarks.servers import BROKER_MODE, LEDGERS, NAMES, Server, servers
from benchmarks.worker import Worker

POOLS = {"prefork": 2, "mirepoix": 2, "solo": 1, "threads": 2}
"""How many tasks each pool runs at once."""


def drain(server: Server, count: int, pool: str) -> tuple[Span, dict[str, float]]:
    """Fill the queue, then let one worker empty it."""
    server.reset()
    client.send(server, "bulk" if server.is_ledger else "single", count - 1)
    if server.kind == "postgresql":
        server.execute("VACUUM ANALYZE mirepoix_task", "CHECKPOINT")
        time.sleep(0.1)
    elif server.kind == "mariadb":
        server.execute("ANALYZE TABLE mirepoix_task")
    before = counters(server)
    with Worker(server, server.pool_beside(pool), POOLS[pool]) as worker:
        worker.wait(lambda: worker.done() >= count * 0.1)
        first = worker.snapshot()
        worker.wait(lambda: worker.done() >= count * 0.95)
        last = worker.snapshot()
        worker.wait(lambda: worker.done() >= count)
        time.sleep(0.1)
    after = counters(server)
    if server.is_ledger:
        rows = dict(server.execute("SELECT state, count(*) FROM mirepoix_task GROUP BY state", rows=True))
        assert rows == {"succeeded": count}, rows
    return Span.between(first, last), {name: (after[name] - before[name]) / count for name in after}


def counters(server: Server) -> dict[str, float]:
    """Commits and WAL flushes so far; a session reports its own when it ends, at the latest."""
    if server.name != "postgresql":
        return {}
    time.sleep(0.2)
    sql = "SELECT xact_commit, (SELECT wal_sync FROM pg_stat_wal) FROM pg_stat_database WHERE datname = 'postgres'"
    return dict(zip(("commits", "fsyncs"), server.execute(sql, rows=True)[0], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4000, help="tasks a drain (default 4000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", nargs="+", choices=(*NAMES, *BROKER_MODE), default=list(NAMES))
    parser.add_argument("--pools", nargs="*", choices=list(POOLS), default=list(POOLS))
    parser.add_argument("--send", nargs="*", choices=["single", "group", "bulk"], default=["single", "group", "bulk"])
    given = parser.parse_args()
    with servers(*given.systems) as systems:
        settings = "acks_late, results/events/gossip/mingle/heartbeat off, publisher confirms on, prefetch as installed"
        print_header(f"Throughput of no-op tasks ({given.count} a drain, {given.rounds} rounds)", systems, settings)
        for pool in given.pools:
            runs: dict[str, list] = {server.name: [] for server in systems}
            for _ in range(given.rounds):
                for server in systems:
                    runs[server.name].append(drain(server, given.count, pool))
            _print_drains(pool, systems, runs)
        for how in given.send:
            spans: dict[str, list[Span]] = {server.name: [] for server in systems}
            for _ in range(given.rounds):
                for server in systems:
                    if how == "bulk" and not server.is_ledger:
                        continue
                    server.reset()
                    spans[server.name].append(
                        client.send(server, how, {"single": 2000, "group": 3000, "bulk": 20000}[how])
                    )
            _print_sends(how, systems, spans)
        print(f"load after: {load()}")


def _print_drains(pool: str, systems: list[Server], runs: dict[str, list]) -> None:
    print(f"drain, {pool} -c {POOLS[pool]}: tasks/s; CPU us a task; cores that others used")
    rates = {}
    for server in systems:
        spans = [span for span, _ in runs[server.name]]
        rates[server.name] = statistics.median(span.rate for span in spans)
        cpu = ", ".join(
            f"{p} {statistics.median(s.us(p) for s in spans):.0f}"
            for p in ("parent", "children", "server", "background")
        )
        others = "/".join(f"{span.others:.1f}" for span in spans)
        each = "/".join(f"{span.rate:.0f}" for span in spans)
        extra = ", ".join(
            f"{statistics.median(counts[name] for _, counts in runs[server.name]):.3f} {name} a task"
            for name in runs[server.name][0][1]
        )
        print(f"  {server.label:24} {rates[server.name]:7.0f} ({each})  {cpu}; others {others}  {extra}")
    _print_ratios(rates)


def _print_sends(how: str, systems: list[Server], runs: dict[str, list[Span]]) -> None:
    print(f"send, {how}: tasks/s; CPU us a task; cores that others used")
    rates = {}
    for server in systems:
        spans = runs[server.name]
        if not spans:
            continue
        rates[server.name] = statistics.median(span.rate for span in spans)
        cpu = ", ".join(f"{p} {statistics.median(s.us(p) for s in spans):.0f}" for p in ("client", "server"))
        each = "/".join(f"{span.rate:.0f}" for span in spans)
        others = "/".join(f"{span.others:.1f}" for span in spans)
        print(f"  {server.label:24} {rates[server.name]:7.0f} ({each})  {cpu}; others {others}")
    _print_ratios(rates)


def _print_ratios(rates: dict[str, float]) -> None:
    for ours in (*LEDGERS, *BROKER_MODE):
        ratios = [
            f"{rates[ours] / rates[peer]:.2f} x {peer}" for peer in ("rabbitmq", "redis") if {ours, peer} <= set(rates)
        ]
        if ratios:
            print(f"  ratio: {ours} {', '.join(ratios)}")
    print(flush=True)


if __name__ == "__main__":
    main()

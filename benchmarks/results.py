"""What results cost, beside Celery's result backends on Redis and SQL: ``python -m benchmarks.results``.

Each round runs every system once, one after the other. A drain is that of `benchmarks.throughput`, of tasks whose
results are kept; that all of them were kept is checked. The client runs in this process; its apps are fresh for each
reading, so that nothing is cached.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from benchmarks import client
from benchmarks.app import make_app
from benchmarks.machine import Span, load, print_header, quantile
from benchmarks.servers import NAMES, Server, servers
from benchmarks.worker import Worker
from celery import Celery, chord, group
from celery.result import AsyncResult, GroupResult

POOLS = {"prefork": 2, "solo": 1, "threads": 2}
PARTIES = ("parent", "children", "server", "background")
GET_TIMEOUT_S = 60


@dataclass
class System(Server):
    """A broker, and a server where the results are kept."""

    results: Server | None = None
    results_url: str = "mirepoix://"

    @property
    def label(self) -> str:
        if self.results is None:
            return f"mirepoix on {self.name}"
        return f"celery on {self.name}, results in {self.results.name}"

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"BENCHMARK_RESULTS_URL": self.results_url}

    @property
    def _other(self) -> Server | None:
        return None if self.results is None or self.results.name == self.name else self.results

    def cpu_s(self) -> float:
        return super().cpu_s() + (self._other.cpu_s() if self._other else 0.0)

    def sessions_cpu_s(self) -> float:
        if self._other is None:
            return super().sessions_cpu_s()
        return super().cpu_s() + self._other.sessions_cpu_s()

    def reset(self) -> None:
        super().reset()
        if self._other:
            self._other.reset()

    def kept(self) -> int:
        """How many results there are."""
        where = self.results or self
        if where.name == "redis":
            import redis

            with redis.Redis.from_url(self.results_url) as connection:
                return sum(1 for _ in connection.scan_iter("celery-task-meta-*", count=1000))
        table = "mirepoix_result" if self.results is None else "celery_taskmeta"
        return int(where.execute(f"SELECT count(*) FROM {table}", rows=True)[0][0])

    @property
    def is_polled(self) -> bool:
        """Whether it takes so long that once is enough: Celery looks into SQL twice a second."""
        return self.results is not None and self.results.is_ledger

    @contextmanager
    def app(self) -> Iterator[Celery]:
        """A client that has read nothing yet."""
        app = make_app(self.url, self.results_url)
        try:
            yield app
        finally:
            with suppress(AttributeError):  # only Redis has a thing to stop
                app.backend.result_consumer.stop()
            app.close()
            if self.is_ledger:
                app.mirepoix.source.close()


def systems_on(found: dict[str, Server]) -> list[System]:
    """Everything that can be built of these servers."""
    made = [System(**vars(found[name])) for name in ("postgresql", "sqlite") if name in found]
    if "redis" not in found:
        return made
    redis = found["redis"]
    redis_url = redis.url.removesuffix("/0") + "/1"
    made += [
        System(**vars(found[name]), results=redis, results_url=redis_url)
        for name in ("redis", "rabbitmq")
        if name in found
    ]
    for name, prefix in (("postgresql", "db+postgresql+psycopg2://"), ("sqlite", "db+sqlite://")):
        if name in found:
            store = found[name].another("celery")
            made.append(System(**vars(redis), results=store, results_url=prefix + store.url.partition("://")[2]))
    return made


@dataclass
class Read:
    """One reading: how long it took, and what it cost, for each result."""

    ms: float
    client_us: float
    server_us: float


@dataclass
class Chord:
    """One chord, in seconds: sending it, and from its sending and from its last member to its body."""

    sent: float
    begun: float
    after_last: float


def drain(system: System, count: int, pool: str) -> Span:
    """Fill the queue, then let one worker empty it."""
    system.reset()
    client.send(system, "bulk" if system.is_ledger else "single", count - 1, "answer")
    if system.name == "postgresql":
        system.execute("VACUUM ANALYZE mirepoix_task", "CHECKPOINT")
        time.sleep(0.1)
    with Worker(system, pool, POOLS[pool]) as worker:
        worker.wait(lambda: worker.done() >= count * 0.1)
        first = worker.snapshot()
        worker.wait(lambda: worker.done() >= count * 0.95)
        last = worker.snapshot()
        worker.wait(lambda: worker.done() >= count)
        time.sleep(0.1)
    assert system.kept() == count, f"{system.label}: {system.kept()} results of {count}"
    return Span.between(first, last)


def read(system: System, ids: list[str], get: Callable[[Celery, list[str]], int]) -> Read:
    """Let a fresh client read finished results."""
    with system.app() as app:
        AsyncResult(ids[0], app=app).get(timeout=GET_TIMEOUT_S)  # it is connected
        app.backend._cache.clear()
        server, cpu, began = system.cpu_s(), time.process_time(), time.perf_counter()
        assert get(app, ids) == len(ids)
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
        return Read(seconds / len(ids) * 1e3, used / len(ids) * 1e6, (system.cpu_s() - server) / len(ids) * 1e6)


def one_by_one(app: Celery, ids: list[str]) -> int:
    return sum(AsyncResult(id, app=app).get(timeout=GET_TIMEOUT_S) == 42 for id in ids)


def as_group(app: Celery, ids: list[str]) -> int:
    return len(GroupResult("g", [AsyncResult(id, app=app) for id in ids], app=app).get(timeout=GET_TIMEOUT_S))


def finished(system: System, worker: Worker, count: int) -> list[str]:
    """The ids of so many tasks whose results are kept."""
    with system.app() as app:
        before = worker.done()
        task = app.tasks["answer"]
        ids = [one.id for one in group(task.s() for _ in range(count)).apply_async().results]
        worker.wait(lambda: worker.done() >= before + count)
    worker.wait(lambda: system.kept() >= count)
    return ids


def round_trips(system: System, count: int) -> list[float]:
    """Seconds of ``delay().get()``, one after another."""
    took = []
    with system.app() as app:
        task = app.tasks["answer"]
        task.delay().get(timeout=GET_TIMEOUT_S)
        for _ in range(count):
            began = time.perf_counter()
            task.delay().get(timeout=GET_TIMEOUT_S)
            took.append(time.perf_counter() - began)
            time.sleep(0.005)
    return took


def run_chord(system: System, size: int) -> Chord:
    with system.app() as app:
        member, body = app.tasks["moment"], app.tasks["latest"]
        chord((member.s(n) for n in range(10)), app=app)(body.s()).get(timeout=GET_TIMEOUT_S)
        began = time.time()
        result = chord((member.s(n) for n in range(size)), app=app)(body.s())
        sent = time.time() - began
        returned, last, at = result.get(timeout=GET_TIMEOUT_S)
        assert returned == size
        return Chord(sent, at - began, at - last)


def run_clients(system: System, given: argparse.Namespace, found: dict) -> None:
    """Everything that is measured beside an idle worker."""
    system.reset()
    with Worker(system, "prefork", 2) as worker:
        if {"read", "latency"} & set(given.parts):
            ids = finished(system, worker, given.read)
        if "read" in given.parts:
            found["get"].append(read(system, ids, one_by_one))
            found["group"].append(read(system, ids, as_group))
        if "latency" in given.parts:
            found["latency"] += round_trips(system, 10 if system.is_polled else given.latency)
        if "chord" in given.parts:
            found["chord"] += [run_chord(system, given.chord) for _ in range(1 if system.is_polled else 3)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4000, help="tasks a drain (default 4000)")
    parser.add_argument("--read", type=int, default=1000, help="results that are read (default 1000)")
    parser.add_argument("--latency", type=int, default=200, help="delay().get() a round (default 200)")
    parser.add_argument("--chord", type=int, default=1000, help="members of a chord (default 1000; 3 chords a round)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--no-sql", action="store_true", help="leave out Celery's results in SQL, which take minutes")
    parser.add_argument("--pools", nargs="*", choices=list(POOLS), default=["prefork"], help="of the drains")
    parser.add_argument("--parts", nargs="*", default=["read", "latency", "chord"])
    given = parser.parse_args()
    with servers(*given.systems) as started:
        systems = systems_on({server.name: server for server in started})
        if given.no_sql:
            systems = [system for system in systems if not system.is_polled]
        settings = "results kept, acks_late, events/gossip/mingle/heartbeat off, publisher confirms on"
        print_header(f"Tasks whose results are kept ({given.rounds} rounds)", started, settings)
        for pool in given.pools:
            spans: dict[str, list[Span]] = {system.label: [] for system in systems}
            for number in range(given.rounds):
                for system in systems:
                    if number and system.is_polled:
                        continue
                    spans[system.label].append(drain(system, given.count, pool))
            _print_drains(pool, given.count, spans)
        if given.parts:
            found: dict[str, dict] = {s.label: {"get": [], "group": [], "latency": [], "chord": []} for s in systems}
            for number in range(given.rounds):
                for system in systems:
                    if number == 0 or not system.is_polled:
                        run_clients(system, given, found[system.label])
            _print_clients(given, found)
        print(f"load after: {load()}")


def _print_drains(pool: str, count: int, spans: dict[str, list[Span]]) -> None:
    print(f"drain of {count}, {pool} -c {POOLS[pool]}: tasks/s; CPU us a task; cores that others used")
    for label, runs in spans.items():
        each = "/".join(f"{span.rate:.0f}" for span in runs)
        total = statistics.median(sum(span.us(party) for party in PARTIES) for span in runs)
        cpu = ", ".join(f"{party} {statistics.median(span.us(party) for span in runs):.0f}" for party in PARTIES)
        others = "/".join(f"{span.others:.1f}" for span in runs)
        rate = statistics.median(span.rate for span in runs)
        print(f"  {label:40} {rate:6.0f} ({each})  {cpu} = {total:.0f}; others {others}")
    print(flush=True)


def _print_clients(given: argparse.Namespace, found: dict[str, dict]) -> None:
    for what, title in (("get", "AsyncResult.get()"), ("group", "GroupResult.get()")):
        print(f"{given.read} finished results by {title}: ms a result; CPU us a result")
        for label, runs in found.items():
            if runs[what]:
                ms, used, server = (
                    statistics.median(getattr(one, name) for one in runs[what])
                    for name in ("ms", "client_us", "server_us")
                )
                print(f"  {label:40} {ms:7.3f}  client {used:.0f}, server {server:.0f}")
    print("delay().get(): ms")
    for label, runs in found.items():
        if runs["latency"]:
            p50, p95 = (quantile(runs["latency"], q) * 1e3 for q in (0.5, 0.95))
            print(f"  {label:40} p50 {p50:.1f}, p95 {p95:.1f} (n={len(runs['latency'])})")
    print(f"chord of {given.chord}: seconds to send it; from its sending to its body; from its last member to its body")
    for label, runs in found.items():
        if runs["chord"]:
            sent, begun, after = (
                statistics.median(getattr(one, name) for one in runs["chord"])
                for name in ("sent", "begun", "after_last")
            )
            each = "/".join(f"{one.begun:.2f}" for one in runs["chord"])
            print(f"  {label:40} {sent:.3f}  {begun:.3f} ({each})  {after:.3f}")
    print(flush=True)


if __name__ == "__main__":
    main()

"""A dependency that is away for a minute, and its load when it is back: ``python -m benchmarks.dependency``.

An HTTP server on loopback, which a task calls, 50 times a second. Then nobody listens on its port for a while. When it
is called, the server tells; when attempts begin, the effects file; and when they were to, Celery's message (its eta).
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from tempfile import mkstemp

from benchmarks.app import append
from benchmarks.machine import load, print_header
from benchmarks.servers import Server, free_port, servers
from benchmarks.worker import Worker
from celery import Celery

import mirepoix

DESTINATION = "dependency"


def make_app(url: str) -> Celery:
    """An app with one task, which calls the dependency."""
    app = Celery("dependency", broker="memory://", set_as_current=False)
    app.conf.update(task_ignore_result=True, worker_hijack_root_logger=False, worker_redirect_stdouts=False)
    budget = os.environ.get("BENCHMARK_BUDGET") or None
    policy = mirepoix.RetryPolicy(
        base_s=1.0,
        max_delay_s=20.0,
        max_attempts=None,
        max_age_s=3600.0,
        budget=budget,
        destination=budget and DESTINATION,
    )
    mirepoix.install(app, url, retries=policy)
    app.task(name="call", bind=True)(call)
    return app


def call(self, key: str) -> None:
    """Call the dependency; tell when this began, and when it was to begin."""
    eta = self.request.eta
    append(
        f"start {key} {self.request.retries} {time.time()} {datetime.fromisoformat(eta).timestamp() if eta else 0}\n"
    )
    urllib.request.urlopen(f"{os.environ['BENCHMARK_DEPENDENCY']}/{key}", timeout=5).read()
    append(f"end {key} {self.request.retries} {time.time()} 0\n")


if "BENCHMARK_DEPENDENCY" in os.environ and "BENCHMARK_URL" in os.environ:
    app = make_app(os.environ["BENCHMARK_URL"])


@dataclass
class Dependency:
    """The server, which notes when it is called."""

    port: int = field(default_factory=free_port)
    calls: list[float] = field(default_factory=list)

    def start(self) -> None:
        calls = self.calls

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                calls.append(time.time())
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        ThreadingHTTPServer.request_queue_size = 512
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Told:
    """What the effects file says."""

    starts: dict[str, list[tuple[int, float, float]]]
    ends: Counter[str]

    @classmethod
    def read(cls, path: Path) -> Told:
        starts: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
        ends: Counter[str] = Counter()
        for line in path.read_text().splitlines():
            what, key, retries, at, due = line.split()
            if what == "end":
                ends[key] += 1
            else:
                starts[key].append((int(retries), float(at), float(due)))
        return cls(starts, ends)


def measure(
    server: Server, rate: float, before_s: float, away_s: float, budget: str, pool: str, concurrency: int
) -> None:
    server.reset()
    dependency = Dependency()
    dependency.start()
    file = Path(mkstemp(prefix="mirepoix-benchmark-")[1])
    env = {"BENCHMARK_DEPENDENCY": f"http://127.0.0.1:{dependency.port}", "BENCHMARK_BUDGET": budget}
    sender = make_app(server.url)
    sent: list[str] = []
    is_over = threading.Event()

    def send() -> None:
        began = time.monotonic()
        while not is_over.is_set():
            sent.append(f"k{len(sent)}")
            sender.send_task("call", args=[sent[-1]])
            is_over.wait(max(0.0, began + len(sent) / rate - time.monotonic()))

    sending = threading.Thread(target=send)
    with Worker(server, pool, concurrency, file, "benchmarks.dependency", **env) as worker:
        sending.start()
        worker.wait(lambda: len(dependency.calls) > rate)
        time.sleep(before_s)
        away_at = time.time()
        dependency.stop()
        time.sleep(away_s)
        back_at = time.time()
        dependency.start()

        def is_drained() -> bool:
            time.sleep(1)
            return len(Told.read(file).ends) >= len(sent) - 2 * rate

        with suppress(RuntimeError):
            worker.wait(is_drained, 300)
        drained_s = time.time() - back_at
        time.sleep(3)
        is_over.set()
        sending.join()
        with suppress(RuntimeError):
            worker.wait(lambda: len(Told.read(file).ends) >= len(sent), 60)
    told = Told.read(file)
    file.unlink()
    _print(server, told, sent, dependency.calls, (away_at, back_at), drained_s, rate, budget)


def _print(
    server: Server,
    told: Told,
    sent: list[str],
    calls: list[float],
    away: tuple[float, float],
    drained_s: float,
    rate: float,
    budget: str,
) -> None:
    away_at, back_at = away
    seen = sum(away_at - 5 <= at < away_at for at in calls) / 5
    attempts = sorted(one for starts in told.starts.values() for one in starts)
    retries = [one for one in attempts if one[0]]
    per_second = Counter(int(due) for _, _, due in retries)
    late = sorted(at - due for _, at, due in retries)
    waits = []
    for starts in told.starts.values():
        for (_, before, _), (_, at, due) in pairwise(starts):
            waits.append((at - before, due - before))
    close = sum(abs(actual - meant) <= 0.1 * meant for actual, meant in waits)
    after = Counter(int(at - back_at) for at in calls if at >= back_at)
    full = [count for second, count in sorted(after.items()) if second < drained_s - 1]
    five = [sum(full[i : i + 5]) / 5 for i in range(max(1, len(full) - 4))]
    put_off = sum(meant > 20.0 for _, meant in waits)
    print(f"{server.label}, budget {budget or 'none'}: {len(sent)} sent at {rate:g}/s")
    print(f"  succeeded {len(told.ends)} of {len(sent)}; more than once {sum(n > 1 for n in told.ends.values())}")
    if not waits:
        return
    print(
        f"  retries {len(retries)}, most attempts of a task {max(map(len, told.starts.values()))}; "
        f"due in one second at most {max(per_second.values())}"
    )
    print(
        f"  actual wait within 10 % of the one set: {close / len(waits):.2%}; sum of waits "
        f"{sum(a for a, _ in waits) / sum(m for _, m in waits) - 1:+.2%}; begun after it was due: median "
        f"{statistics.median(late) * 1000:.0f} ms, p99 {late[int(len(late) * 0.99)] * 1000:.0f} ms"
    )
    print(f"  put beyond max_delay_s by the budget: {put_off} of {len(waits)}")
    print(
        f"  calls a second: {seen:.1f} before; after its return in the first second {full[0]}, at most "
        f"{max(full)} in one second ({max(full) / rate:.2f}x), {max(five):.1f} over 5 s ({max(five) / rate:.2f}x); "
        f"backlog gone after {drained_s:.0f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=["postgresql", "sqlite"])
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--before-s", type=float, default=10.0)
    parser.add_argument("--away-s", type=float, default=60.0)
    parser.add_argument("--budget", default="40/s", help="'' for none")
    parser.add_argument("--pool", default="prefork")
    parser.add_argument("--concurrency", type=int, default=4)
    given = parser.parse_args()
    with servers(*given.systems) as systems:
        print_header("A dependency's outage", systems, str(vars(given)))
        for server in systems:
            measure(server, given.rate, given.before_s, given.away_s, given.budget, given.pool, given.concurrency)
        print(f"load after: {load()}")


if __name__ == "__main__":
    main()

"""What limits cost, and whether they hold while workers are killed: ``python -m benchmarks.limits``.

The workers here are small processes around the product's own `Leases` and `Maintenance`. A task is a line in the
effects file when it begins, a pause, and a line when it ends. So the effects file is the witness, not the ledger.

    python -m benchmarks.limits cost --before OLD/src  # drain without limits, this code and older code in turns
    python -m benchmarks.limits keys --tasks 100000    # 1,000 keys with a limit of 10, and the same without limits
    python -m benchmarks.limits kills --seconds 60     # randomised runs with kills
    python -m benchmarks.limits fairness               # 100 keys, one with a long backlog
    python -m benchmarks.limits at_limit               # calls that wait, are dropped, or cancel others, one by one

Each takes ``--only postgresql mariadb sqlite``.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

from mirepoix.config import Settings
from mirepoix.connect.url import source_for
from mirepoix.daemons import process
from mirepoix.daemons.leases import Leases
from mirepoix.ledger import enqueue
from mirepoix.ledger.migrate import migrate
from mirepoix.records import Completion, Envelope, Worker

BODY = '[[1], {"a": 2}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
QUEUE = "celery"


def leases_of(url: str) -> Leases:
    """The leases of a worker of this process, registered."""
    worker = Worker(
        "", f"bench{os.getpid()}", socket.gethostname(), os.getpid(), "small", 4, (QUEUE,), process=process.own()
    )
    leases = Leases(source_for(url), Settings(), worker)
    leases.incarnation.register()
    return leases


def send(url: str, keys: list[str | None], name: str = "t") -> None:
    """A task for each of *keys*, a thousand in one transaction."""
    connection = source_for(url).open()
    for first in range(0, len(keys), 1000):
        envelopes = [
            Envelope(f"{name}{first + number}", "bench.task", QUEUE, BODY, {}, {}, **limited(key))
            for number, key in enumerate(keys[first : first + 1000])
        ]
        with connection.transaction() as tx:
            enqueue.add(tx, envelopes)
    connection.close()


def limited(key: str | None) -> dict:
    """The field of an envelope for a key. Older code has no such field, and no keys."""
    return {} if key is None else {"limit_key": key}


# ---- what it costs


def drain(url: str, tasks: int, batch: int, keys: int, running: int) -> dict:
    """Send and drain, in this process; how long each took."""
    connection = source_for(url).open()
    migrate(connection)
    leases = leases_of(url)
    if keys:
        from mirepoix.ledger import limits

        leases.limited.is_in_use = True
        with connection.transaction() as tx:
            limits.put(tx, "bench", limits.Bounds(running), "benchmark")
    began = time.perf_counter()
    send(url, [f"bench:{number % keys:04}" if keys else None for number in range(tasks)])
    sent = time.perf_counter()
    done = 0
    while done < tasks:
        taken = leases.record_and_take(connection, [QUEUE], batch)
        for task in taken:
            leases.complete(Completion(task.lease))
        done += len(taken)
    leases.flush(connection)
    return {"send": sent - began, "drain": time.perf_counter() - sent}


def run_drain(source: str, url: str, *words: object) -> dict:
    """Drain in a process with the code in *source*."""
    command = [sys.executable, __file__, "drain", url, *map(str, words)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": source}, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def cost(server, before: str, rounds: int, tasks: int, batch: int) -> None:
    """The same drain without limits, with older code and with this."""
    from benchmarks.machine import load

    here = str(Path(__file__).resolve().parents[1] / "src")
    found = defaultdict(list)
    for number in range(rounds):
        order = [("before", before), ("after", here)]
        for which, source in order[:: 1 if number % 2 else -1]:
            another = server.another(f"cost_{which}_{number}")
            for what, seconds in run_drain(source, another.url, tasks, batch, 0, 0).items():
                found[what, which].append(tasks / seconds)
    for what in ("send", "drain"):
        old, new = found[what, "before"], found[what, "after"]
        ratios = [n / o for o, n in zip(old, new, strict=True)]
        print(
            f"  {server.name} {what}: before {statistics.median(old):,.0f}/s, after {statistics.median(new):,.0f}/s, "
            f"ratio of each round {', '.join(f'{r:.3f}' for r in ratios)}, median {statistics.median(ratios):.3f} "
            f"(load {load()})",
            flush=True,
        )


def many_keys(server, tasks: int, batch: int, keys: int, rounds: int) -> None:
    """A limit of 10 for each of many keys, and the same without a limit."""
    from benchmarks.machine import load

    here = str(Path(__file__).resolve().parents[1] / "src")
    for number in range(rounds):
        limits_off = run_drain(here, server.another(f"keys_off_{number}").url, tasks, batch, 0, 0)
        limits_on = run_drain(here, server.another(f"keys_on_{number}").url, tasks, batch, keys, 10)
        off, on = tasks / limits_off["drain"], tasks / limits_on["drain"]
        print(
            f"  {server.name}: {tasks:,} tasks, batch {batch}: without limits {off:,.0f}/s, with 10 for each of "
            f"{keys:,} keys {on:,.0f}/s, ratio {on / off:.2f} (load {load()})",
            flush=True,
        )


# ---- whether it holds


class Effects:
    """A file in which every process notes what it does: one line, at once and whole."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, what: str, key: str | None, task_id: str) -> None:
        os.write(self.file, f"{time.monotonic():.6f} {what} {key or '-'} {task_id} {os.getpid()}\n".encode())


def work(url: str, path: str, slots: int, longest_s: float) -> None:
    """A worker: it takes what it has slots for, and runs each task in a thread."""
    from mirepoix.daemons.maintenance import Maintenance

    logging.disable()
    effects = Effects(path)
    leases = leases_of(url)
    leases.limited.is_in_use = True
    Maintenance(leases).start()
    connection = leases.source.open(60.0)
    connection.listen()
    ended = threading.Event()

    def run(task) -> None:
        leases.held.note_begun(task.lease.key, os.getpid())
        effects.note("begin", task.limit_key, task.lease.task_id)
        time.sleep(random.random() * longest_s)
        effects.note("end", task.limit_key, task.lease.task_id)
        leases.complete(Completion(task.lease))
        ended.set()

    while True:
        free = slots - len(leases.held)
        taken = leases.record_and_take(connection, [QUEUE], free) if free else []
        for task in taken:
            effects.note("taken", task.limit_key, task.lease.task_id)
            threading.Thread(target=run, args=(task,), daemon=True).start()
        if not taken:
            look_in_s = leases.limited.look_in_s
            wait_s = 0.02 if look_in_s is None else max(0.0, min(0.02, look_in_s))
            ended.wait(wait_s)
            ended.clear()


class Fleet:
    """Workers in processes, one of which is killed now and then, and replaced."""

    def __init__(self, server, workers: int, slots: int, longest_s: float) -> None:
        self.path = tempfile.mkstemp(prefix="mirepoix-limits-")[1]
        self.options = (server.url, self.path, slots, longest_s)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(
            ["mirepoix.daemons.maintenance", "mirepoix.connect.psycopg", "mirepoix.connect.pymysql"]
        )
        self.killed: dict[int, float] = {}
        self.workers = [self.hire() for _ in range(workers)]

    def hire(self) -> multiprocessing.process.BaseProcess:
        worker = self.context.Process(target=work, args=self.options, daemon=True)
        worker.start()
        return worker

    def kill(self) -> None:
        worker = self.workers.pop(random.randrange(len(self.workers)))
        worker.kill()
        worker.join()
        self.killed[worker.pid] = time.monotonic()
        self.workers.append(self.hire())

    def events(self) -> list[tuple[float, str, str, str, int]]:
        found = []
        for line in Path(self.path).read_text().rpartition("\n")[0].splitlines():
            at, what, key, task_id, pid = line.split(" ")
            found.append((float(at), what, key, task_id, int(pid)))
        return sorted(found)

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.join()


def judge(fleet: Fleet, running: dict[str, int], rates: dict[str, tuple[int, float]]) -> dict:
    """How often a key had too many, how soon a dead worker's slot was used again, and how many ran."""
    events = fleet.events() + [(at, "killed", "-", "-", pid) for pid, at in fleet.killed.items()]
    now: dict[str, dict[str, int]] = defaultdict(dict)
    begins: Counter[str] = Counter()
    moments: dict[str, list[float]] = defaultdict(list)
    too_many, most, freed, waits = 0, Counter(), {}, []
    for at, what, key, task_id, pid in sorted(events):
        name = key.partition(":")[0]
        if what == "begin":
            now[key][task_id] = pid
            begins[key] += 1
            most[name] = max(most[name], len(now[key]))
            too_many += len(now[key]) > running.get(name, 10**9)
            if key in freed:
                waits.append(at - freed.pop(key))
        elif what == "taken":
            moments[key].append(at)
        elif what == "end":
            now[key].pop(task_id, None)
        else:
            for other, tasks in now.items():
                lost = [one for one, its_pid in tasks.items() if its_pid == pid]
                if lost and len(tasks) >= running.get(other.partition(":")[0], 10**9):
                    freed[other] = at
                for one in lost:
                    del tasks[one]
    over_rate, shortest = 0, []
    for key, times in moments.items():
        rate = rates.get(key.partition(":")[0])
        if rate:
            count, period_s = rate
            spans = [later - first for first, later in zip(times, times[count:], strict=False)]
            shortest += [min(spans) / period_s] if spans else []
            over_rate += sum(span < period_s * 0.9 for span in spans)
    return {"too_many": too_many, "most": dict(most), "over_rate": over_rate, "waits": waits, "runs": dict(begins),
            "shortest": min(shortest, default=None)}  # fmt: skip


def kills(server, seconds: float, workers: int, seed: int) -> None:
    """Random limits, keys and tasks; a worker is killed every second or two."""
    from benchmarks.machine import load, spread

    from mirepoix.ledger import limits

    random.seed(seed)
    server.reset()
    connection = source_for(server.url).open()
    migrate(connection)
    running = {f"run{n}": random.choice((1, 1, 2, 3, 7)) for n in range(6)}
    rates = {"rate0": (5, 1.0), "rate1": (20, 2.0), "rate2": (1, 0.5)}
    with connection.transaction() as tx:
        for name, most in running.items():
            limits.put(tx, name, limits.Bounds(most), "benchmark")
        for name, (count, period_s) in rates.items():
            limits.put(tx, name, limits.Bounds(None, count, period_s), "benchmark")
    names = [*running, *rates]
    fleet = Fleet(server, workers, slots=12, longest_s=0.1)
    until = time.monotonic() + seconds
    sent = killed = 0
    next_kill = time.monotonic() + 3.0
    try:
        while time.monotonic() < until:
            with connection.reading() as tx:
                waiting = int(tx.fetch("count_waiting", queue=QUEUE)[0].tasks)
            if waiting < 2_000:
                keys = [
                    None if random.random() < 0.02 else f"{random.choice(names)}:{random.randrange(2)}"
                    for _ in range(1_000)
                ]
                send(server.url, keys, f"s{sent}-")
                sent += 1
            if time.monotonic() >= next_kill:
                fleet.kill()
                killed += 1
                next_kill = time.monotonic() + 0.5 + 2 * random.random()
            time.sleep(0.05)
    finally:
        fleet.close()
    found = judge(fleet, running, rates)
    late = sum(wait > 1.0 for wait in found["waits"])
    print(
        f"  {server.name}, seed {seed}: {sum(found['runs'].values()):,} runs, {killed} workers killed in "
        f"{seconds:.0f} s\n"
        f"    more than the limit at once: {found['too_many']} (limits {running}, most seen {found['most']})\n"
        f"    over the rate in a window:   {found['over_rate']} (the shortest window had "
        f"{(found['shortest'] or 0) * 100:.0f} % of its period)\n"
        f"    killed to the next begin of a full key: {spread(found['waits'])}; over 1 s: {late} (load {load()})",
        flush=True,
    )


def fairness(server, seconds: float, workers: int) -> None:
    """100 keys, each with tasks waiting all the time; the first has a backlog of 20,000."""
    from benchmarks.machine import load

    from mirepoix.ledger import limits

    server.reset()
    connection = source_for(server.url).open()
    migrate(connection)
    with connection.transaction() as tx:
        limits.put(tx, "fair", limits.Bounds(10), "benchmark")
    send(server.url, ["fair:000"] * 20_000, "first")
    send(server.url, [f"fair:{number % 99 + 1:03}" for number in range(99 * 200)], "other")
    fleet = Fleet(server, workers, slots=8, longest_s=0.02)
    while not fleet.events():
        time.sleep(0.1)
    time.sleep(seconds)
    fleet.close()
    runs = judge(fleet, {"fair": 10}, {})["runs"]
    counts = [runs.get(f"fair:{number:03}", 0) for number in range(100)]
    middle = statistics.mean(counts)
    off = max(abs(count - middle) for count in counts) / middle
    print(
        f"  {server.name}: {sum(counts):,} runs in {seconds:.0f} s: each of 100 keys ran {min(counts)} to "
        f"{max(counts)} times, mean {middle:.1f}, the largest difference {off * 100:.1f} % "
        f"(load {load()})",
        flush=True,
    )


def at_limit(server: object, rounds: int, calls: int) -> None:
    """Send calls of 100 keys that are at their limit, each in a transaction of its own; what happens takes turns."""
    from benchmarks.machine import load

    from mirepoix.records import AtLimitPolicy  # `cost` runs this file with older code too

    connection = source_for(server.url).open()
    migrate(connection)
    spent: dict[str, list[float]] = {action: [] for action in ("wait", "drop", "cancel")}
    for number in range(rounds):
        for action, seconds in spent.items():
            policy = None if action == "wait" else AtLimitPolicy(action, 1, lambda *_: None)
            began = time.perf_counter()
            for call in range(calls):
                envelope = Envelope(
                    f"{action}{number}-{call}", "bench.task", QUEUE, BODY, {}, {},
                    limit_key=f"{action}{number}:{call % 100}", at_limit=policy,
                )  # fmt: skip
                with connection.transaction() as tx:
                    enqueue.add(tx, [envelope])
            seconds.append(time.perf_counter() - began)
    medians = ", ".join(f"{action} {calls / statistics.median(seconds):,.0f}/s" for action, seconds in spent.items())
    print(f"  {server.name}: {medians} (median of {rounds} rounds of {calls:,} calls, load {load()})", flush=True)


def main() -> None:
    if sys.argv[1:2] == ["drain"]:
        url, *numbers = sys.argv[2:]
        print(json.dumps(drain(url, *map(int, numbers))))
        return
    from benchmarks.machine import print_header
    from benchmarks.servers import LEDGERS, servers

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("cost", "keys", "kills", "fairness", "at_limit"))
    parser.add_argument("--only", nargs="+", default=list(LEDGERS), choices=LEDGERS)
    parser.add_argument("--before", help="the folder src of older code")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with servers(*options.only) as found:
        print_header(f"Limits: {options.part}", found, f"{vars(options)}")
        for server in found:
            if options.part == "cost":
                if options.before is None:
                    parser.error("cost needs --before")
                cost(server, options.before, options.rounds, options.tasks, options.batch)
            elif options.part == "keys":
                many_keys(server, options.tasks, options.batch, options.keys, options.rounds)
            elif options.part == "kills":
                kills(server, options.seconds, options.workers, options.seed)
            elif options.part == "at_limit":
                at_limit(server, options.rounds, options.tasks)
            else:
                fairness(server, options.seconds, options.workers)


if __name__ == "__main__":
    main()

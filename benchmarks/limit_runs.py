"""Run tasks with random limits, kill workers at every commit boundary, and judge: ``python -m benchmarks.limit_runs``.

Processes run workers in turns: each is the product's own `Leases` and `Maintenance` on connections of its own. A task
is a lease that ends in the worker's next turn: it succeeds, fails, is retried, given back, or its process dies. At each
commit boundary a worker may die: its transaction is rolled back, its sessions end, and another takes its place. Whole
processes get a SIGKILL too. Limits have random numbers, rates and weights; some calls are dropped or cancelled at their
limit, and some tasks are unique. The judge is `benchmarks.limit_witness`.

    python -m benchmarks.limit_runs --runs 1000000 --systems postgresql
    python -m benchmarks.limit_runs --runs 5000 --plant running   # the product gets another limit than the judge

A planted fault must be found: --plant running, rate, weight, drop, unique or death.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import multiprocessing
import os
import random
import socket
import sys
import tempfile
import time
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

from benchmarks.limit_witness import Judge, Report, Rule, install, lines
from benchmarks.machine import load, print_header, spread
from benchmarks.servers import LEDGERS, servers
from celery import Celery

import mirepoix
from mirepoix import crashpoints
from mirepoix.config import Settings
from mirepoix.connect.source import Source
from mirepoix.connect.url import source_for
from mirepoix.crashpoints import Crashpoint
from mirepoix.daemons.deaths import Deaths
from mirepoix.daemons.leases import Leases
from mirepoix.daemons.maintenance import Maintenance
from mirepoix.ledger import enqueue, finish, limits
from mirepoix.ledger.migrate import migrate
from mirepoix.records import WEIGHT_HEADER, AtLimitPolicy, AttemptFailure, Completion, Envelope, Taken, Worker
from mirepoix.states import AttemptOutcome

BODY = '[[1], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
QUEUES = ("celery", "mail")
GOES_ON, ENDS, OVER = range(3)
PLANTS = ("running", "rate", "weight", "drop", "unique", "death")
FAIR, FAIR_KEYS = "fair", 100
WAITING = 12_000
"""So many tasks wait all the time, of several episodes."""
DRAINED_IN_S = 600.0
HEARTBEAT_S = 3.0
DIES_EVERY_S = 20.0
"""How often a process gets a SIGKILL. What a dead worker held runs one at a time afterwards, so more need longer."""


class Killed(BaseException):
    """The worker has died."""


class Notes:
    """A file in which every process notes what it does: one line, at once and whole."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


def rules_of(seed: int, episode: int) -> dict[str, Rule]:
    """The limits of an episode, which every process draws alike."""
    drawn = random.Random(f"{seed} {episode}")
    rates = ((1, 0.05), (3, 0.2), (10, 0.3), (40, 0.5))
    rules = [Rule(drawn.choice((1, 2, 3, 7, 20, 50))) for _ in range(6)]
    rules += [Rule(None, *drawn.choice(rates)) for _ in range(2)]
    rules += [Rule(None, 60, 0.2, is_weighted=True), Rule(3, 10, 0.2)]
    rules += [Rule(drawn.choice((1, 3)), action=action) for action in ("drop", "cancel")]
    return {f"e{episode}n{number}": rule for number, rule in enumerate(rules)}


def planted(rule: Rule, plant: str | None) -> limits.Bounds:
    """What the product gets of a rule."""
    running, rate = rule.running, rule.rate
    if running is not None:
        running += plant == "running" or (plant == "drop" and rule.action == "drop")
    if rate is not None:
        rate += plant == "rate" and not rule.is_weighted
    return limits.Bounds(running, rate, rule.period_s or None, rule.is_weighted and plant != "weight")


# ---- workers


class SimulatedWorker:
    """A simulated worker. Each turn ends most tasks that the turns before took."""

    def __init__(self, source: Source, name: str, random_: random.Random, plant: str | None) -> None:
        worker = Worker("", name, socket.gethostname(), os.getpid(), "simulated", 4, QUEUES)
        self.leases = Leases(source, Settings(), worker)
        self.connection = source.open(60.0)
        self.leases.incarnation.register()
        self.leases.limited.is_in_use = True
        self.maintenance = Maintenance(self.leases)
        # A lock is free only when its worker has died: the workers of one process share its id.
        self.maintenance._deaths = Deaths(lambda _: plant != "death")
        self._random = random_
        self._slots = random_.choice((20, 60, 120))
        self._running: list[Taken] = []
        self._heartbeat_at = time.monotonic()

    def turn(self) -> int:
        """End tasks, take others, and do what the maintenance thread does. Return how many were taken."""
        self._random.shuffle(self._running)
        staying = self._random.choice((0, 0, 0, 1, 5))
        ending, self._running = self._running[staying:], self._running[:staying]
        for task in ending:
            self._end(task)
        taken = self.leases.record_and_take(self.connection, QUEUES, self._slots - len(self._running))
        for task in taken:
            if self._random.random() < 0.3:
                self.leases.held.note_begun(task.lease.key, os.getpid())
        self._running += taken
        self.maintenance._do_what_is_due(self.connection)
        if time.monotonic() - self._heartbeat_at > HEARTBEAT_S:
            self._heartbeat_at = time.monotonic()
            self.leases.incarnation.heartbeat(0.0, is_stopping=False)
        return len(taken)

    def _end(self, task: Taken) -> None:
        drawn = self._random.random()
        key = task.lease.key
        if drawn < 0.92:
            self.leases.complete(Completion(task.lease))
        elif drawn < 0.94:
            with self.connection.transaction() as tx:
                finish.fail(tx, task.lease, AttemptFailure("no", "ValueError"))
                crashpoints.reached(Crashpoint.OUTCOME_BEFORE_COMMIT)
            crashpoints.reached(Crashpoint.OUTCOME_AFTER_COMMIT)
            self.leases.held.forget(key)
        elif drawn < 0.97:
            again = Envelope(
                task.lease.task_id, task.name, task.queue, BODY, task.headers, {}, limit_key=task.limit_key, retries=1,
                eta_in_s=self._random.choice((None, 0.1)), asked_at=time.monotonic(),
            )  # fmt: skip
            with self.connection.transaction() as tx:
                finish.retry(tx, task.lease, again, AttemptFailure("again"))
                crashpoints.reached(Crashpoint.OUTCOME_BEFORE_COMMIT)
            crashpoints.reached(Crashpoint.OUTCOME_AFTER_COMMIT)
            self.leases.held.forget(key)
        elif drawn < 0.98:
            self.leases.note_lost(key, AttemptFailure("killed"), outcome=AttemptOutcome.KILLED, suspect_after=3)
        else:
            self.leases.held.abandon([task.lease], now=True)
            held = self.leases.held.get(key)
            if held is not None and held.started_at is not None:
                self.leases.complete(Completion(task.lease))

    def die(self) -> None:
        """End its sessions, and with them its lock. It leaves everything else as it is."""
        self.connection.close()
        if self.leases.incarnation.liveness is not None:
            self.leases.incarnation.liveness.close()


class Process:
    """Workers that take turns in one process."""

    def __init__(self, url: str, path: str, shared: Any, number: int, given: argparse.Namespace) -> None:
        self.source, self.notes, self.given = source_for(url), Notes(path), given
        self.random = random.Random(f"{given.seed} {number} {time.time()}")
        self.shared, self.number = shared, number
        self.is_killing = False
        self.names = itertools.count()
        self.connection = self.source.open(60.0)
        self.unique = _unique_task(url, given.plant)
        _patch(self._reached)
        self.workers = [self.hire() for _ in range(given.workers)]

    def _reached(self, point: Crashpoint) -> None:
        if self.is_killing and self.random.random() < self.given.kills:
            self.notes.note("kills", point)
            raise Killed

    def hire(self) -> SimulatedWorker:
        name = f"w{os.getpid()}-{next(self.names)}"
        worker = SimulatedWorker(self.source, name, self.random, self.given.plant)
        self.notes.note("hired", worker.leases.worker.id, os.getpid())
        return worker

    def run(self) -> None:
        """Work until the shared flag says that it is over. Nobody dies while the last tasks are done."""
        while self.shared[0] != OVER:
            place = self.random.randrange(len(self.workers))
            worker = self.workers[place]
            self.is_killing = self.shared[0] == GOES_ON
            try:
                taken = worker.turn()
                for _ in range(self.random.randrange(4)):
                    self.send()
            except (Killed, *self.source.errors) as death:
                self.is_killing = False
                if not isinstance(death, Killed):  # a worker's own loop would try again
                    self.notes.note("kills", type(death).__name__)
                self.notes.note("died", worker.leases.worker.id, time.time())
                worker.die()
                self.workers[place] = self.hire()
                continue
            self.is_killing = False
            self.shared[2 + self.number] += taken
            if not taken:
                time.sleep(0.005)

    def send(self) -> None:
        """Send a few calls that are dropped or cancel others at their limit, or a unique task."""
        episode = self.shared[1]
        if not episode:
            return
        name = f"{os.getpid()}-{next(self.names)}"
        if self.random.random() < 0.6:
            key = self.random.randrange(10)
            own = f"unique/{episode}-{key}/{name}"
            began = time.time()
            result = self.unique.apply_async((f"{episode}-{key}", name), task_id=own)
            self.notes.note("unique", own, result.id, began)
            return
        rules = rules_of(self.given.seed, episode).items()
        limit, rule = self.random.choice([one for one in rules if one[1].action != "wait"])
        policy = AtLimitPolicy(rule.action, rule.running, lambda *_: None)
        calls = [
            Envelope(f"{limit}.{name}.{n}w1", "task", self.random.choice(QUEUES), BODY, {}, {},
                     limit_key=f"{limit}:{self.random.randrange(2)}", at_limit=policy)
            for n in range(self.random.choice((1, 2, 5)))
        ]  # fmt: skip
        with self.connection.transaction() as tx:
            enqueue.add(tx, calls)
            self._reached(Crashpoint.ENQUEUE_BEFORE_COMMIT)
        self._reached(Crashpoint.ENQUEUE_AFTER_COMMIT)


def _patch(reached: Any) -> None:
    """Let every module of the product call *reached* at its crash points."""
    before = crashpoints.reached
    for name, module in list(sys.modules.items()):
        if name.startswith("mirepoix") and getattr(module, "reached", None) is before:
            module.reached = reached


def _unique_task(url: str, plant: str | None) -> Any:
    app = Celery("runs", set_as_current=False)
    mirepoix.install(app, url)
    by = ["key", "name"] if plant == "unique" else ["key"]

    @app.task(name="unique", unique=mirepoix.Unique(by=by))
    def unique(key: str, name: str) -> None: ...

    app.finalize()
    return unique


def work(*words: Any) -> None:
    """Run a process of workers."""
    logging.disable()
    Process(*words).run()


# ---- the run


class Fleet:
    """The processes, one of which gets a SIGKILL now and then and is replaced."""

    def __init__(self, url: str, given: argparse.Namespace) -> None:
        self.url, self.given = url, given
        self.path = tempfile.mkstemp(prefix="mirepoix-runs-")[1]
        self.notes = Notes(self.path)
        self.shared = RawArray("q", 2 + given.processes)
        """Whether it is over, the episode, and how many runs each process has begun. No lock: a process may die."""
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["benchmarks.limit_runs"])
        self.processes = [self.hire(number) for number in range(given.processes)]
        self.killed = 0

    @property
    def runs(self) -> int:
        return sum(self.shared[2:])

    def hire(self, number: int) -> multiprocessing.process.BaseProcess:
        process = self.context.Process(
            target=work, args=(self.url, self.path, self.shared, number, self.given), daemon=True
        )
        process.start()
        return process

    def kill(self) -> None:
        number = random.randrange(len(self.processes))
        process = self.processes[number]
        process.kill()
        now = time.time()
        process.join()
        self.killed += 1
        for words in self.read():
            if words[0] == "hired" and words[2] == str(process.pid):
                self.notes.note("died", words[1], now)
        self.processes[number] = self.hire(number)

    def read(self) -> list[list[str]]:
        return [line.split(" ") for line in Path(self.path).read_text().splitlines()]

    def close(self) -> None:
        self.shared[0] = OVER
        for process in self.processes:
            process.join(30)
            process.kill()
        Path(self.path).unlink()


def episode_of(number: int, seed: int) -> list[Envelope]:
    """The tasks of an episode, in a random order."""
    drawn = random.Random(f"{seed} {number} tasks")
    wanted: list[tuple[str, str | None]] = [("", None)] * 1_500
    for name, rule in rules_of(seed, number).items():
        if rule.action != "wait":
            continue  # the workers send these
        for key in range(drawn.randrange(1, 4 if rule.rate is not None else 17)):
            most = min(200, 10 * rule.rate) if rule.rate is not None else min(400, (rule.running or 1) * 40)
            wanted += [(name, f"{name}:{key}")] * drawn.randrange(most // 6, most)
    drawn.shuffle(wanted)
    return [
        Envelope(
            f"{name or f'e{number}'}.parent.{place}w{weight}", "task", drawn.choice(QUEUES), BODY,
            {WEIGHT_HEADER: weight}, {}, limit_key=key, priority=drawn.choice((0, 0, 0, 9)),
        )
        for place, (name, key) in enumerate(wanted)
        for weight in [drawn.choice((0, 1, 1, 3, 40))]
    ]  # fmt: skip


class Run:
    """One run on one ledger."""

    def __init__(self, url: str, given: argparse.Namespace) -> None:
        self.url, self.given = url, given
        self.source = source_for(url)
        self.connection = self.source.open()
        migrate(self.connection)
        install(self.connection)
        self.rules: dict[str, Rule] = {}
        self.fair_runs = min(100_000, given.runs // 10)

    def run(self) -> Report:
        began = time.monotonic()
        self._send_fair()
        fleet = Fleet(self.url, self.given)
        try:
            self._until_fair(fleet)
            kill_at = time.monotonic()
            episode = 0
            while fleet.runs < self.given.runs and time.monotonic() - began < self.given.seconds:
                if self._waiting() < WAITING:
                    episode += 1
                    self._begin(episode)
                    fleet.shared[1] = episode
                    if episode % 5 == 0:
                        seconds = time.monotonic() - began
                        print(f"    {fleet.runs:,} runs, {seconds:.0f} s", file=sys.stderr, flush=True)
                if time.monotonic() >= kill_at:
                    kill_at = time.monotonic() + DIES_EVERY_S * random.random() * 2
                    fleet.kill()
                time.sleep(0.02)
            fleet.shared[0], fleet.shared[1] = ENDS, 0
            end = time.monotonic() + DRAINED_IN_S
            while self._open() and time.monotonic() < end:
                time.sleep(0.2)
            seconds = time.monotonic() - began
        finally:
            fleet.shared[0] = OVER
            for process in fleet.processes:
                process.join(30)
            notes = fleet.read()
            fleet.close()
        report = Judge(self.rules, notes, self.fair_runs).judge(lines(self.connection))
        self.connection.close()
        self.source.close()
        report.seconds = seconds
        report.kills["SIGKILL to a process"] = fleet.killed
        for words in notes:
            if words[0] == "kills":
                report.kills[words[1]] += 1
        return report

    def _send_fair(self) -> None:
        self.rules[FAIR] = Rule(20)
        each = self.fair_runs * 3 // (2 * FAIR_KEYS)
        keys = [0] * (2 * each) + [key for _ in range(each) for key in range(1, FAIR_KEYS)]
        with self.connection.transaction() as tx:
            limits.put(tx, FAIR, limits.Bounds(20), "benchmark")
        self._send([
            Envelope(f"{FAIR}.parent.{n}", "task", QUEUES[0], BODY, {}, {}, limit_key=f"{FAIR}:{key:03}")
            for n, key in enumerate(keys)
        ])  # fmt: skip

    def _until_fair(self, fleet: Fleet) -> None:
        while fleet.runs < self.fair_runs * 1.1 and self._open():
            time.sleep(0.02)

    def _begin(self, episode: int) -> None:
        rules = rules_of(self.given.seed, episode)
        self.rules |= rules
        with self.connection.transaction() as tx:
            bounds = {name: planted(rule, self.given.plant) for name, rule in rules.items()}
            limits.record(tx, bounds, "benchmark")
        self._send(episode_of(episode, self.given.seed)[: self.given.runs])  # a short run has few of them

    def _send(self, envelopes: list[Envelope]) -> None:
        for first in range(0, len(envelopes), 1000):
            with self.connection.transaction() as tx:
                enqueue.add(tx, envelopes[first : first + 1000])

    def _waiting(self) -> int:
        with self.connection.reading() as tx:
            return sum(int(tx.fetch("count_waiting", queue=queue)[0].tasks) for queue in QUEUES)

    def _open(self) -> int:
        with self.connection.reading() as tx:
            (row,) = tx.query("SELECT count(*) AS tasks FROM mirepoix_task WHERE state IN ('leased', 'running')")
        return int(row.tasks) + self._waiting()


def report_on(report: Report, name: str, given: argparse.Namespace) -> None:
    """Print what was found."""
    faults = dict(report.faults) or "none"
    per_s = report.runs / report.seconds
    print(
        f"  {name}, seed {given.seed}: {report.runs:,} runs of {report.tasks:,} tasks and {report.keys:,} keys in "
        f"{report.seconds:.0f} s ({per_s:,.0f}/s)\n"
        f"    faults: {faults}\n"
        f"    keys at their limit {report.full:,} times, full windows of rates {report.windows:,}, "
        f"unique calls that met another {report.conflicts:,}\n"
        f"    {sum(report.kills.values()):,} kills: { {str(point): n for point, n in sorted(report.kills.items())} }\n"
        f"    death to the last slot freed: {spread(report.freed)}\n"
        f"    {len(report.fair)} keys with equal claims ran {min(report.fair.values())} to {max(report.fair.values())} "
        f"times, the largest difference from the mean {report.unfair * 100:.1f} %\n"
        f"    states {dict(report.states.most_common())} (load {load()})",
        *(f"    {example}" for example in report.examples),
        sep="\n",
        flush=True,
    )


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=list(LEDGERS))
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="of each process")
    parser.add_argument("--kills", type=float, default=0.002, help="the share of commit boundaries at which one dies")
    parser.add_argument("--seconds", type=float, default=3600.0, help="send nothing more after this time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plant", choices=PLANTS, help="a fault that the judge must find")
    return parser


def main() -> None:
    given = options().parse_args()
    with servers(*given.systems) as found:
        print_header("Random runs with limits", found, f"{vars(given)}")
        reports = []
        for server in found:
            if server.kind == "postgresql":  # no database dies here
                server.execute("ALTER DATABASE postgres SET synchronous_commit = off")
            elif server.kind == "mariadb":
                server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
            reports.append(Run(server.url, given).run())
            report_on(reports[-1], server.name, given)
    raise SystemExit(1 if any(report.faults for report in reports) else 0)


if __name__ == "__main__":
    main()

"""Kill processes under load and see what becomes of the tasks: ``python -m benchmarks.kills``.

Every task appends a line to a file when it begins and when it ends: the effects file is the witness, not the ledger.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.app import make_app
from benchmarks.machine import children, load, print_header, spread
from benchmarks.servers import BROKER_MODE, LEDGERS, Server, servers
from benchmarks.worker import Worker
from celery import chain, chord
from celery.canvas import Signature


class Scene:
    """A fresh ledger, its workers, and what the effects file says."""

    pool = "prefork"

    def __init__(self, server: Server, workers: int, concurrency: int, **more: str) -> None:
        self.server, self.concurrency, self.more = server, concurrency, more
        server.reset()
        self.file = Path(tempfile.mkstemp(prefix="mirepoix-benchmark-")[1])
        self.tasks = make_app(server.url, broker_url=server.broker and server.broker.url).tasks
        self.workers = [self.hire() for _ in range(workers)]
        self.sent: dict[str, float] = {}
        self.killed: dict[int, float] = {}
        for number in range(4 * workers):  # every worker is up and has run something
            self.tasks["effect"].delay(f"warm{number}", 0.2)
        self.until(lambda: self.finished("warm") >= 4 * workers)
        time.sleep(1.5)

    def hire(self) -> Worker:
        return Worker(self.server, self.pool, self.concurrency, self.file, **self.more)

    def send(self, key: str, seconds: float) -> None:
        self.sent[key] = time.time()
        self.tasks["effect"].delay(key, seconds)

    def lines(self) -> list[tuple[str, str, int, float]]:
        words = (line.split() for line in self.file.read_text().splitlines())
        return [(word[0], word[1], int(word[2]), float(word[3])) for word in words]

    def finished(self, prefix: str) -> int:
        return len({key for kind, key, _, _ in self.lines() if kind == "end" and key.startswith(prefix)})

    def until(self, is_true, timeout_s: float = 60.0) -> bool:
        end = time.monotonic() + timeout_s
        while not is_true() and time.monotonic() < end:
            time.sleep(0.02)
        return is_true()

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.file.unlink()

    def kill_child(self) -> None:
        """SIGKILL to a pool process that is in the middle of a task."""
        running = {}
        for kind, key, pid, _ in self.lines():
            running.pop(pid, None)
            if kind == "start":
                running[pid] = key
        pool = {pid for worker in self.workers for pid in children(worker.pid)}
        busy = [pid for pid in running if pid in pool and pid not in self.killed]
        if busy:
            pid = random.choice(busy)
            self.killed[pid] = time.time()
            os.kill(pid, signal.SIGKILL)

    def kill_worker(self) -> None:
        """SIGKILL to a whole worker, replaced at once as a supervisor would."""
        worker = self.workers.pop(0)
        now = time.time()
        self.killed |= dict.fromkeys(children(worker.pid), now)
        worker.kill()
        worker.stop()
        self.workers.append(self.hire())

    def judge(self) -> dict:
        """Lost and overlapping tasks; how late reruns began after the death, and unharmed tasks after their sending."""
        spans = defaultdict(list)
        for kind, key, pid, at in self.lines():
            if kind == "start":
                spans[key].append([at, pid, None])
            else:
                next(span for span in reversed(spans[key]) if span[1] == pid)[2] = at
        overlaps, reruns, unharmed, runs = 0, [], [], 0
        for key, sent_at in self.sent.items():
            begun = sorted(spans[key])
            runs += len(begun)
            for (_, pid, ended_at), (later, _, _) in itertools.pairwise(begun):
                over_at = ended_at or self.killed.get(pid)
                if over_at is None or over_at > later:
                    overlaps += 1
                elif ended_at is None:
                    reruns.append(later - over_at)
            if len(begun) == 1:
                unharmed.append(begun[0][0] - sent_at)
        lost = [key for key in self.sent if not any(span[2] for span in spans[key])]
        again = runs - len(self.sent) - len(reruns)
        return {"lost": len(lost), "overlaps": overlaps, "reruns": reruns, "unharmed": unharmed, "again": again}


def kill_test(server: Server, kills: int, how: str, tasks: int, every_s: float) -> None:
    scene = Scene(server, workers=2, concurrency=4)
    try:
        moments = {round(tasks * (index + 0.5) / kills) for index in range(kills)} if kills else set()
        for number in range(tasks):
            scene.send(f"t{number}", 0.1 + 0.2 * random.random())
            if number in moments:
                scene.kill_child() if how == "child" else scene.kill_worker()
            time.sleep(every_s)
        scene.until(lambda: scene.finished("t") >= tasks, 40.0)
        time.sleep(0.5)
        found = scene.judge()
        pids = "processes" if how == "child" else "workers"
        print(
            f"  {server.label}: {kills} {pids} killed in {tasks} tasks: lost {found['lost']}, overlapping "
            f"{found['overlaps']}, run again after they had ended {found['again']}"
        )
        print(f"    begun again after the death: {spread(found['reruns'])}")
        print(f"    unharmed, sent to begun:     {spread(found['unharmed'])}", flush=True)
    finally:
        scene.close()


def poison_test(server: Server) -> None:
    took = {}
    for poisoned in (0, 2):
        scene = Scene(server, workers=1, concurrency=2)
        try:
            begun = time.time()
            for number in range(100):
                if poisoned and number in (10, 40):
                    scene.tasks["poison"].delay(f"poison{number}")
                scene.send(f"t{number}", 0.1)
            scene.until(lambda scene=scene: scene.finished("t") >= 100)
            took[poisoned] = max(at for kind, key, _, at in scene.lines() if kind == "end" and key[0] == "t") - begun
            if poisoned:
                scene.until(lambda: {state for state, _ in poisoned_rows(server)} == {"quarantined"}, 20.0)
                runs = [sum(line[1] == f"poison{number}" for line in scene.lines()) for number in (10, 40)]
                print(f"  {server.label}: two poison tasks among 100: runs {runs}, ended as {poisoned_rows(server)}")
        finally:
            scene.close()
    print(
        f"    the healthy ones took {took[0]:.2f} s without poison, {took[2]:.2f} s with: {took[2] / took[0]:.2f} x",
        flush=True,
    )


def poisoned_rows(server: Server) -> list[tuple]:
    return server.execute("SELECT state, deaths FROM mirepoix_task WHERE name = 'poison'", rows=True)


def eta_test(server: Server, count: int = 60, due_in_s: float = 6.0) -> None:
    scene = Scene(server, workers=1, concurrency=2)
    try:
        due = {f"t{n}": time.time() + due_in_s + n * 0.02 for n in range(count)}
        for key, at in due.items():
            scene.tasks["effect"].apply_async((key, 0.005), eta=datetime.fromtimestamp(at, UTC))
        time.sleep(1.0)
        scene.kill_worker()
        scene.until(lambda: scene.finished("t") >= count)
        begun = {key: at for kind, key, _, at in scene.lines() if kind == "start" and key in due}
        late = [at - due[key] for key, at in begun.items()]
        runs = sum(kind == "start" and key in due for kind, key, _, _ in scene.lines())
        print(
            f"  {server.label}: {count} ETA tasks, their worker killed before: ran {len(begun)} ({runs} runs), "
            f"earliest {min(late) * 1000:.0f} ms, late {spread(late)}",
            flush=True,
        )
    finally:
        scene.close()


def long_test(server: Server) -> None:
    scene = Scene(server, workers=2, concurrency=2, BENCHMARK_LEASE_TTL_S="5")
    try:
        scene.send("t0", 60.0)
        scene.until(lambda: scene.finished("t") >= 1, 90.0)
        runs = sum(kind == "start" and key == "t0" for kind, key, _, _ in scene.lines())
        print(
            f"  {server.label}: a task of 60 s under lease_ttl_s=5: begun {runs}, ended {scene.finished('t')}",
            flush=True,
        )
    finally:
        scene.close()


def canvas_test(server: Server, chains: int = 50, steps: int = 5, chords: int = 20, members: int = 10) -> None:
    """Chains and chords under 20 kills of pool processes and 5 of whole workers, spread over their run."""
    scene = Scene(server, workers=2, concurrency=4)
    effect = scene.tasks["effect"]

    def task(key: str) -> Signature:
        scene.sent[key] = time.time()
        return effect.si(key, 0.05 + 0.1 * random.random()).set(task_id=key, ignore_result=False)

    try:
        for number in range(max(chains, chords)):
            if number < chains:
                chain(*(task(f"t-chain{number}-{step}") for step in range(steps))).delay()
            if number < chords:
                header = [task(f"t-chord{number}-{place}") for place in range(members)]
                body = task(f"t-body{number}").set(link=task(f"t-link{number}"))
                chord(header, body).delay()
        total = len(scene.sent)
        kills = [scene.kill_child] * 20
        for place in range(5):
            kills.insert(5 * place + 2, scene.kill_worker)
        for number, kill in enumerate(kills):
            scene.until(lambda number=number: scene.finished("t-") >= total * (number + 0.5) / len(kills))
            kill()
        is_done = scene.until(lambda: succeeded(server) >= total, 60.0)
        found = scene.judge()
        ((fired, counted),) = server.execute(
            "SELECT count(*), sum(CASE WHEN done = size THEN 1 ELSE 0 END) FROM mirepoix_chord WHERE state = 'fired'",
            rows=True,
        )
        twice = server.execute(
            "SELECT task_id FROM mirepoix_attempt_history "
            "WHERE outcome = 'succeeded' GROUP BY task_id HAVING count(*) > 1",
            rows=True,
        )
        left = server.execute("SELECT count(*) FROM mirepoix_chord_part", rows=True)[0][0]
        results = server.execute(
            "SELECT count(*) FROM mirepoix_result WHERE status = 'SUCCESS' AND task_id LIKE 't-%'", rows=True
        )[0][0]
        deaths = server.execute("SELECT sum(deaths) FROM mirepoix_task", rows=True)[0][0]
        print(
            f"  {server.label}: {chains} chains of {steps} and {chords} chords of {members} (each body with a link), "
            f"{total} tasks; {len(scene.killed)} processes killed, {deaths} of them while a task was noted in them"
        )
        print(
            f"    succeeded {succeeded(server)} ({'all' if is_done else 'NOT ALL'}), twice {len(twice)}; results kept "
            f"{results}; chords fired {fired}, of them with every member counted once {counted}, parts left over {left}"
        )
        print(
            f"    lost {found['lost']}, overlapping {found['overlaps']}, run again after they had ended "
            f"{found['again']}; begun again after the death: {spread(found['reruns'])}",
            flush=True,
        )
    finally:
        scene.close()


def succeeded(server: Server) -> int:
    sql = "SELECT count(*) FROM mirepoix_task WHERE state = 'succeeded' AND id LIKE 't-%'"
    return server.execute(sql, rows=True)[0][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--every-s", type=float, default=0.075, help="between two sends: slots stay free at this pace")
    parser.add_argument("--systems", nargs="+", choices=(*LEDGERS, *BROKER_MODE), default=list(LEDGERS))
    parser.add_argument(
        "--only",
        nargs="+",
        choices=("none", "child", "worker", "poison", "eta"),
        default=["none", "child", "worker", "poison", "eta"],
    )
    parser.add_argument("--canvas", action="store_true", help="chains and chords, and nothing else")
    parser.add_argument("--long", action="store_true", help="the 60 s task as well")
    parser.add_argument("--pool", choices=["prefork", "mirepoix"], default=Scene.pool)
    given = parser.parse_args()
    Scene.pool = given.pool
    random.seed(7)
    with servers(*given.systems) as systems:
        print_header(
            "What becomes of tasks when processes are killed",
            systems,
            f"2 workers, {given.pool} -c 4, tasks of 0.1 to 0.3 s, one every {given.every_s} s",
        )
        if given.canvas:
            for server in systems:
                canvas_test(server)
            print(f"load after: {load()}")
            return
        for server in systems:
            for how, kills in (("none", 0), ("child", 20), ("worker", 5)):
                if how in given.only:
                    kill_test(server, kills, how, given.tasks, given.every_s)
            if "poison" in given.only:
                poison_test(server)
            if "eta" in given.only:
                eta_test(server)
            if given.long:
                long_test(server)
        print(f"load after: {load()}")


if __name__ == "__main__":
    main()

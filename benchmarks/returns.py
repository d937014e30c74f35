"""Kill workers in front of a long queue, and see when their tasks run again: ``python -m benchmarks.returns``.

A task that was cut off is older than all that waits. The backlog stays longer than ``--backlog`` until the last kill.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time

from benchmarks.kills import Scene
from benchmarks.machine import children, load, print_header, spread
from benchmarks.servers import BROKER_MODE, LEDGERS, Server, servers

import mirepoix

TASK_S = 0.1
SETTLE_S = 1.0
CONCURRENCY = 4
WORKERS = 2


def kill_in_front_of_a_backlog(server: Server, backlog: int, kills: int) -> None:
    scene = Scene(server, workers=WORKERS, concurrency=CONCURRENCY)
    try:
        count = backlog + round((kills + 1) * 10 * WORKERS * CONCURRENCY / TASK_S)
        mirepoix.bulk(scene.tasks["effect"], ([f"t{number}", TASK_S] for number in range(count)))
        scene.until(lambda: not count_rows(server, "sent_fence <> fence"))
        for _ in range(kills):
            scene.until(lambda: all_work(scene))
            time.sleep(SETTLE_S)
            scene.kill_worker()
            time.sleep(SETTLE_S)
            scene.until(lambda: not count_rows(server, "is_suspect = 1"))
        cut, again = judge(scene)
        left = count - scene.finished("t")
        print(
            f"  {server.label}: {kills} workers killed, {cut} tasks cut off, {len(again)} of them begun again. "
            f"{left} others waited at the end"
        )
        print(f"    begun again after the death: {spread(again)}", flush=True)
    finally:
        scene.close()


def all_work(scene: Scene) -> bool:
    """Whether each worker has begun a task, also that which replaced a killed one."""
    seen = {pid for kind, _, pid, _ in scene.lines() if kind == "start"}
    return all(seen.intersection(children(worker.pid)) for worker in scene.workers)


def count_rows(server: Server, condition: str) -> int:
    """How many ready tasks are like that: not published yet, or suspects that run one after the other."""
    sql = f"SELECT count(*) FROM mirepoix_task WHERE state = 'pending' AND due_at IS NULL AND {condition}"
    return server.execute(sql, rows=True)[0][0]


def judge(scene: Scene) -> tuple[int, list[float]]:
    """How many tasks were cut off, and how long after the death those that run again began to."""
    cut, again = 0, []
    begun: dict[str, list[tuple[float, int]]] = {}
    ended = set()
    for kind, key, pid, at in scene.lines():
        if kind == "start":
            begun.setdefault(key, []).append((at, pid))
        else:
            ended.add((key, pid))
    for key, starts in begun.items():
        later = [at for at, _ in itertools.islice(starts, 1, None)]
        for number, (_, pid) in enumerate(starts):
            if (key, pid) not in ended and pid in scene.killed:
                cut += 1
                if number < len(later):
                    again.append(later[number] - scene.killed[pid])
    return cut, again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backlog", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--systems", nargs="+", choices=(*LEDGERS, *BROKER_MODE), default=list(BROKER_MODE))
    parser.add_argument("--pool", choices=["prefork", "mirepoix"], default=Scene.pool)
    given = parser.parse_args()
    Scene.pool = given.pool
    random.seed(7)
    with servers(*given.systems) as systems:
        print_header(
            "When tasks that were cut off run again",
            systems,
            f"{WORKERS} workers, {given.pool} -c {CONCURRENCY}, tasks of {TASK_S} s, a backlog of {given.backlog}",
        )
        for server in systems:
            kill_in_front_of_a_backlog(server, given.backlog, given.kills)
        print(f"load after: {load()}")


if __name__ == "__main__":
    main()

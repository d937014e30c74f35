"""A broker that dies, forgets and is away, in front of a ledger: ``python -m benchmarks.outages``.

Every task appends a line to a file when it begins and when it ends: the effects file is the witness, not the ledger.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.kills import Scene
from benchmarks.machine import load, print_header, spread
from benchmarks.servers import BROKER_MODE, LEDGER_QUEUE, Server, servers
from benchmarks.worker import ROOT


def dies(server: Server, times: int, queued: int) -> None:
    """The broker is killed with tasks queued and running, and started again."""
    scene = Scene(server, workers=2, concurrency=2)
    back, everything = [], []
    try:
        for number in range(times):
            scene.send(f"long{number}", 20.0)
            for index in range(queued):
                scene.send(f"short{number}-{index}", 0.02)
            scene.until(lambda number=number: scene.finished(f"short{number}") >= 10)
            restart(server)
            began = time.monotonic()
            before = scene.finished("")
            scene.until(lambda before=before: scene.finished("") > before + 4)  # more than was running
            back.append(time.monotonic() - began)
            scene.until(lambda number=number: scene.finished(f"short{number}") >= queued, 90)
            everything.append(time.monotonic() - began)
        scene.until(lambda: scene.finished("long") >= times)
        _print(f"killed {times} times, {queued} queued, one running 20 s", scene, back)
        print(f"    all {queued} done {', '.join(f'{s:.1f}' for s in everything)} s after the broker's return")
    finally:
        scene.close()


def forgets(server: Server, queued: int) -> None:
    """Redis is flushed; RabbitMQ's queue is deleted."""
    scene = Scene(server, workers=1, concurrency=2)
    try:
        scene.send("held-a", 3.0)
        scene.send("held-b", 3.0)
        for index in range(queued):
            scene.send(f"short{index}", 0.02)
        time.sleep(0.5)
        how = forget(server)
        began = time.monotonic()
        scene.until(lambda: scene.finished("held") >= 2)
        scene.until(lambda: scene.finished("short") >= 10, 60)
        back = [time.monotonic() - began]
        scene.until(lambda: scene.finished("short") >= queued, 90)
        _print(f"{how} with {queued} queued (and both slots taken for 3 s)", scene, back)
    finally:
        scene.close()


def away(server: Server, seconds: float) -> None:
    """How long delay() takes before, during and after."""
    scene = Scene(server, workers=1, concurrency=2)
    try:
        took: dict[str, list[float]] = {"before": [], "away": [], "after": []}

        def send(phase: str, until: float) -> None:
            while time.monotonic() < until:
                began = time.perf_counter()
                scene.send(f"{phase}{len(took[phase])}", 0.0)
                took[phase].append(time.perf_counter() - began)
                time.sleep(0.02)

        send("before", time.monotonic() + 10)
        server.broker.daemon.kill()
        send("away", time.monotonic() + seconds)
        server.broker.pid = server.broker.daemon.start()
        began = time.monotonic()
        scene.until(lambda: scene.finished("away") >= len(took["away"]), 120)
        done_s = time.monotonic() - began
        send("after", time.monotonic() + 10)
        scene.until(lambda: scene.finished("after") >= len(took["after"]))
        _print(f"away for {seconds:.0f} s", scene, [])
        for phase, values in took.items():
            print(f"    delay() {phase:7} {spread(values)}")
        print(f"    the {len(took['away'])} sent meanwhile were done {done_s:.1f} s after its return")
    finally:
        scene.close()


def patience(server: Server, seconds: float) -> None:
    """A task longer than the broker's patience, with others waiting behind it."""
    scene = Scene(server, workers=2, concurrency=1, BENCHMARK_VISIBILITY_S="5")
    try:
        scene.send("long-a", seconds)
        scene.send("long-b", seconds)
        for index in range(10):
            scene.send(f"short{index}", 0.0)
        scene.until(lambda: scene.finished("short") >= 10, seconds + 60)
        _print(f"two tasks of {seconds:.0f} s under visibility_timeout 5 s / consumer_timeout 10 s", scene, [])
    finally:
        scene.close()


def restart(server: Server) -> None:
    server.broker.daemon.kill()
    server.broker.pid = server.broker.daemon.start()


def forget(server: Server) -> str:
    if server.broker.name == "redis":
        server.broker.reset()
        return "flushed"
    import kombu

    with kombu.Connection(server.broker.url) as connection:
        connection.default_channel.queue_delete(LEDGER_QUEUE)
    return "its queue deleted"


def reconciled(server: Server) -> str:
    """What ``mirepoix reconcile`` says."""
    said = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "benchmarks.app", "mirepoix", "reconcile"],
        cwd=ROOT,
        env=os.environ | server.environment | {"BENCHMARK_FILE": os.devnull},
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip().splitlines()[-1] if said.stdout.strip() else said.stderr.strip()


def _print(what: str, scene: Scene, back: list[float]) -> None:
    found = scene.judge()
    reruns = found["again"] + len(found["reruns"])
    times = f"; tasks end again after {', '.join(f'{s:.1f}' for s in back)} s" if back else ""
    print(
        f"  {scene.server.label}: {what}: {len(scene.sent)} tasks, lost {found['lost']}, "
        f"overlapping {found['overlaps']}, run more than once {reruns}{times}; {reconciled(scene.server)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=BROKER_MODE, default=list(BROKER_MODE))
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--queued", type=int, default=200)
    parser.add_argument("--away-s", type=float, default=60.0)
    parser.add_argument("--long-s", type=float, default=90.0)
    parts: dict[str, Callable] = {"dies": dies, "forgets": forgets, "away": away, "patience": patience}
    parser.add_argument("--parts", nargs="+", choices=list(parts), default=list(parts))
    given = parser.parse_args()
    os.environ["BENCHMARK_CONSUMER_TIMEOUT_MS"] = "10000"
    with servers(*given.systems) as systems:
        print_header("Broker outages", systems, "prefork; publisher confirms; resend_after_s 30, broker_retry_s 1")
        for server in systems:
            arguments = {
                "dies": (given.times, given.queued),
                "forgets": (given.queued,),
                "away": (given.away_s,),
                "patience": (given.long_s,),
            }
            for part in given.parts:
                parts[part](server, *arguments[part])
        print(f"load after: {load()}")


if __name__ == "__main__":
    main()

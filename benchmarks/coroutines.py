"""Tasks that each wait 1 s for an HTTP server, in one process of the asyncio pool: ``python -m benchmarks.coroutines``.

The ideal is the number of tasks, divided by how many run at once, times the time that each waits. A program of plain
asyncio does the same before, to show what the machine has to spare. With ``--kills`` the pool's process is killed again
and again; the effects file says what was lost and what overlapped.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

from benchmarks.app import fetch
from benchmarks.kills import Scene
from benchmarks.machine import children, cpu_s, load, print_header, spread
from benchmarks.servers import LEDGERS, Server, free_port, servers

import mirepoix

POOL = "mirepoix-asyncio"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
DESCRIPTORS = 16_384


async def serve(port: int, wait_s: float) -> None:
    """Answer every request after that time."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(wait_s)
            writer.write(ANSWER)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client was killed
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


async def plain(port: int, tasks: int, at_once: int) -> None:
    """Do the same work without a worker, and print how many seconds it took."""
    places = asyncio.Semaphore(at_once)

    async def one(key: str) -> None:
        async with places:
            await fetch(key, port)

    began_at = time.monotonic()
    await asyncio.gather(*(one(f"t{number}") for number in range(tasks)))
    print(time.monotonic() - began_at)


def run_plain(port: int, given: argparse.Namespace) -> None:
    command = [sys.executable, "-m", "benchmarks.coroutines", "--plain", str(port), "--tasks", str(given.tasks)]
    with tempfile.NamedTemporaryFile() as file:
        environment = {**os.environ, "BENCHMARK_FILE": file.name}
        told = subprocess.run(
            [*command, "--at-once", str(given.at_once)], env=environment, capture_output=True, text=True, check=True
        )
    took_s, ideal_s = float(told.stdout), given.tasks / given.at_once * given.wait_s
    print(
        f"  plain asyncio: {took_s:.2f} s, {took_s / ideal_s:.2f} x the ideal {ideal_s:g} s; load {load()}", flush=True
    )


def start_server(wait_s: float) -> tuple[subprocess.Popen, int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.coroutines", "--serve", str(port), str(wait_s)])
    return process, port


def run(server: Server, given: argparse.Namespace, port: int, kills: int) -> None:
    scene = Waiting(server, workers=1, concurrency=given.at_once)
    try:
        keys = [f"t{number}" for number in range(given.tasks)]
        sent_at = time.time()
        scene.sent = dict.fromkeys(keys, sent_at)
        mirepoix.bulk(scene.tasks["fetch"], ((key, port) for key in keys))
        sent_s = time.time() - sent_at
        (worker,) = scene.workers
        (process,) = children(worker.pid)
        before = cpu_s(worker.pid), cpu_s(process)
        next_kill = time.monotonic() + given.kill_every_s
        while not scene.is_over():
            if kills and time.monotonic() >= next_kill:
                kills -= scene.kill_process()
                next_kill = time.monotonic() + given.kill_every_s
            time.sleep(0.1)
            if time.time() > sent_at + 600:
                break
        scene.until(scene.is_recorded, 20.0)
        report(scene, given, sent_s, before)
    finally:
        scene.close()


class Waiting(Scene):
    """The tasks that wait, and one worker."""

    pool = POOL

    def is_over(self) -> bool:
        return self.count("t") >= len(self.sent)

    def count(self, prefix: str) -> int:
        text = self.file.read_text()
        ended = {line.split()[1] for line in text.splitlines() if line.startswith(f"end {prefix}")}
        return len(ended)

    def is_recorded(self) -> bool:
        return self.states()["succeeded"] >= len(self.sent)

    def states(self) -> Counter:
        sql = "SELECT state, count(*) FROM mirepoix_task WHERE name = 'fetch' GROUP BY state"
        return Counter(dict(self.server.execute(sql, rows=True)))

    def kill_process(self) -> int:
        """SIGKILL to the pool's process; returns how many were killed."""
        pids = [pid for pid in children(self.workers[0].pid) if pid not in self.killed]
        for pid in pids:
            self.killed[pid] = time.time()
            os.kill(pid, signal.SIGKILL)
        return len(pids)


def report(scene: Waiting, given: argparse.Namespace, sent_s: float, before: tuple[float, float]) -> None:
    lines = [line for line in scene.lines() if line[1] in scene.sent]
    began_at, ended_at = min(line[3] for line in lines), max(line[3] for line in lines)
    ideal_s = given.tasks / given.at_once * given.wait_s
    took_s = ended_at - began_at
    at_once = most = 0
    live: Counter = Counter()
    for kind, _, pid, _ in sorted(lines, key=lambda line: line[3]):
        live[pid] += 1 if kind == "start" else -1
        at_once = live[pid]
        most = max(most, at_once)
    found = scene.judge()
    deaths = scene.server.execute(
        "SELECT sum(CASE WHEN deaths > 0 THEN 1 ELSE 0 END), max(handovers) FROM mirepoix_task WHERE name = 'fetch'",
        rows=True,
    )[0]
    print(
        f"  {scene.server.label}: {given.tasks} tasks of {given.wait_s:g} s, {given.at_once} at once: {took_s:.2f} s, "
        f"{took_s / ideal_s:.2f} x the ideal {ideal_s:g} s"
    )
    print(f"    at most {most} at once in a process; sent in {sent_s:.1f} s")
    if scene.killed:
        print(
            f"    {len(scene.killed)} SIGKILLs of its process: lost {found['lost']}, overlapping {found['overlaps']}, "
            f"run again after they had ended {found['again']}"
        )
        print(f"    blamed at least once {deaths[0]}, most hand-overs of a task {deaths[1]}")
        print(f"    begun again after the death: {spread(found['reruns'])}")
    else:
        worker = scene.workers[0]
        parent, child = cpu_s(worker.pid) - before[0], cpu_s(children(worker.pid)[0]) - before[1]
        each = 1e6 / given.tasks
        print(f"    CPU of a task: parent {parent * each:.0f} us, process {child * each:.0f} us")
    print(f"    states: {dict(scene.states())}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=1_000)
    parser.add_argument("--wait-s", type=float, default=1.0)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--kill-every-s", type=float, default=2.0)
    parser.add_argument("--only", nargs="+", choices=("quiet", "kills"), default=["quiet", "kills"])
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=["postgresql"])
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--plain", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    if given.serve:
        asyncio.run(serve(int(given.serve[0]), float(given.serve[1])))
        return
    if given.plain:
        asyncio.run(plain(given.plain, given.tasks, given.at_once))
        return
    with servers(*given.systems) as systems:
        print_header(
            "Tasks that wait for an HTTP server",
            systems,
            f"1 worker, {POOL} -c {given.at_once}, one process; the HTTP server is a process of its own",
        )
        http, port = start_server(given.wait_s)
        try:
            for server in systems:
                if "quiet" in given.only:
                    run_plain(port, given)
                    run(server, given, port, 0)
                if "kills" in given.only:
                    run(server, given, port, given.kills)
        finally:
            http.terminate()
        print(f"load after: {load()}")


if __name__ == "__main__":
    main()

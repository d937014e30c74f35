"""Random faults under load, judged by an outside witness: ``python -m benchmarks.chaos --db postgresql --seed 7``.

Workers have the default settings. Senders note what they committed and what they rolled back, tasks when they began and
ended, and this program whom it killed and when; the ledger is asked only what it says of them. The same seed gives the
same faults in the same order. Exit code 1 if anything is wrong; what was noted stays in a folder that is named.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from benchmarks.chaos_app import TABLES
from benchmarks.chaos_faults import FAULTS, Draw, Missed, draws
from benchmarks.chaos_judge import EXCUSED, Verdict, judge, keep, unfinished
from benchmarks.chaos_judge import FAULTS as WRONGS
from benchmarks.chaos_scene import HOST, Clocks, Mount, Network, Scene
from benchmarks.machine import load, print_header
from benchmarks.servers import LEDGERS, Place, Server, servers
from benchmarks.worker import ROOT
from celery import Celery

import mirepoix

AT_ONCE = 3
"""So many faults may go on together."""


class Senders:
    """Processes that send, on the database's own host."""

    def __init__(self, scene: Scene, count: int, every_s: float, seed: int) -> None:
        self.files = [scene.evidence / f"sender-{number}.txt" for number in range(count)]
        environment = os.environ | {"CHAOS_URL": scene.server.url} | scene.clocks.environment("host")
        self.processes = []
        for number, file in enumerate(self.files):
            file.touch()
            arguments = [str(file), f"s{number}", str(1000 * seed + number), str(every_s * count)]
            command = [sys.executable, "-m", "benchmarks.chaos_app", *arguments]
            with file.with_suffix(".log").open("w") as log:
                self.processes.append(
                    subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
                )

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=90)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def prepare(server: Server) -> None:
    """An empty ledger with the user's tables beside it, and MariaDB's user, whom `read_only` binds."""
    server.reset()
    if server.kind == "sqlite":
        mirepoix.install(Celery("migrates", set_as_current=False), server.url)
    if server.kind == "mariadb":
        server.execute("CREATE USER chaos@'%'", "GRANT ALL ON benchmark.* TO chaos@'%'")
    server.execute(*TABLES)


def strike_all(scene: Scene, faults: list[Draw]) -> tuple[Counter, Counter]:
    """Each fault after a pause, up to AT_ONCE at a time; how many of each kind struck, and how many could not."""
    struck, missed, places, threads = Counter(), Counter(), threading.Semaphore(AT_ONCE), []

    def strike(number: int, draw: Draw) -> None:
        try:
            scene.note("begin", number, draw.kind, f"{draw.where:.3f} {draw.soon_s:.1f} {draw.long_s:.1f}")
            FAULTS[draw.kind].strike(scene, draw)
        except Exception as error:  # noqa: BLE001 - another fault may be in its way, such as a frozen server
            missed[draw.kind] += 1
            scene.note("missed", number, draw.kind, repr(error) if not isinstance(error, Missed) else error)
        else:
            struck[draw.kind] += 1
            scene.note("end", number, draw.kind)
        finally:
            places.release()

    for number, draw in enumerate(faults):
        time.sleep(draw.pause_s)
        places.acquire()
        threads.append(threading.Thread(target=strike, args=(number, draw)))
        threads[-1].start()
        if number % 20 == 19:
            print(f"  {number + 1} faults begun; load {load()}", flush=True)
    for thread in threads:
        thread.join()
    return struck, missed


def report(scene: Scene, found: Verdict) -> None:
    rows = ", ".join(f"{count} {state}" for state, count in sorted(found.rows.items()))
    print(f"\nsent {found.sent} (of {found.unknown} nobody knows whether they were committed); rows: {rows}")
    print(f"attempts seen {found.attempts}; processes killed {found.deaths}; load after: {load()}")
    said = "".join(slot.log.read_text(errors="replace") for slot in scene.slots)
    print(
        f"workers declared dead while they lived {said.count('was declared dead while it lived')}; outcomes refused "
        f"{said.count('was refused: its lease was lost')}\n"
    )
    for kind, meaning in WRONGS.items():
        ids = found.wrong.get(kind, [])
        print(f"{kind:12} {len(ids):4}   {meaning}")
        for id in ids[:10]:
            print(f"                    {id}")
    for kind, meaning in EXCUSED.items():
        ids = found.excused.get(kind, [])
        print(f"{'(excused)':12} {len(ids):4}   {kind}: {meaning}")
        for id in ids[:5]:
            print(f"                    {id}")
    print(f"\n{'NOTHING IS WRONG' if found.is_clean else 'WRONG'}; evidence: {scene.evidence}", flush=True)


def run(given: argparse.Namespace) -> bool:
    evidence = Path(tempfile.mkdtemp(prefix=f"chaos-{given.db}-{given.seed}-"))
    evidence.chmod(0o755)
    with ExitStack() as stack:
        clocks = Clocks(evidence)
        mount = Mount(evidence / "data", 200 if given.db == "sqlite" else 900)
        stack.callback(mount.close)
        network = Network(given.workers if given.db != "sqlite" else 0)
        stack.callback(network.close)
        place = Place(mount.folder, None if network.lacks else HOST, clocks.environment("host"))
        (server,) = stack.enter_context(servers(given.db, place=place))
        print_header(
            "Random faults, judged by what senders, tasks and the killer noted",
            [server],
            f"{given.workers} workers, {given.pool} -c {given.concurrency}, default settings (lease_ttl_s 15); one is "
            f"sent every {given.every_s} s by 2 senders; seed {given.seed}, {given.faults} faults, up to {AT_ONCE} at "
            "once",
        )
        prepare(server)
        scene = Scene(server, evidence, (network, clocks, mount), given.workers, given.concurrency, given.pool)
        stack.callback(scene.close)
        possible = []
        for name in given.only or FAULTS:
            lack = FAULTS[name].lacks(scene)
            possible += [] if lack else [name]
            print(f"  without {name}: {lack}" if lack else f"  {name}: {FAULTS[name].__doc__.splitlines()[0]}")
        if not possible:
            sys.exit("No fault of those is possible here.")
        for slot in scene.slots:
            slot.until_ready(60.0)
        senders = Senders(scene, 2, given.every_s, given.seed)
        stack.callback(senders.stop)
        scene.until(lambda: all(file.stat().st_size for file in senders.files), 60.0)
        began = time.monotonic()
        struck, missed = strike_all(scene, list(draws(given.seed, given.faults, possible)))
        senders.stop()
        took = time.monotonic() - began
        is_settled = scene.until(lambda: not unfinished(server, senders.files), given.settle_s)
        settled = f"settled {time.monotonic() - began - took:.0f} s later" if is_settled else "NOT SETTLED"
        print(f"\n{sum(struck.values())} faults in {took:.0f} s, {settled}: {_counts(struck)}")
        print(f"could not strike: {_counts(missed) or 'none'}")
        found = judge(scene, senders.files)
        keep(scene)
        report(scene, found)
        return found.is_clean


def _counts(counter: Counter) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counter.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", choices=LEDGERS, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--only", nargs="+", choices=FAULTS, metavar="KIND", help=f"of {', '.join(FAULTS)}")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=3)
    parser.add_argument("--pool", choices=["prefork", "mirepoix"], default="prefork")
    parser.add_argument("--every-s", type=float, default=0.25, help="between two sends")
    parser.add_argument("--settle-s", type=float, default=180.0, help="how long may pass until all is final")
    sys.exit(0 if run(parser.parse_args()) else 1)


if __name__ == "__main__":
    main()

"""What `benchmarks.chaos` does to workers and their database. A fault is over, and undone, when `strike` returns."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass

from benchmarks.chaos_scene import Scene, Slot
from benchmarks.machine import children

LEASE_TTL_S = 15.0
TABLES = ("mirepoix_task", "mirepoix_attempt", "mirepoix_worker", "mirepoix_result", "chaos_effect")


class Missed(Exception):
    """There was nothing to strike."""


@dataclass(frozen=True)
class Draw:
    """What chance decided of one fault, before anything ran."""

    kind: str
    where: float
    """Which of those that can be struck, from 0 to 1."""
    soon_s: float
    long_s: float
    """A time shorter than the lease, or longer, by chance."""
    seconds: int
    """By how much a clock is stepped."""
    pause_s: float


def draws(seed: int, count: int, kinds: list[str]) -> Iterator[Draw]:
    """The faults of that seed: of each kind as many, in random order."""
    chance = random.Random(seed)
    for number in range(count):
        if number % len(kinds) == 0:
            deck = chance.sample(kinds, len(kinds))
        soon = chance.uniform(0.3, 6.0)
        late = chance.uniform(LEASE_TTL_S + 1.0, LEASE_TTL_S + 8.0)
        long = late if chance.random() < 0.35 else soon
        step = chance.choice((-3600, -60, -5, 5, 60, 3600))
        yield Draw(deck[number % len(kinds)], chance.random(), soon, long, step, chance.uniform(0.5, 2.5))


class Fault:
    """Strikes, and undoes it."""

    on = ("postgresql", "mariadb", "sqlite")
    elsewhere = "there is no server"
    """Why not on the others."""
    needs: tuple[str, ...] = ()
    """The abilities of the machine that it needs: network, clocks, mount."""

    def lacks(self, scene: Scene) -> str | None:
        """Why it cannot be had here."""
        if scene.server.kind not in self.on:
            return self.elsewhere
        return next((lack for need in self.needs if (lack := getattr(scene, need).lacks)), None)

    def strike(self, scene: Scene, draw: Draw) -> None:
        raise NotImplementedError


class OfWorker(Fault):
    """Strikes one worker that is ready; nobody else strikes it meanwhile."""

    def strike(self, scene: Scene, draw: Draw) -> None:
        slot = scene.slots[int(draw.where * len(scene.slots))]
        with slot.lock:
            slot.until_ready()
            self.harm(scene, slot, draw)

    def harm(self, scene: Scene, slot: Slot, draw: Draw) -> None:
        raise NotImplementedError


class OfDatabase(Fault):
    """Strikes the database; nothing else strikes that meanwhile. No worker can count on a heartbeat that long."""

    def strike(self, scene: Scene, draw: Draw) -> None:
        with scene.database, scene.silence(None):
            self.harm(scene, draw)

    def harm(self, scene: Scene, draw: Draw) -> None:
        raise NotImplementedError


class PoolKill(Fault):
    """SIGKILL to a pool process in the middle of a task."""

    def strike(self, scene: Scene, draw: Draw) -> None:
        scene.until(scene.running, 5.0)
        if not (running := scene.running()):
            raise Missed("nothing runs")
        pid, _ = running[int(draw.where * len(running))]
        scene.killed(pid, "pool")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class WorkerKill(OfWorker):
    """SIGKILL to a worker and its pool; another one is started at once."""

    def harm(self, scene: Scene, slot: Slot, draw: Draw) -> None:
        slot.kill("worker")
        slot.hire()


class WorkerFreeze(OfWorker):
    """SIGSTOP to a worker and its pool."""

    def harm(self, scene: Scene, slot: Slot, draw: Draw) -> None:
        with scene.silence(slot.number):
            slot.signal(signal.SIGSTOP)
            time.sleep(draw.long_s)
            slot.signal(signal.SIGCONT)


class PoolFreeze(OfWorker):
    """SIGSTOP to one pool process."""

    def harm(self, scene: Scene, slot: Slot, draw: Draw) -> None:
        pool = children(slot.pid)
        if not pool:
            raise Missed("the worker has no pool")
        pid = pool[int(draw.where * 97) % len(pool)]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(draw.long_s)
            os.kill(pid, signal.SIGCONT)


class RollingStop(OfWorker):
    """SIGTERM; another worker is started when this one has ended."""

    grace_s = 30.0

    def harm(self, scene: Scene, slot: Slot, draw: Draw) -> None:
        scene.note("stopping", f"w{slot.number}", slot.pid)
        slot.process.terminate()
        try:
            slot.process.wait(timeout=self.patience_s(draw))
        except subprocess.TimeoutExpired:
            slot.kill("stopped")
        slot.hire()

    def patience_s(self, draw: Draw) -> float:
        return self.grace_s


class ShortGrace(RollingStop):
    """SIGTERM, and SIGKILL before a long task can end."""

    def patience_s(self, draw: Draw) -> float:
        return draw.soon_s / 4


class Sessions(OfDatabase):
    """The server ends all sessions, or those of one worker."""

    on = ("postgresql", "mariadb")

    def harm(self, scene: Scene, draw: Draw, host: str = "") -> None:
        server = scene.server
        if server.kind == "postgresql":
            those = f"host(client_addr) = '{host}'" if host else "backend_type = 'client backend'"
            server.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {those} AND pid <> pg_backend_pid()"
            )
            return
        those = f"host LIKE '{host}:%'" if host else "id <> connection_id() AND user NOT IN ('system user')"
        for (id,) in server.execute(f"SELECT id FROM information_schema.processlist WHERE {those}", rows=True):
            with suppress(Exception):  # it has ended by itself
                server.execute(f"KILL {id}")


class SessionsOfOne(Sessions):
    """The server ends all sessions of one worker."""

    needs = ("network",)

    def harm(self, scene: Scene, draw: Draw, host: str = "") -> None:
        super().harm(scene, draw, scene.network.address(int(draw.where * len(scene.slots))))


class Partition(OfWorker):
    """Between one worker and the database packets are dropped."""

    on = ("postgresql", "mariadb")
    needs = ("network",)

    def harm(self, scene: Scene, slot: Slot, draw: Draw) -> None:
        with scene.silence(slot.number):
            scene.network.cut(slot.number)
            time.sleep(draw.long_s)
            scene.network.mend(slot.number)


class PartitionOfAll(Fault):
    """Between all workers and the database packets are dropped."""

    on = ("postgresql", "mariadb")
    needs = ("network",)

    def strike(self, scene: Scene, draw: Draw) -> None:
        with ExitStack() as stack:
            for lock in (scene.database, *(slot.lock for slot in scene.slots)):
                stack.enter_context(lock)
            stack.enter_context(scene.silence(None))
            for slot in scene.slots:
                scene.network.cut(slot.number)
            time.sleep(draw.long_s)
            for slot in scene.slots:
                scene.network.mend(slot.number)


class DatabaseFreeze(OfDatabase):
    """SIGSTOP to the server and all its processes."""

    on = ("postgresql", "mariadb")

    def harm(self, scene: Scene, draw: Draw) -> None:
        scene.server.daemon.signal(signal.SIGSTOP)
        time.sleep(draw.long_s)
        scene.server.daemon.signal(signal.SIGCONT)


class DatabaseKill(OfDatabase):
    """SIGKILL to the server and all its processes, which is started again after a while."""

    on = ("postgresql", "mariadb")

    def harm(self, scene: Scene, draw: Draw) -> None:
        scene.server.daemon.kill()
        time.sleep(draw.soon_s)
        scene.server.pid = scene.server.daemon.start()


class ReadOnly(OfDatabase):
    """The server refuses to write."""

    on = ("postgresql", "mariadb")
    elsewhere = "who has the file open may go on writing"

    def harm(self, scene: Scene, draw: Draw) -> None:
        for value in ("on", "off"):
            if scene.server.kind == "postgresql":
                words = (f"ALTER SYSTEM SET default_transaction_read_only = {value}", "SELECT pg_reload_conf()")
                scene.server.execute("SET default_transaction_read_only = off", *words)
            else:
                scene.server.execute("SET lock_wait_timeout = 20", f"SET GLOBAL read_only = {value}")
            if value == "on":
                time.sleep(draw.soon_s)


class DiskFull(OfDatabase):
    """Nothing more fits on the file system of the database."""

    needs = ("mount",)

    def harm(self, scene: Scene, draw: Draw) -> None:
        ballast = scene.mount.folder / "ballast"
        until = time.monotonic() + draw.soon_s
        try:
            while time.monotonic() < until:
                if free := shutil.disk_usage(scene.mount.folder).free:
                    with ballast.open("ab") as file, suppress(OSError):
                        os.posix_fallocate(file.fileno(), file.tell(), free)
                time.sleep(0.1)
        finally:
            ballast.unlink(missing_ok=True)
        daemon = scene.server.daemon
        if daemon is not None and scene.until(lambda: not daemon.is_running, 3.0):
            scene.note("the server had ended on a full disk: started again")
            scene.server.pid = daemon.start()


class TableLock(OfDatabase):
    """Somebody holds a table for seconds; on SQLite, the right to write."""

    def harm(self, scene: Scene, draw: Draw) -> None:
        table = TABLES[int(draw.where * len(TABLES))]
        scene.note("table", table)
        with _lock(scene, table):
            time.sleep(draw.soon_s)


@contextmanager
def _lock(scene: Scene, table: str) -> Iterator[None]:
    if scene.server.kind == "sqlite":
        path = scene.server.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
    elif scene.server.kind == "postgresql":
        import psycopg

        with psycopg.connect(scene.server.url) as connection:
            connection.execute("SET LOCAL lock_timeout = '10s'")
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    else:
        from mirepoix.connect.url import source_for

        with closing(source_for(scene.server.url).open().raw) as connection:
            connection.cursor().execute("SET lock_wait_timeout = 10")
            connection.cursor().execute(f"LOCK TABLES {table} WRITE")
            yield


class WorkerClock(OfWorker):
    """The clock of a worker's host is stepped, and back again."""

    on = ("postgresql", "mariadb")
    elsewhere = "that is the clock of SQLite too (database-clock)"
    needs = ("clocks",)

    def harm(self, scene: Scene, slot: Slot, draw: Draw) -> None:
        scene.note("step", draw.seconds)
        scene.clocks.step(slot.host, draw.seconds)
        time.sleep(draw.soon_s)
        scene.clocks.step(slot.host, -draw.seconds)


class DatabaseClock(OfDatabase):
    """The clock of the database's host (SQLite: of the only host) is stepped: by 5 s or a minute on, or 5 s back.

    No further: what became due an hour later is due an hour later.
    """

    needs = ("clocks",)

    def harm(self, scene: Scene, draw: Draw) -> None:
        seconds = min(60, max(-5, draw.seconds))
        scene.note("step", seconds)
        scene.clocks.step("host", seconds)


FAULTS: dict[str, Fault] = {
    "pool-kill": PoolKill(),
    "worker-kill": WorkerKill(),
    "worker-freeze": WorkerFreeze(),
    "pool-freeze": PoolFreeze(),
    "rolling-stop": RollingStop(),
    "short-grace": ShortGrace(),
    "sessions": Sessions(),
    "sessions-of-one": SessionsOfOne(),
    "partition": Partition(),
    "partition-of-all": PartitionOfAll(),
    "database-freeze": DatabaseFreeze(),
    "database-kill": DatabaseKill(),
    "read-only": ReadOnly(),
    "disk-full": DiskFull(),
    "table-lock": TableLock(),
    "worker-clock": WorkerClock(),
    "database-clock": DatabaseClock(),
}

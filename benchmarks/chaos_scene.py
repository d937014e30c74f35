"""Where `benchmarks.chaos` happens: a database, and workers with a host of their own each where the machine can."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from benchmarks.chaos_app import note
from benchmarks.machine import children
from benchmarks.servers import Server
from benchmarks.worker import ROOT

PREFIX = f"mpx{os.getpid() % 10_000}"
NET = f"10.{100 + os.getpid() % 100}.77"
HOST = f"{NET}.1"

STEPPED = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile long *ahead;
__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CHAOS_CLOCK");
    int file = path ? open(path, O_RDONLY) : -1;
    void *page = file < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    if (page != MAP_FAILED) ahead = page;
}
int clock_gettime(clockid_t which, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, which, now);
    if (ahead && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) now->tv_sec += *ahead;
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    int failed = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return failed;
}
time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
"""
"""Goes before the C library's clocks: the time of day is as many seconds ahead as a shared page says."""


class Clocks:
    """The times of day of several hosts, which can be stepped while processes run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.lacks = None if shutil.which("cc") else "there is no C compiler to build the stepped clock with"
        self._library = folder / "stepped.so"
        if not self.lacks:
            command = ["cc", "-shared", "-fPIC", "-O2", "-x", "c", "-", "-o", str(self._library)]
            subprocess.run(command, input=STEPPED, text=True, check=True)

    def environment(self, host: str) -> dict[str, str]:
        if self.lacks:
            return {}
        path = self._folder / f"clock-{host}"
        if not path.exists():
            path.write_bytes(bytes(ctypes.sizeof(ctypes.c_long)))
        return {"CHAOS_CLOCK": str(path), "LD_PRELOAD": str(self._library)}

    def step(self, host: str, seconds: int) -> None:
        with (self._folder / f"clock-{host}").open("r+b") as file, mmap.mmap(file.fileno(), 0) as page:
            ctypes.c_long.from_buffer(page).value += seconds


class Mount:
    """A small file system of its own for the database, so that it can be full."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder, self.lacks = folder, None
        folder.mkdir()
        try:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)],
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            self.lacks = f"nothing can be mounted here ({error})"

    def close(self) -> None:
        if not self.lacks:
            subprocess.run(["umount", "-l", str(self.folder)], check=False)


class Network:
    """A bridge and a network namespace for each worker: what is cut off loses its packets, and nobody is told."""

    def __init__(self, hosts: int) -> None:
        self.lacks = None if hosts else "SQLite is reached without a network"
        self._hosts = hosts
        if not hosts:
            return
        try:
            self._ip("link", "add", f"{PREFIX}b", "type", "bridge")
            self._ip("addr", "add", f"{HOST}/24", "dev", f"{PREFIX}b")
            self._ip("link", "set", f"{PREFIX}b", "up")
            for host in range(hosts):
                self._plug_in(host)
        except (OSError, subprocess.CalledProcessError) as error:
            self.lacks = f"there are no network namespaces here ({error})"

    def _plug_in(self, host: int) -> None:
        space, end = f"{PREFIX}-{host}", f"{PREFIX}v{host}"
        self._ip("netns", "add", space)
        self._ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", space)
        self._ip("link", "set", end, "master", f"{PREFIX}b", "up")
        for words in (("addr", "add", f"{self.address(host)}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            self._ip("-n", space, *words)
        self._ip("-n", space, "link", "set", "lo", "up")

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    @staticmethod
    def address(host: int) -> str:
        return f"{NET}.{10 + host}"

    def inside(self, host: int) -> list[str]:
        return [] if self.lacks else ["ip", "netns", "exec", f"{PREFIX}-{host}"]

    def cut(self, host: int) -> None:
        self._ip("link", "set", f"{PREFIX}v{host}", "nomaster")

    def mend(self, host: int) -> None:
        self._ip("link", "set", f"{PREFIX}v{host}", "master", f"{PREFIX}b")

    def close(self) -> None:
        for host in range(self._hosts):
            with suppress(OSError, subprocess.CalledProcessError):
                self._ip("netns", "del", f"{PREFIX}-{host}")
        with suppress(OSError, subprocess.CalledProcessError):
            self._ip("link", "del", f"{PREFIX}b")


class Slot:
    """A place for one worker, which a supervisor fills again whenever its worker has ended."""

    def __init__(self, number: int, scene: Scene) -> None:
        self.number, self.scene = number, scene
        self.host = "host" if scene.server.kind == "sqlite" else f"w{number}"
        self.log = scene.evidence / f"worker-{number}.log"
        self.lock = threading.RLock()
        self.hired: list[tuple[float, int]] = []
        """When, and which process. The system uses the numbers of processes again."""
        self.hire()

    def hire(self) -> None:
        self._from = self.log.stat().st_size if self.log.exists() else 0
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.chaos_app", "worker"]
        options = ["-P", self.scene.pool, "-c", str(self.scene.concurrency), "-n", f"w{self.number}@%h", "-l", "INFO"]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*self.scene.network.inside(self.number), *command, *options],
                cwd=ROOT,
                env=os.environ | self.scene.environment | self.scene.clocks.environment(self.host),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.hired.append((time.monotonic(), self.process.pid))
        self.scene.note("hired", f"w{self.number}", self.process.pid)

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_ready(self) -> bool:
        with self.log.open(errors="replace") as log:
            log.seek(self._from)
            return " ready." in log.read()

    def until_ready(self, timeout_s: float = 20.0) -> None:
        self.scene.until(lambda: self.is_ready() or self.process.poll() is not None, timeout_s)

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self, why: str) -> None:
        """SIGKILL to the worker and its pool."""
        pids = [self.pid, *children(self.pid)]
        self.signal(signal.SIGKILL)
        self.process.wait()
        for pid in pids:
            self.scene.killed(pid, why)


class Scene:
    """The database, the workers, and what is noted while they run."""

    def __init__(
        self,
        server: Server,
        evidence: Path,
        machine: tuple[Network, Clocks, Mount],
        workers: int,
        concurrency: int,
        pool: str,
    ) -> None:
        self.server, self.evidence, self.concurrency, self.pool = server, evidence, concurrency, pool
        self.network, self.clocks, self.mount = machine
        self.witness = evidence / "witness.txt"
        self.witness.touch()
        self.environment = {"CHAOS_URL": self.workers_url(), "CHAOS_WITNESS": str(self.witness)}
        self.deaths: dict[int, list[tuple[float, str]]] = {}
        self.silences: list[tuple[int | None, float, float]] = []
        """Which worker (None: all) was frozen or cut off, from when to when."""
        self.ended: list[str] = []
        """Workers that ended without having been told to."""
        self.seen: dict[int, float] = {}
        """When each process that ran a task was last seen to live."""
        self.database = threading.RLock()
        self._is_over = threading.Event()
        self.slots = [Slot(number, self) for number in range(workers)]
        self._threads = [threading.Thread(target=act, daemon=True) for act in (self._supervise, self._watch)]
        for thread in self._threads:
            thread.start()

    def workers_url(self) -> str:
        """The database as it is reached from the workers' hosts, by a user who can be kept from writing."""
        if self.server.kind == "sqlite" or self.network.lacks:
            return self.server.url
        parts = urlsplit(self.server.url)
        user = "chaos" if self.server.kind == "mariadb" else parts.username
        return urlunsplit(parts._replace(netloc=f"{user}@{HOST}:{parts.port}"))

    def note(self, *words: object) -> None:
        note(self.evidence / "faults.txt", *words)

    def killed(self, pid: int, why: str) -> None:
        self.deaths.setdefault(pid, []).append((time.monotonic(), why))
        self.note("killed", pid, why)

    def until(self, is_true, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while not is_true() and time.monotonic() < end:
            time.sleep(0.05)
        return is_true()

    @contextmanager
    def silence(self, slot: int | None) -> Iterator[None]:
        """Note for how long that worker, or all, could not reach the database."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.silences.append((slot, began, time.monotonic()))

    def running(self) -> list[tuple[int, int]]:
        """Who is amid a task: the process and its parent."""
        opened = {}
        for line in self.witness.read_text().splitlines():
            kind, _, pid, parent, attempt, at = line.split()
            if kind == "begin":
                opened[attempt] = int(pid), int(parent), float(at)
            else:
                opened.pop(attempt, None)
        return [(pid, parent) for pid, parent, began in opened.values() if self._runs_since(pid, began)]

    def _runs_since(self, pid: int, began: float) -> bool:
        """Whether that process has run since then. The system uses the numbers of killed processes again."""
        return Path(f"/proc/{pid}").exists() and not any(at >= began for at, _ in self.deaths.get(pid, ()))

    def _supervise(self) -> None:
        while not self._is_over.wait(0.3):
            for slot in self.slots:
                if slot.lock.acquire(blocking=False):
                    try:
                        if slot.process.poll() is not None:
                            self._replace(slot)
                    finally:
                        slot.lock.release()

    def _replace(self, slot: Slot) -> None:
        words = f"w{slot.number} pid {slot.pid} code {slot.process.returncode} ready {slot.is_ready()}"
        self.ended.append(words)
        self.note("ended by itself:", words)
        for pid in children(slot.pid):
            self.killed(pid, "orphan")
        slot.signal(signal.SIGKILL)
        slot.hire()

    def _watch(self) -> None:
        pids: set[int] = set()
        with self.witness.open() as lines:
            while not self._is_over.wait(0.1):
                pids |= {int(line.split()[2]) for line in lines.readlines()}
                for pid in list(pids):
                    at = time.monotonic()
                    if _is_alive(pid):
                        self.seen[pid] = at
                    else:
                        pids.discard(pid)

    def close(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        for slot in self.slots:
            slot.signal(signal.SIGCONT)
            slot.signal(signal.SIGTERM)
        for slot in self.slots:
            with suppress(subprocess.TimeoutExpired):
                slot.process.wait(timeout=15)
            slot.signal(signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False

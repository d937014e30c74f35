"""What ran where: CPU time and memory of process trees, and what else the machine was doing."""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def print_header(title: str, servers: list, settings: str) -> None:
    """Machine, versions, settings and load, before any figure."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024**2
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("mirepoix", "celery", "kombu", "psycopg", "pymysql", "redis")
    )
    print(f"{title}\nmachine: {os.cpu_count()} x {model}, {memory} GiB, {platform.system()} {platform.release()}")
    print(f"software: Python {platform.python_version()}, {packages}")
    print("servers: " + "; ".join(f"{server.name} {server.version}" for server in servers))
    print(f"settings: {settings}\nload before: {load()}\n", flush=True)


def load() -> str:
    return " ".join(Path("/proc/loadavg").read_text().split()[:2])


def children(pid: int) -> list[int]:
    """The living children of every thread of *pid*."""
    found: list[int] = []
    with suppress(OSError):  # the process has ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += [int(word) for word in (thread / "children").read_text().split()]
    return found


def tree(pid: int) -> list[int]:
    return [pid] + [one for child in children(pid) for one in tree(child)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and of those children of it that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(word) for word in fields[11:15]) / TICKS


def tree_cpu_s(pid: int) -> float:
    return sum(cpu_s(one) for one in tree(pid))


def pss_mb(pid: int) -> float:
    """Proportional memory of a process tree: what is shared by n processes counts 1/n in each."""
    total = 0
    for one in tree(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def busy_s() -> float:
    """CPU seconds that the whole machine has spent on anything."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, words)
    return (user + nice + system + irq + softirq + steal) / TICKS


@dataclass
class Snapshot:
    """Where the clocks of the parties stand: ``parties`` maps a name to its CPU seconds."""

    parties: dict[str, float]
    done: int = 0
    at: float = field(default_factory=time.perf_counter)
    busy: float = field(default_factory=busy_s)


@dataclass
class Span:
    """What happened between two snapshots."""

    done: int
    seconds: float
    parties: dict[str, float]
    others: float
    """Cores that everybody else used meanwhile."""

    @classmethod
    def between(cls, first: Snapshot, last: Snapshot) -> Span:
        parties = {name: last.parties[name] - first.parties[name] for name in last.parties}
        seconds = last.at - first.at
        others = (last.busy - first.busy - sum(parties.values())) / seconds
        return cls(last.done - first.done, seconds, parties, max(0.0, others))

    @property
    def rate(self) -> float:
        return self.done / self.seconds

    def us(self, party: str) -> float:
        """CPU microseconds for each task."""
        return self.parties[party] / self.done * 1e6


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def spread(values: list[float], unit: str = "ms", scale: float = 1000.0) -> str:
    """p50, p95, p99 and the greatest."""
    if not values:
        return "no values"
    words = [f"p{round(q * 100)} {quantile(values, q) * scale:.1f}" for q in (0.5, 0.95, 0.99)]
    return f"{', '.join(words)}, max {max(values) * scale:.1f} {unit} (n={len(values)})"

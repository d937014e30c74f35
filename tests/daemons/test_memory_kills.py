"""The kernel's count of kills for memory is found in each layout of control groups, and each kill is reported once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from control_group import with_memory
from mirepoix.daemons.memory_kills import EVIDENCE, MemoryKills

V1 = "9:cpu:/\n4:rdma,memory:/box/1\n0::/\n"
V2 = "0::/box/1\n"

LAYOUTS = {
    "version 2": (V2, "sys/fs/cgroup/box/1/memory.events"),
    "version 2 in a container": (V2, "sys/fs/cgroup/memory.events"),
    "version 1": (V1, "sys/fs/cgroup/memory/box/1/memory.oom_control"),
    "version 1 in a container": (V1, "sys/fs/cgroup/memory/memory.oom_control"),
}


def lay_out(root: Path, groups: str, counts: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    file = root / counts
    file.parent.mkdir(parents=True)
    return file


@pytest.mark.parametrize(("groups", "counts"), LAYOUTS.values(), ids=LAYOUTS)
def test_each_kill_is_reported_once(tmp_path: Path, groups: str, counts: str):
    file = lay_out(tmp_path, groups, counts)
    file.write_text("oom 3\noom_kill 2\n")
    kills = MemoryKills(tmp_path)
    assert kills.evidence() is None
    file.write_text("oom 5\noom_kill 4\n")
    assert [kills.evidence(), kills.evidence(), kills.evidence()] == [EVIDENCE, EVIDENCE, None]


@pytest.mark.parametrize("groups", ["", "4:memory:/gone\n", "0::/gone\n"])
def test_without_a_count_there_are_no_kills(tmp_path: Path, groups: str):
    lay_out(tmp_path, groups, "sys/fs/cgroup/other")
    assert MemoryKills(tmp_path).evidence() is None
    assert MemoryKills(tmp_path / "nothing").evidence() is None


GROW = """
import subprocess, sys
from mirepoix.daemons.memory_kills import MemoryKills
kills = MemoryKills()
code = subprocess.run([sys.executable, "-c", "bytearray(10**9)"]).returncode
print(code, kills.evidence(), kills.evidence(), sep="|")
"""


def test_the_kernel_counts_a_kill():
    with with_memory(100) as group:
        command = group.command(GROW)
        done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"-9|{EVIDENCE}|None"

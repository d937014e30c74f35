"""A control group with little memory, for tests in which the kernel kills a process."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

LIMITS = ("memory.limit_in_bytes", "memory.max")


class ControlGroup:
    """A folder of the kernel's. Only root can make one, and not in every container."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, code: str) -> str:
        """Python code that enters the group and goes on with *code*."""
        return f"import os; open({str(self.folder / 'cgroup.procs')!r}, 'a').write(str(os.getpid()))\n{code}"


@contextmanager
def with_memory(mebibytes: int) -> Iterator[ControlGroup]:
    """Make a group with so much memory. Skips the test where that is not possible."""
    folder = _own() / f"mirepoix-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"a control group cannot be made here: {error}")
    try:
        limit = next((folder / name for name in LIMITS if (folder / name).exists()), None)
        if limit is None:
            pytest.skip("control groups do not limit memory here")
        limit.write_text(str(mebibytes << 20))
        with suppress(OSError):
            (folder / "memory.swap.max").write_text("0")
        yield ControlGroup(folder)
    finally:
        folder.rmdir()


def _own() -> Path:
    mounted = Path("/sys/fs/cgroup")
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return mounted / "memory" / path.lstrip("/")
    return mounted

"""Read how many processes of this process' control group the kernel has killed because memory ran out.

Linux counts them: ``oom_kill`` in ``memory.events`` (control groups, version 2) or in ``memory.oom_control``
(version 1). A container is a control group, and so is a unit of systemd. Sources: the kernel's documents ``cgroup-v2``
and ``cgroup-v1/memory``.
"""

from __future__ import annotations

from pathlib import Path

EVIDENCE = "the kernel killed a process of this worker's control group because memory ran out"


class MemoryKills:
    """The kills that nobody has asked about yet. *root* is the root of the file system.

    Where the count cannot be read (another system, hidden files), there are none.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._file = _file_of_group(root)
        self._known = self._count()

    def evidence(self) -> str | None:
        """Whether a process was killed since the last answer, as words for the history of an attempt.

        Each kill is reported once. The kernel does not say which process it was: the caller knows one that signal 9
        ended. If something else of the same group was killed at that moment, the words are about that.
        """
        if self._count() <= self._known:
            return None
        self._known += 1
        return EVIDENCE

    def _count(self) -> int:
        if self._file is None:
            return 0
        try:
            counts = dict(line.split(maxsplit=1) for line in self._file.read_text().splitlines())
            return int(counts.get("oom_kill", 0))
        except (OSError, ValueError):
            return 0


def _file_of_group(root: Path) -> Path | None:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    mounted = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folder, name = mounted, "memory.events"
        elif "memory" in controllers.split(","):
            folder, name = mounted / "memory", "memory.oom_control"
        else:
            continue
        for group in (folder / path.lstrip("/"), folder):  # a container may see its own group as the root
            if (group / name).is_file():
                return group / name
    return None

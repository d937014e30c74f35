"""Counters in a shared file: how many no-op tasks ran, in any process of any task queue."""

from __future__ import annotations

import mmap
import os
import struct
import threading

SLOT = struct.Struct("<qq")
SLOTS = 256


class _Slot(threading.local):
    """This thread's own counter in the shared file, so that no two threads or processes write to one."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.file = os.open(os.environ["BENCHMARK_FILE"], os.O_RDWR)
        self.page = mmap.mmap(self.file, SLOTS * SLOT.size)
        self.count = 0
        owner = (self.pid << 32) | (threading.get_native_id() & 0xFFFFFFFF)
        self.at = (threading.get_native_id() % SLOTS) * SLOT.size
        while SLOT.unpack_from(self.page, self.at)[0] not in (0, owner):
            self.at = (self.at + SLOT.size) % (SLOTS * SLOT.size)
        SLOT.pack_into(self.page, self.at, owner, 0)

    def add(self) -> None:
        self.count += 1
        SLOT.pack_into(self.page, self.at, SLOT.unpack_from(self.page, self.at)[0], self.count)


_slots: list[_Slot] = []


def add() -> None:
    """Count one task, in the file that the environment names."""
    if not _slots or _slots[0].pid != os.getpid():
        _slots[:] = [_Slot()]
    _slots[0].add()


def total(page: bytes) -> int:
    """How many tasks ran, by the content of the file."""
    return sum(SLOT.unpack_from(page, at)[1] for at in range(0, len(page), SLOT.size))

"""Read single keys from the terminal, without waiting for the return key."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = {"\x1b[A": "up", "\x1b[B": "down", "\x1b[5~": "page up", "\x1b[6~": "page down", "\x1b": "escape"}


@contextmanager
def single_keys() -> Iterator[Keys]:
    """Let the terminal pass each key at once, and put it back at the end. Ctrl-C still interrupts."""
    if not sys.stdin.isatty():
        yield Keys(None)
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    try:
        yield Keys(terminal)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


class Keys:
    """The keys that were typed. Without a terminal there are none."""

    def __init__(self, terminal: int | None) -> None:
        self._terminal = terminal
        self._typed = ""

    def wait(self, timeout_s: float) -> str | None:
        """Return the next key, or None if none was typed within *timeout_s*. ``up`` is the arrow."""
        if not self._typed:
            waiting_for = [] if self._terminal is None else [self._terminal]
            if not select.select(waiting_for, [], [], timeout_s)[0]:
                return None
            self._typed = os.read(waiting_for[0], 1_024).decode(errors="replace")
            if not self._typed:  # the terminal is gone
                return "q"
        key = next((typed for typed in NAMES if self._typed.startswith(typed)), self._typed[0])
        self._typed = self._typed.removeprefix(key)
        return NAMES.get(key, key)

"""What processes of the tests do with keys."""

from __future__ import annotations

import sys
from typing import Any

import mirepoix


def submit(app: Any, key: str, words: str) -> None:
    """Submit a task and print its id; the crash point that is armed may kill this process."""
    handle = mirepoix.submit_once(app.signature("shop.note"), key, (words,))
    sys.stdout.write(f"submitted {handle.id}\n")
    sys.stdout.flush()

"""The files of one side of the demo: append facts to them, and read them again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER_VARIABLE = "MIREPOIX_DEMO_FOLDER"
STOCK_VARIABLE = "MIREPOIX_DEMO_STOCK"
"""The environment variables that give a worker process its folder, and say whether it runs plain Celery."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of one side: the shop with the ledger, or the same shop on plain Celery."""

    path: Path
    is_stock: bool = False

    @property
    def name(self) -> str:
        """The side's name on the screen."""
        return "plain Celery" if self.is_stock else "Mirepoix"

    @property
    def database(self) -> Path:
        """The shop's SQLite file: its orders and, with Mirepoix, the ledger beside them."""
        return self.path / "shop.db"

    @property
    def sent(self) -> Path:
        """Every order that the shop tried to place, and whether its transaction committed."""
        return self.path / "sent.jsonl"

    @property
    def effects(self) -> Path:
        """What the tasks did: a line when user code begins and a line when it ends."""
        return self.path / "effects.jsonl"

    @property
    def kills(self) -> Path:
        """Every SIGKILL, and when."""
        return self.path / "kills.jsonl"

    @property
    def broker(self) -> Path:
        """Plain Celery's filesystem broker."""
        return self.path / "broker"

    def create(self) -> None:
        """Create the folders."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self.is_stock:
            for part in ("queue", "control", "tmp"):
                (self.broker / part).mkdir(parents=True, exist_ok=True)


def append(path: Path, fact: dict[str, Any]) -> None:
    """Append one line in one call, so that lines of several processes never mix."""
    line = json.dumps(fact).encode() + b"\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line)
    finally:
        os.close(file)


class Tail:
    """Read a file of facts while it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def news(self) -> Iterator[dict[str, Any]]:
        """Yield the facts appended since the last call. A line that is still being written waits for the next call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                new = file.read()
        except FileNotFoundError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.splitlines():
            yield json.loads(line)

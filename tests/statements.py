"""The ledger's SQL files as tests read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import mirepoix.sql
from mirepoix.states import State

FOLDER = Path(mirepoix.sql.__file__).parent


@dataclass(frozen=True, slots=True)
class Statement:
    """One file."""

    folder: str
    name: str
    text: str

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.folder}/{self.name}.sql"

    @property
    def sql(self) -> str:
        """The statement without its comments, on one line."""
        lines = [line for line in self.text.splitlines() if not line.lstrip().startswith("--")]
        return re.sub(r"\s+", " ", " ".join(lines))

    @property
    def writes_task_state(self) -> bool:
        """Whether it creates a task or sets its state."""
        return bool(
            re.search(r"INSERT INTO mirepoix_task\b|UPDATE mirepoix_task (AS t )?SET (state|due_at) =", self.sql)
        )

    @property
    def transition(self) -> tuple[frozenset[State | None], State] | None:
        """What its first line says."""
        said = re.match(r"-- transition: ([a-z|]+) -> ([a-z]+)\n", self.text)
        if said is None:
            return None
        return frozenset(None if word == "new" else State(word) for word in said[1].split("|")), State(said[2])


def statements() -> list[Statement]:
    """Every statement of every dialect."""
    files = sorted(path for path in FOLDER.glob("*/*.sql"))
    return [Statement(path.parent.name, path.stem, path.read_text("utf-8")) for path in files]

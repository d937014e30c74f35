"""The ledger's SQL files as tests read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import mirepoix.sql
from mirepoix.sql import expand_lease
from mirepoix.sql.envelope import expand
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
        dialect = "postgresql" if self.folder == "common" else self.folder
        sql = expand_lease(expand("\n".join(lines), dialect), dialect)
        return re.sub(r"\s+", " ", sql)

    @property
    def writes_task_state(self) -> bool:
        """Whether it creates a task or sets its state."""
        return "INSERT INTO mirepoix_task " in self.sql or bool({"state", "due_at"} & set(self.task_assignments))

    @property
    def task_assignments(self) -> dict[str, str]:
        """What its UPDATE of mirepoix_task sets, in order."""
        update = re.search(r"UPDATE (?:(?! SET ).)*\bmirepoix_task\b(?:(?! SET ).)* SET (.*)", self.sql)
        return assignments(update[1]) if update else {}

    @property
    def steps(self) -> list[str]:
        """Its statements, which are several on MySQL only."""
        return self.sql.split(" ; ")

    @property
    def transition(self) -> tuple[frozenset[State | None], State] | None:
        """What its first line says."""
        said = re.match(r"-- transition: ([a-z|]+) -> ([a-z]+)\n", self.text)
        if said is None:
            return None
        return frozenset(None if word == "new" else State(word) for word in said[1].split("|")), State(said[2])


def assignments(sql: str) -> dict[str, str]:
    """``{column: expression}`` of what follows SET, in order, up to WHERE or FROM."""
    found: list[str] = [""]
    depth = 0
    for word in re.split(r"(\W)", sql):
        depth += (word in ("(", "CASE")) - (word in (")", "END"))
        if depth == 0 and word in ("WHERE", "FROM"):
            break
        if depth == 0 and word == ",":
            found.append("")
        else:
            found[-1] += word
    pairs = (one.split(" = ", 1) for one in found)
    return {column.strip().removeprefix("t."): expression.strip() for column, expression in pairs}


def statements() -> list[Statement]:
    """Every statement of every dialect."""
    files = sorted(path for path in FOLDER.glob("*/*.sql"))
    return [Statement(path.parent.name, path.stem, path.read_text("utf-8")) for path in files]

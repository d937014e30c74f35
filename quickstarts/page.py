"""A page of the documentation as its sections and the blocks of code in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

_HEADING = re.compile(r"^#+ +(.*?) *$")
_FENCE = re.compile(r"^```(\w*)$")
_FILE = re.compile(r"^# (at the end of )?(\S+\.\w+)$")


@dataclass(frozen=True, slots=True)
class Command:
    """A line that the reader types, and what the page shows that it prints ("" if it shows nothing)."""

    line: str
    shown: str


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that it belongs into, by its first line."""
        found = _FILE.match(self.text.split("\n", 1)[0])
        return found[2] if found else None

    @property
    def is_appended(self) -> bool:
        """Whether it goes at the end of what is in that file."""
        return self.text.startswith("# at the end of ")

    @property
    def commands(self) -> list[Command]:
        """The lines after a ``$``, each with the lines up to the next ``$``."""
        typed = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        if typed[0].strip():
            raise ValueError(f"this console begins without a $:\n{self.text}")
        halves = [one.partition("\n") for one in typed[1:]]
        return [Command(line.strip(), shown.strip()) for line, _, shown in halves]


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under a heading, up to the next heading of any depth."""

    title: str
    text: str
    blocks: tuple[Block, ...]


def sections(name: str) -> dict[str, Section]:
    """The sections of a page of the repository, by their titles."""
    found: dict[str, tuple[list[str], list[Block]]] = {}
    text, blocks = found.setdefault("", ([], []))
    language: str | None = None
    code: list[str] = []
    for line in (ROOT / name).read_text("utf-8").splitlines():
        fence, heading = _FENCE.match(line), _HEADING.match(line)
        if language is None and fence:
            language, code = fence[1], []
        elif language is not None and line == "```":
            blocks.append(Block(language, "".join(f"{one}\n" for one in code)))
            language = None
        elif language is not None:
            code.append(line)
        elif heading:
            text, blocks = found.setdefault(heading[1], ([], []))
        else:
            text.append(line)
    return {title: Section(title, "\n".join(text), tuple(blocks)) for title, (text, blocks) in found.items()}

"""Lint files: find them, check each, and leave out what the project silences."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mirepoix.errors import ConfigurationError
from mirepoix.lint.finding import Finding
from mirepoix.lint.inspect import NOT_PYTHON, inspect
from mirepoix.lint.rules import RULES, Level
from mirepoix.lint.settings import Settings

SKIPPED = {"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist"}
INSTALLS = re.compile(rb"\bmirepoix\.install\(")
SENT_IN_TRANSACTION = "MP002"


@dataclass(frozen=True, slots=True)
class Located:
    """A finding with its file."""

    path: Path
    finding: Finding

    @property
    def level(self) -> Level:
        """The level of its rule. A file that cannot be read is an error."""
        rule = RULES.get(self.finding.code)
        return Level.ERROR if rule is None else rule.level


@dataclass(frozen=True, slots=True)
class Report:
    """The findings, the number of files, and whether MP002 was off because the project uses Mirepoix."""

    found: tuple[Located, ...]
    files: int
    keeps_ledger: bool

    @property
    def is_broken(self) -> bool:
        """Whether a file could not be read. Then the report is incomplete."""
        return any(located.finding.code == NOT_PYTHON for located in self.found)

    @property
    def is_clean(self) -> bool:
        """Whether there are no findings except infos."""
        return all(located.level is Level.INFO for located in self.found)


def lint(paths: Sequence[Path], settings: Settings) -> Report:
    """Check all Python files in *paths*. Raises ConfigurationError if a path does not exist."""
    found: list[Located] = []
    files, keeps_ledger = 0, settings.ledger
    for path in _files(paths, settings):
        files += 1
        try:
            source = path.read_bytes()
        except OSError as error:
            found.append(Located(path, Finding(NOT_PYTHON, f"it cannot be read: {error.strerror}", 1, 1, 1)))
            continue
        if keeps_ledger is None and INSTALLS.search(source):
            settings, keeps_ledger = replace(settings, ledger=True), True
        found += [Located(path, finding) for finding in inspect(source)]
    ignored = settings.ignore | ({SENT_IN_TRANSACTION} if keeps_ledger else frozenset())
    return Report(tuple(located for located in found if located.finding.code not in ignored), files, bool(keeps_ledger))


def _files(paths: Sequence[Path], settings: Settings) -> Iterator[Path]:
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise ConfigurationError(f"There is no {str(path)!r} to lint.")
        for file in [path] if path.is_file() else _in_folder(path):
            whole = file.resolve()
            if whole not in seen and not _is_excluded(whole, settings):
                seen.add(whole)
                yield file


def _in_folder(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith("."))
        for name in sorted(names):
            if name.endswith(".py") and (Path(where) / name).is_file():
                yield Path(where) / name


def _is_excluded(path: Path, settings: Settings) -> bool:
    if not settings.exclude or not path.is_relative_to(settings.folder.resolve()):
        return False
    name = path.relative_to(settings.folder.resolve()).as_posix()
    return any(
        fnmatch.fnmatchcase(name, pattern) or name.startswith(f"{pattern.rstrip('/')}/") for pattern in settings.exclude
    )

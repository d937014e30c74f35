"""Read ``[tool.mirepoix.lint]`` in pyproject.toml, and find out whether the project uses Mirepoix."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirepoix.errors import ConfigurationError
from mirepoix.lint.rules import RULES

KEYS = {"ignore": list, "exclude": list, "ledger": bool}
DEPENDENCY = re.compile(r"\s*mirepoix(?![\w.-])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a project. If *ledger* is None, `keeps_ledger` finds it out."""

    ignore: frozenset[str] = frozenset()
    exclude: tuple[str, ...] = ()
    ledger: bool | None = None
    folder: Path = Path()
    """The folder of the pyproject.toml. Patterns in *exclude* are relative to it."""


def read_settings(start: Path) -> Settings:
    """Read the nearest pyproject.toml in or above *start*. Raises ConfigurationError with the key and the file."""
    start = start.resolve()
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if path.is_file():
            return _read(path)
    return Settings(folder=start)


def check_codes(codes: Iterable[str], where: str) -> frozenset[str]:
    """Return the codes if each is a rule's code. Raises ConfigurationError otherwise."""
    found = frozenset(code.strip().upper() for code in codes)
    for code in sorted(found - RULES.keys()):
        raise ConfigurationError(f"{where}: there is no rule {code!r}. The rules are: {', '.join(RULES)}.")
    return found


def _read(path: Path) -> Settings:
    try:
        text = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    given = _table(text, "tool", "mirepoix", "lint")
    for key, value in given.items():
        if key not in KEYS:
            raise ConfigurationError(f"{path}: [tool.mirepoix.lint] has no {key!r}, only {', '.join(KEYS)}.")
        if not isinstance(value, KEYS[key]) or (
            isinstance(value, list) and not all(isinstance(item, str) for item in value)
        ):
            what = "true or false" if KEYS[key] is bool else "a list of texts"
            raise ConfigurationError(f"{path}: {key} in [tool.mirepoix.lint] must be {what}, not {value!r}.")
    ledger = given.get("ledger")
    return Settings(
        ignore=check_codes(given.get("ignore", ()), f"{path}: ignore in [tool.mirepoix.lint]"),
        exclude=tuple(given.get("exclude", ())),
        ledger=ledger if ledger is not None else (True if _depends(text) else None),
        folder=path.parent,
    )


def _depends(text: dict[str, Any]) -> bool:
    """Whether the project itself depends on mirepoix. Development groups do not count."""
    listed = _table(text, "project").get("dependencies", ())
    needed = [requirement for requirement in listed if isinstance(requirement, str)] if isinstance(listed, list) else []
    return any(
        DEPENDENCY.match(requirement) for requirement in (*needed, *_table(text, "tool", "poetry", "dependencies"))
    )


def _table(text: dict[str, Any], *path: str) -> dict[str, Any]:
    for key in path:
        found = text.get(key)
        text = found if isinstance(found, dict) else {}
    return text

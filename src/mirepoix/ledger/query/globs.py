"""Match names with the wildcards ``*`` and ``?`` in SQL."""

from __future__ import annotations

import re


def is_glob(text: str) -> bool:
    """Return whether *text* has wildcards."""
    return "*" in text or "?" in text


def matches(column: str, name: str, glob: str, dialect: str) -> tuple[str, str]:
    """Return the condition that *column* matches the parameter *name*, and that parameter's value.

    The match is case-sensitive. Only ``*`` and ``?`` are wildcards.
    """
    if not is_glob(glob):
        return f"{column} = :{name}", glob
    if dialect == "sqlite":
        return f"{column} GLOB :{name}", glob.replace("[", "[[]")
    pattern = re.sub(r"([!%_])", r"!\1", glob).replace("*", "%").replace("?", "_")
    return f"{column} LIKE :{name} ESCAPE '!'", pattern

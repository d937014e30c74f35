"""Names as people write them, ``*`` and ``?``, in SQL."""

from __future__ import annotations

import re


def is_glob(text: str) -> bool:
    """Whether it may stand for more than one name."""
    return "*" in text or "?" in text


def matches(column: str, name: str, glob: str, dialect: str) -> tuple[str, str]:
    """The condition that *column* is like the parameter *name*, and that parameter's value.

    ``*`` and ``?`` as the dialect's own case-sensitive match has them; nothing else is special.
    """
    if not is_glob(glob):
        return f"{column} = :{name}", glob
    if dialect == "sqlite":
        return f"{column} GLOB :{name}", glob.replace("[", "[[]")
    pattern = re.sub(r"([!%_])", r"!\1", glob).replace("*", "%").replace("?", "_")
    return f"{column} LIKE :{name} ESCAPE '!'", pattern

"""Rows by name: the names of a statement's columns, read from its text when it is loaded, and rows that have them.

They are not those that a driver says: each database calls an expression something else, and SQLite promises no name
for a column without ``AS``. `tests/sql` compares the names in the three dialects, and with what the drivers say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, Self

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|`[^`]*`|/\*.*?\*/|--[^\n]*|[\w.:]+|\S""", re.DOTALL)
_COLUMN = re.compile(r"(?:[a-z_]\w*\.)?([a-z_]\w*)", re.IGNORECASE)
_VERBS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE"})
_ENDS = frozenset({"FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "FOR", "UNION", ";"})


class Row(tuple[Any, ...]):
    """A row of an answer: a tuple, with each value also as the attribute that is called like its column."""

    __slots__ = ()

    columns: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def all(cls, rows: Iterable[tuple[Any, ...]]) -> list[Self]:
        """*rows* of a driver as rows of this kind."""
        return [cls(row) for row in rows]

    def as_dict(self) -> dict[str, Any]:
        """The values by the names of their columns."""
        return dict(zip(self.columns, self, strict=True))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


@cache
def row_class(names: tuple[str, ...]) -> type[Row]:
    """The class of rows with these columns. A column without a name (``""``) is read by its place alone."""
    values = {name: property(itemgetter(place)) for place, name in enumerate(names) if name}
    return type("Row", (Row,), {"__slots__": (), "columns": names, **values})


def columns(sql: str) -> tuple[str, ...]:
    """What the columns are called that *sql* answers with: ``""`` for an expression without a name, none for none.

    *sql* is one statement. Its answer is what follows ``RETURNING`` or, if it is a SELECT, that word.
    """
    found: list[list[str]] | None = None
    verb, depth = "", 0
    for part in _TOKEN.findall(sql):
        word = part.upper() if depth == 0 else ""
        depth += (part == "(") - (part == ")")
        if part.startswith(("/*", "--")):
            continue
        if found is None:
            verb = verb or (word if word in _VERBS else "")
            if word == "RETURNING" or (word == verb == "SELECT"):
                found = [[]]
        elif word in _ENDS:
            break
        elif word == ",":
            found.append([])
        else:
            found[-1].append(part)
    return tuple(map(_name, found or ()))


def _name(expression: list[str]) -> str:
    if len(expression) > 2 and expression[-2].upper() == "AS":  # noqa: PLR2004
        return expression[-1]
    plain = _COLUMN.fullmatch(expression[-1]) if len(expression) == 1 or expression[:1] == ["DISTINCT"] else None
    return "" if plain is None else plain[1]

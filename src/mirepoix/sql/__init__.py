"""The statements of the ledger: one a file, ``common/`` unless a database really differs.

Placeholders are written ``:name``; `statement` renders them for a driver. Three expressions that every database
spells its own way are written in braces and replaced from a fixed table, never from data:
``{now}``, ``{later :seconds}``, ``{earlier :seconds}`` and ``{seconds_until expression}``.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

DIALECTS = ("postgresql", "sqlite")

_SPELLING: dict[str, dict[str, str]] = {
    "postgresql": {
        "now": "statement_timestamp()",
        "later": r"(statement_timestamp() + \1 * interval '1 second')",
        "earlier": r"(statement_timestamp() - \1 * interval '1 second')",
        "seconds_until": r"extract(epoch FROM \1 - statement_timestamp())",
    },
    "sqlite": {
        "now": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
        "later": r"strftime('%Y-%m-%d %H:%M:%f', 'now', \1 || ' seconds')",
        "earlier": r"strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || \1 || ' seconds')",
        "seconds_until": r"((julianday(\1) - julianday('now')) * 86400.0)",
    },
}
_PLACEHOLDER = re.compile(r"(?<![:\w]):([a-z_]+)")


@cache
def statement(name: str, dialect: str, paramstyle: str) -> str:
    """The SQL of *name* for *dialect*, with placeholders as *paramstyle* has them.

    ``named`` keeps ``:name`` (sqlite3, SQLAlchemy's ``text``); ``pyformat`` writes ``%(name)s`` and doubles every
    other percent sign (psycopg, PyMySQL, Django). Raises FileNotFoundError for a statement that does not exist.
    """
    return placeholders(spell(_read(name, dialect), dialect), paramstyle)


def placeholders(sql: str, paramstyle: str) -> str:
    """*sql* with its ``:name`` placeholders written as *paramstyle* has them."""
    if paramstyle == "named":
        return sql
    if paramstyle == "pyformat":
        return _PLACEHOLDER.sub(r"%(\1)s", sql.replace("%", "%%"))
    raise ValueError(f"unknown paramstyle {paramstyle!r}")


def spell(sql: str, dialect: str) -> str:
    """Replace the expressions in braces by the dialect's own, and drop the comment lines."""
    own = _SPELLING[dialect]
    sql = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    sql = sql.replace("{now}", own["now"])
    for verb in ("later", "earlier", "seconds_until"):
        sql = re.sub(r"\{" + verb + r" ([^{}]+)\}", own[verb], sql)
    return sql


def migrations(dialect: str) -> list[tuple[str, str]]:
    """Every migration of *dialect* as ``(name, script)``, in the order of their numbers."""
    folder = files(__package__) / "migrations" / dialect
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return sorted((entry.name.removesuffix(".sql"), entry.read_text("utf-8")) for entry in found)


def _read(name: str, dialect: str) -> str:
    root = files(__package__)
    for folder in (dialect, "common"):
        file = root / folder / f"{name}.sql"
        if file.is_file():
            return file.read_text("utf-8")
    raise FileNotFoundError(f"no statement {name!r} for {dialect}")

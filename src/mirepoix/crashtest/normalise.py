"""Make two runs comparable: surrogate keys, UUIDs, clocks and random values are not differences.

New rows lose their surrogate key. A reference to a new row is replaced by the row. The name of a new file is replaced
by its content, because a storage renames a file if the name is taken. Columns and paths of payloads that differ between
two clean runs are masked. The report lists every mask, because a mask could hide a real difference.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

_UUID = re.compile(r"\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b", re.IGNORECASE)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?")
_TAGGED = re.compile(r"\b19(\d\d)\d{6}\b")
"""An id from a sequence that the tester moved (`mirepoix.crashtest.databases.django`)."""

REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""RFC 9110, 9.2.2: repeating such a request has no further effect."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table's columns, its primary key, and its foreign keys to single-column keys of other tables."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    references: Mapping[str, str]


Rows = dict[Any, dict[str, Any]]
"""The rows of a table by their primary keys."""


def keyed(rows: Iterable[Mapping[str, Any]], shape: Table) -> Rows:
    """Return *rows* by their primary keys, or by their numbers if the table has no key."""
    return {
        tuple(row[column] for column in shape.key) if shape.key else index: dict(row) for index, row in enumerate(rows)
    }


def plain(value: Any) -> Any:
    """Replace generated ids and moments in *value* by placeholders."""
    if isinstance(value, dt.datetime):
        return "<time>"
    text = str(value)
    text = _TAGGED.sub(r"<new id>", text)
    text = _UUID.sub("<uuid>", text)
    return _MOMENT.sub("<time>", text)


def plain_content(content: bytes) -> bytes:
    """Replace the same in the content of a text file."""
    try:
        return str(plain(content.decode())).encode()
    except UnicodeDecodeError:
        return content


@dataclass(frozen=True, slots=True)
class Row:
    """A row in the form that is compared. *key* is None for a new row."""

    table: str
    key: Any
    values: tuple[tuple[str, str], ...]


def rows_of(
    tables: Mapping[str, Rows],
    before: Mapping[str, Rows],
    schema: Mapping[str, Table],
    masked: frozenset[tuple[str, str]],
    files: Mapping[str, bytes],
) -> Counter[Row]:
    """Return the rows of *tables* in the form that is compared. *files* are the new files."""
    made: dict[tuple[str, Any], tuple[tuple[str, str], ...]] = {}

    def values_of(table: str, key: Any) -> tuple[tuple[str, str], ...]:
        if (table, key) in made:
            return made[table, key]
        made[table, key] = (("", "<itself>"),)
        shape, row, old = schema[table], tables[table][key], before.get(table, {}).get(key)
        values = []
        for column in shape.columns:
            value = row[column]
            if column in shape.key and old is None:
                continue
            target = shape.references.get(column, "")
            if (table, column) in masked:
                value = "<masked>"
            elif target in tables and (value,) in tables[target] and (value,) not in before.get(target, {}):
                value = f"new {target} {values_of(target, (value,))}"
            elif old is None or old[column] != value:
                value = _held(value, files) or plain(value)
            values.append((column, str(value)))
        made[table, key] = tuple(values)
        return made[table, key]

    found: Counter[Row] = Counter()
    for table, rows in tables.items():
        for key in rows:
            found[Row(table, key if key in before.get(table, {}) else None, values_of(table, key))] += 1
    return found


def _held(value: Any, files: Mapping[str, bytes]) -> str:
    """Describe the content of the new file with the name *value*, if there is one."""
    content = files.get(value) if isinstance(value, str) else None
    return "" if content is None else f"a new file of {len(content)} bytes, {sha256(content).hexdigest()[:8]}"


def volatile_columns(
    first: Mapping[str, Rows], second: Mapping[str, Rows], schema: Mapping[str, Table]
) -> frozenset[tuple[str, str]]:
    """Return the columns in which two clean runs differ."""
    return frozenset(
        (table, column)
        for table, shape in schema.items()
        if len(first[table]) == len(second[table])
        for a, b in zip(first[table].values(), second[table].values(), strict=True)
        for column in shape.columns
        if column not in shape.key and column not in shape.references and plain(a[column]) != plain(b[column])
    )


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect in the form that is compared."""

    kind: str
    subject: str
    payload: tuple[tuple[str, str], ...]


def identity(effect: Mapping[str, Any]) -> tuple[str, str]:
    """Return the kind and the subject of an effect, without its payload."""
    return (effect["kind"], plain(effect["subject"]))


def payload(effect: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload of an effect by path."""
    return flat(effect.get("payload", ""))


def flat(body: Any) -> dict[str, Any]:
    """Return the values of *body* by path if it is JSON, otherwise as one value."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return {"": body}
    found: dict[str, Any] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name in sorted(value, key=str):
                walk(f"{path}.{name}" if path else str(name), value[name])
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                walk(f"{path}[{index}]", item)
        else:
            found[path] = value

    walk("", body)
    return found


def real(effects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return *effects* without repetitions of an idempotency key, which changed nothing."""
    found, known = [], set()
    for effect in effects:
        key = effect.get("key")
        if key is not None:
            mark = (effect["kind"], effect["subject"], str(key))
            if mark in known:
                continue
            known.add(mark)
        found.append(effect)
    return found


def volatile_paths(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> frozenset[tuple[tuple[str, str], str]]:
    """Return the paths of payloads in which two clean runs differ."""
    first, second = real(first), real(second)
    if [identity(effect) for effect in first] != [identity(effect) for effect in second]:
        return frozenset()
    found = set()
    for a, b in zip(first, second, strict=True):
        left, right = payload(a), payload(b)
        for path in left.keys() | right.keys():
            if plain(left.get(path)) != plain(right.get(path)):
                found.add((identity(a), path))
    return frozenset(found)


def effects_of(effects: list[dict[str, Any]], masked: frozenset[tuple[tuple[str, str], str]]) -> Counter[Effect]:
    """Count the effects in the form that is compared. A repeatable effect counts once for each URL."""
    found: Counter[Effect] = Counter()
    known = set()
    for effect in real(effects):
        who = identity(effect)
        values = sorted(
            (path, "<masked>" if (who, path) in masked else plain(v)) for path, v in payload(effect).items()
        )
        compared = Effect(*who, tuple(values))
        if effect.get("is_repeatable"):
            mark = (compared, str(effect["subject"]).partition("?")[0])
            if mark in known:
                continue
            known.add(mark)
        found[compared] += 1
    return found

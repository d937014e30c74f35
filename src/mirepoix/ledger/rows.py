"""Write rows as JSON arrays that fit into one statement."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

ROWS_A_STATEMENT = 1_000
"""The most rows in one statement. More rows were not faster (measured: benchmarks/enqueue.py)."""

LETTERS_A_STATEMENT = 4_000_000
"""The most characters of a statement's rows. MariaDB takes packets of 16 MiB by default (max_allowed_packet), and its
driver escapes every backslash and quote. A single row may be longer."""


def batches(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield JSON arrays of *rows*, in their order, each short enough for one statement. Nothing without rows."""
    batch: list[str] = []
    letters = 0
    for row in rows:
        text = json.dumps(row, allow_nan=False)  # databases refuse NaN, each with another error
        if batch and (len(batch) == ROWS_A_STATEMENT or letters + len(text) > LETTERS_A_STATEMENT):
            yield f"[{','.join(batch)}]"
            batch, letters = [], 0
        batch.append(text)
        letters += len(text)
    if batch:
        yield f"[{','.join(batch)}]"

"""Whatever stands in a row: its task runs or is parked, and the worker goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workers import Shop, until

pytestmark = pytest.mark.slow

HEADERS = (
    *("lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id"),
    *("parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers"),
    *("stamps", "compression", "mirepoix_version", "mirepoix", "headers", "delivery_info", "reply_to", "hostname"),
)
VALUES: tuple[Any, ...] = (
    *(None, 0, -1, 10**30, True, "x", "", "2020-01-01", "zlib"),
    *([], {}, [1], [None], ["a"], [[1]], {"a": 1}),
)
COLUMNS = {
    **dict.fromkeys(("headers", "properties"), ("[]", "{}", "null", '"t"', "5")),
    "body": ("", "[]", "null", "NaN", "{no", "[1, 2]", "[[], {}, 5]", '[[], {}, {"callbacks": 5, "chord": 7}]'),
    **dict.fromkeys(("content_type", "content_encoding", "body_encoding"), ("", "x", "base64", "application/data")),
    **dict.fromkeys(("name", "root_id", "group_id", "exchange", "routing_key", "written_by", "shape"), ("", "x", "[]")),
    **dict.fromkeys(("priority", "retries", "version"), ("-1", "32767")),
}


def changes(headers: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """An id, a column, and what is to stand there, of each hostile row."""
    for key in HEADERS:
        for number, value in enumerate(VALUES):
            id = f"{key}-{number}"
            yield id, "headers", json.dumps({**headers, "id": id, key: value})
    for column, values in COLUMNS.items():
        for number, text in enumerate(values):
            yield f"column-{column}-{number}", column, text


@pytest.mark.parametrize(
    ("database", "pool"), [("sqlite", "gevent"), ("postgresql", "prefork"), ("mariadb", "threads")]
)
def test_whatever_stands_in_a_row_ends_no_worker(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, pool: str
) -> None:
    with Shop(tmp_path / "shop", request.getfixturevalue(f"{database}_url")) as shop:
        model = shop.row(shop.send("note", task_id="model", countdown=3600))["headers"]
        hostile = list(changes(model if isinstance(model, dict) else json.loads(model)))
        note = shop.task("note")
        for id, column, text in hostile:
            note.apply_async(task_id=id, countdown=3600)
            quoted = text.replace("'", "''")
            shop.ledger.write(f"UPDATE mirepoix_task SET {column} = '{quoted}', due_at = NULL WHERE id = '{id}'")
        worker = shop.worker(pool=pool)

        def left() -> dict[str, str]:
            assert worker.is_running, worker.said
            found = shop.ledger.states()
            return {id: found[id] for id, _, _ in hostile if found[id] in ("pending", "leased", "running")}

        until(lambda: not left(), "all have run or are parked")
        after = shop.send("note")
        shop.wait(after, "succeeded")

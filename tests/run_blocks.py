"""Run the blocks of a page in order, in one namespace: ``python run_blocks.py FILE``, which is made by the test.

A block finds `app` as the page has it: with Mirepoix installed, unless the block installs it or makes an app itself.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from celery import Celery

import mirepoix


def run(url: str, prepared: str, blocks: list[tuple[str, str]]) -> None:
    """Run them. *blocks* are languages and texts, *prepared* is what the page takes for granted."""
    names: dict[str, Any] = {"mirepoix": mirepoix, "Celery": Celery, "url": url, "__name__": "shop"}
    for number, (language, text) in enumerate(blocks):
        if language == "sql":
            _query(url, text)
            continue
        if "Celery(" not in text:
            names["app"] = Celery(f"shop{number}")
            if "\nmirepoix.install(" not in f"\n{text}":
                mirepoix.install(names["app"], url, look_at_broker=False)
        exec(compile(prepared, "prepared", "exec", dont_inherit=True), names)
        exec(compile(text, f"block {number}", "exec", dont_inherit=True), names)
        names["app"].finalize()


def _query(url: str, sql: str) -> None:
    import sqlite3

    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    connection.execute(sql)
    connection.close()


if __name__ == "__main__":
    run(**json.loads(Path(sys.argv[1]).read_text("utf-8")))

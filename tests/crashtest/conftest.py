"""The corpus' tables in a database of Django's, inside a transaction as in a TestCase, and without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus.database import shop
from web import Web, serving


@pytest.fixture(params=["savepoints", "commits"])
def order(request: pytest.FixtureRequest) -> Iterator[int]:
    """An order in an SQLite database in memory."""
    with shop("sqlite:///:memory:", is_in_transaction=request.param == "savepoints") as key:
        yield key


@pytest.fixture(
    params=[(kind, how) for kind in ("sqlite", "postgresql", "mariadb") for how in ("savepoints", "commits")],
    ids="-".join,
)
def any_order(request: pytest.FixtureRequest) -> Iterator[int]:
    """An order in each database, inside a transaction as in a TestCase, and without."""
    kind, how = request.param
    url = "sqlite:///:memory:" if kind == "sqlite" else request.getfixturevalue(f"{kind}_url")
    with shop(url, is_in_transaction=how == "savepoints") as key:
        yield key


@pytest.fixture
def exploring(tmp_path: Path) -> Callable[..., Any]:
    """Explore a task of the corpus: with an order, or with a folder if it takes one."""
    from mirepoix.crashtest.check import explore

    folder = tmp_path / "watched"
    folder.mkdir()

    def run(task: Any, order: int, **options: Any) -> Any:
        takes_folder = "folder" in task.run.__code__.co_varnames[: task.run.__code__.co_argcount]
        argument = str(folder) if takes_folder else order
        numbers = iter(range(1, 1_000))
        return explore(
            task,
            (argument,),
            files=[folder],
            http=lambda method, url, body: {"id": f"obj_{next(numbers)}"},
            **options,
        )

    return run


@pytest.fixture(params=["postgresql", "mariadb"])
def shared_order(request: pytest.FixtureRequest) -> Iterator[int]:
    """An order where two can work at once."""
    with shop(request.getfixturevalue(f"{request.param}_url"), is_in_transaction=False) as key:
        yield key


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server that answers {}."""
    with serving(Web()) as server:
        yield server

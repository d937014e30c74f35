"""What a default run leaves out: no promise on any database, and what `--all` still tests."""

from __future__ import annotations

import pytest

from combinations import choose, first

pytest_plugins = "pytester"

FILE = """
import pytest

@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request):
    return request.param

@pytest.fixture(params=["prefork", "threads", "solo", "gevent"])
def pool(request):
    return request.param

@pytest.mark.parametrize("shape", ["chain", "group"])
def test_each(database, pool, shape): ...

@pytest.mark.parametrize("shape", ["chain", "group"])
def test_without_a_ledger(pool, shape): ...

@pytest.mark.slow
@pytest.mark.parametrize("point", range(5))
def test_slow(database, point): ...

@pytest.mark.in_turn
@pytest.mark.parametrize("step", range(3))
def test_bridge(database, step): ...

@pytest.mark.in_turn
def test_other_bridge(database): ...

@pytest.mark.thorough
def test_thorough(database): ...

@pytest.mark.parametrize("number", range(4))
def test_pure(number): ...
"""


@pytest.fixture
def items(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> list[pytest.Item]:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeini("[pytest]\nmarkers =\n slow: as in the project\n in_turn: as there\n thorough: as there")
    pytester.makepyfile(FILE)
    return pytester.inline_genitems("-p", "no:cacheprovider")[0]


def told(items: list[pytest.Item], test: str) -> list[dict[str, object]]:
    """The parameters of the tests of one function."""
    return [item.callspec.params for item in items if item.name.startswith(f"{test}[")]


def test_each_promise_runs_on_each_database_and_each_pair_of_database_and_pool_runs(items: list[pytest.Item]) -> None:
    chosen, left_out = choose(items)
    assert {*chosen, *left_out} == {*items}
    each = told(chosen, "test_each")
    assert len(told(items, "test_each")) == 24
    assert len(each) == 12
    for shape in ("chain", "group"):
        assert {run["database"] for run in each if run["shape"] == shape} == {"sqlite", "postgresql", "mariadb"}
    assert len({(run["database"], run["pool"]) for run in each}) == 12


def test_a_promise_without_a_database_loses_nothing(items: list[pytest.Item]) -> None:
    assert len(told(choose(items)[0], "test_without_a_ledger")) == 8


def test_a_slow_test_runs_on_each_database_and_with_each_parameter(items: list[pytest.Item]) -> None:
    slow = told(choose(items)[0], "test_slow")
    assert len(slow) == 5
    assert {run["database"] for run in slow} == {"sqlite", "postgresql", "mariadb"}
    assert {run["point"] for run in slow} == {*range(5)}


def test_bridges_take_the_databases_in_turn(items: list[pytest.Item]) -> None:
    chosen = choose(items)[0]
    bridge = told(chosen, "test_bridge")
    assert {run["step"]: run["database"] for run in bridge} == {0: "sqlite", 1: "postgresql", 2: "mariadb"}
    assert [run["database"] for run in told(chosen, "test_other_bridge")] == ["sqlite"]


def test_what_is_thorough_is_left_out(items: list[pytest.Item]) -> None:
    chosen, left_out = choose(items)
    assert (told(chosen, "test_thorough"), len(told(left_out, "test_thorough"))) == ([], 3)


def test_what_has_no_database_runs_as_it_is(items: list[pytest.Item]) -> None:
    assert len(told(choose(items)[0], "test_pure")) == 4


def test_quick_is_one_combination_of_each_promise(items: list[pytest.Item]) -> None:
    quick = first(items)[0]
    assert [len(told(quick, test)) for test in ("test_each", "test_slow", "test_pure")] == [2, 5, 4]

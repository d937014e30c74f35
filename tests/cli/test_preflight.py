"""`mirepoix signatures check --ledger`: every payload in the ledger is bound to the code that is about to run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, _state, chain, chord, group
from click.testing import CliRunner, Result

import mirepoix
from driver import Ledger
from mirepoix.cli.main import mirepoix as command
from mirepoix.records import IncompatibilityKind

HEAD = """
import mirepoix
from celery import Celery

app = Celery("candidate", broker="memory://", set_as_current=False)
mirepoix.install(app, "sqlite:///{folder}/own.db")
"""


@pytest.fixture
def old(ledger_url: str) -> Iterator[Celery]:
    """The app that runs today: what it sends waits in the ledger."""
    app = Celery("old", broker="memory://", set_as_current=False)
    mirepoix.install(app, ledger_url)

    @app.task(name="shop.pay", shared=False)
    def pay(order, amount=0): ...

    @app.task(name="shop.ship", shared=False)
    def ship(order): ...

    @app.task(name="shop.total", shared=False)
    def total(amounts): ...

    @app.task(name="shop.v2", version=2, shared=False)
    def v2(order): ...

    yield app
    app.mirepoix.source.close()
    app.close()


@pytest.fixture
def check(ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """``check(code, "--json", code=1)``: the gate for a candidate with these tasks."""
    finalizers = frozenset(_state._on_app_finalizers)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def run(tasks: str, *words: str, code: int = 0) -> Result:
        (tmp_path / "candidate.py").write_text(HEAD.format(folder=tmp_path) + tasks)
        sys.modules.pop("candidate", None)
        # Celery gives an app's tasks to all others of the process
        monkeypatch.setattr(_state, "_on_app_finalizers", set(finalizers))
        words = ("--app", "candidate", "signatures", "check", "--ledger", ledger_url, *words)
        result = CliRunner().invoke(command, words, env={"COLUMNS": "100", "MIREPOIX_LEDGER": None})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    yield run
    sys.modules.pop("candidate", None)


SAME = """
@app.task(name="shop.pay")
def pay(order, amount=0): ...
@app.task(name="shop.ship")
def ship(order): ...
@app.task(name="shop.total")
def total(amounts): ...
@app.task(name="shop.v2", version=2)
def v2(order): ...
"""


def found(result: Result) -> dict[str, tuple[str, int, bool]]:
    """What was found: by call what is lacking, how many, and whether it is carried."""
    return {
        one["call"]: (one["lacking"], one["count"], one["is_carried"]) for one in json.loads(result.stdout)["found"]
    }


def test_code_that_takes_everything_passes(old: Celery, check: Callable[..., Result]):
    for number in range(3):
        old.tasks["shop.pay"].delay(number)
    old.tasks["shop.ship"].apply_async((1,), countdown=3600)
    assert "4 payloads" in check(SAME).stdout
    told = json.loads(check(SAME, "--json").stdout)
    assert (told["payloads"], told["kinds"], told["is_open"], told["found"]) == (4, 2, True, [])


def test_each_incompatibility_is_found_with_what_it_touches_and_no_other(old: Celery, check: Callable[..., Result]):
    tasks = old.tasks
    for number in range(3):
        tasks["shop.pay"].delay(number)
        tasks["shop.pay"].delay(number, amount=1)
    oldest = tasks["shop.ship"].apply_async((1,), countdown=3600)
    tasks["shop.v2"].delay(1)
    result = check(
        """
@app.task(name="shop.pay")
def pay(order): ...
@app.task(name="shop.delivery")
def ship(order): ...
@app.task(name="shop.v2")
def v2(order): ...
""",
        "--json",
        code=1,
    )
    assert found(result) == {
        "shop.pay(·, amount=·)": ("arguments", 3, False),
        "shop.ship(·)": ("task", 1, False),
        "shop.v2(·) v2": ("version", 1, False),
    }
    told = json.loads(result.stdout)
    assert (told["payloads"], told["would_park"]) == (8, 5)
    by_task = {one["task"]: one for one in told["found"]}
    assert by_task["shop.ship"]["example"] == oldest.id
    assert by_task["shop.pay"]["reason"].endswith("unexpected keyword amount")


def test_upcasters_and_aliases_let_it_pass(old: Celery, check: Callable[..., Result]):
    old.tasks["shop.pay"].delay(1, amount=2)
    old.tasks["shop.ship"].delay(1)
    assert check(
        """
@app.task(name="shop.pay", version=3)
def pay(order): ...
@pay.upcast(from_version=1)
def _(order, amount=0): ...
@pay.upcast(from_version=2)
def _(order): ...
@app.task(name="shop.delivery", aliases=["shop.ship"])
def ship(order): ...
"""
    )
    missing = check(
        """
@app.task(name="shop.pay", version=3)
def pay(order): ...
@pay.upcast(from_version=2)
def _(order): ...
@app.task(name="shop.delivery", aliases=["shop.ship"])
def ship(order): ...
""",
        "--json",
        code=1,
    )
    assert found(missing) == {"shop.pay(·, amount=·)": ("version", 1, False)}


def test_what_payloads_carry_for_later_is_bound_too(old: Celery, check: Callable[..., Result]):
    pay, ship, total = (old.tasks[f"shop.{name}"] for name in ("pay", "ship", "total"))
    chain(pay.s(1), ship.s(), ship.si(2)).apply_async()
    chord([pay.s(1), pay.s(2)], total.s()).apply_async()
    pay.apply_async((1,), link=group(ship.s(), total.s()), link_error=ship.s())
    assert check(SAME)
    result = check(
        """
@app.task(name="shop.pay")
def pay(order, amount=0): ...
@app.task(name="shop.ship")
def ship(): ...
@app.task(name="shop.total")
def total(amounts, currency): ...
""",
        "--json",
        code=1,
    )
    assert found(result) == {"shop.ship(·)": ("arguments", 2, True), "shop.total(·)": ("arguments", 3, True)}
    assert json.loads(result.stdout)["would_park"] == 4


def test_what_maps_and_chunks_call_is_bound_too(old: Celery, check: Callable[..., Result]):
    pay = old.tasks["shop.pay"]
    pay.map([1, 2]).apply_async()
    pay.starmap([(1, 2), (3,)]).apply_async()
    pay.chunks([(1, 2), (3, 4)], 1).apply_async()
    assert check(SAME)
    result = check("@app.task(name='shop.pay')\ndef pay(order): ...\n", "--json", code=1)
    assert found(result) == {"shop.pay(·, ·)": ("arguments", 3, True)}
    versioned = "@app.task(name='shop.pay', version=2)\ndef pay(order, amount=0): ...\n"
    upcast = "@pay.upcast(from_version=1)\ndef _(order, amount=0): ...\n"
    result = check(versioned + upcast, "--json", code=1)
    assert found(result) == {"shop.pay(·)": ("version", 2, True), "shop.pay(·, ·)": ("version", 3, True)}


def test_what_failed_or_runs_counts_and_what_succeeded_or_was_cancelled_does_not(
    old: Celery, check: Callable[..., Result], ledger: Ledger
):
    sent = [old.tasks["shop.pay"].apply_async((number,), priority=9 - number).id for number in range(4)]
    ledger.worker("w")
    leases = {one.lease.task_id: one.lease for one in ledger.take("w")}
    ledger.fail(leases[sent[0]])
    ledger.start(leases[sent[1]])
    ledger.succeed(leases[sent[2]])
    ledger.give_back("w", [leases[sent[3]]])
    ledger.cancel(sent[3])
    result = check("@app.task(name='other')\ndef other(): ...\n", "--json", code=1)
    assert found(result) == {"shop.pay(·)": ("task", 2, False)}
    (one,) = json.loads(result.stdout)["found"]
    assert one["states"] == {"failed": 1, "running": 1}


def test_what_is_parked_already_does_not_close_the_gate(old: Celery, check: Callable[..., Result], ledger: Ledger):
    from mirepoix.ledger import finish
    from mirepoix.records import AttemptFailure

    def park(id: str, lacking: IncompatibilityKind | None) -> None:
        ledger.do(finish.park, leases[id], AttemptFailure("no"), lacking)

    first, second, third = (old.tasks[f"shop.{name}"].delay(1).id for name in ("pay", "ship", "total"))
    ledger.worker("w")
    leases = {one.lease.task_id: one.lease for one in ledger.take("w")}
    park(first, IncompatibilityKind.ARGUMENTS)
    park(second, IncompatibilityKind.TASK)
    park(third, None)  # it cannot be read by any code
    result = check("@app.task(name='shop.pay')\ndef pay(order): ...\n", "--json")
    told = json.loads(result.stdout)
    assert (told["resumed"], told["would_park"], told["is_open"]) == (1, 0, True)
    assert found(result) == {"shop.ship(·)": ("task", 1, False)}


def test_payloads_that_do_not_say_what_they_call_are_read(old: Celery, check: Callable[..., Result], ledger: Ledger):
    for number in range(3):
        old.tasks["shop.pay"].delay(number, amount=1)
    old.tasks["shop.ship"].delay(1)
    ledger.write("UPDATE mirepoix_task SET shape = NULL")  # an older release wrote them
    ledger.write("UPDATE mirepoix_task SET content_type = 'application/x-yaml' WHERE name = 'shop.ship'")
    result = check("@app.task(name='shop.pay')\ndef pay(order): ...\n", "--json", code=1)
    assert found(result) == {"shop.pay(·, amount=·)": ("arguments", 3, False), "shop.ship": ("task", 1, False)}
    assert json.loads(result.stdout)["unjudged"] == {"application/x-yaml": 1}


def test_it_reads_well(old: Celery, check: Callable[..., Result]):
    old.tasks["shop.pay"].delay(1, amount=2)
    chain(old.tasks["shop.ship"].si(1), old.tasks["shop.total"].s()).apply_async()
    said = check("@app.task(name='shop.pay')\ndef pay(order): ...\n", code=1).stdout
    assert "shop.pay(·, amount=·)" in said
    assert "unexpected keyword amount" in said
    assert "another task will send it" in said
    assert "this code would park 2 of them" in said


def test_without_a_candidate_nothing_can_be_told(ledger_url: str):
    words: list[Any] = ["signatures", "check", "--ledger", ledger_url]
    result = CliRunner().invoke(command, words, env={"MIREPOIX_APP": None})
    assert result.exit_code == 2
    assert "needs the app" in result.stderr

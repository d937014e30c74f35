"""`mirepoix parked`: what no running code can take, and what would help."""

from __future__ import annotations

import re
import sys

import pytest
from celery import _state
from click.testing import CliRunner

from mirepoix.ledger import finish
from mirepoix.ledger.query.parked import parked
from mirepoix.records import AttemptFailure, IncompatibilityKind
from mirepoix.signatures.call_codec import Call, to_text
from mirepoix.signatures.shape import Shape

CODE = """
import celery, mirepoix

app = celery.Celery("shop", set_as_current=False)
mirepoix.install(app, {url!r})

@app.task(name="shop.invoice", aliases=["shop.bill"])
def invoice(order): ...

@app.task(name="shop.charge")
def charge(order, currency): ...
"""


@pytest.fixture
def park(ledger):
    """Parks a task: ``park("id", Call(...), "why", Unfit.TASK)``."""
    ledger.worker("w")

    def park(task_id, call, reason="no such task", lacking=IncompatibilityKind.TASK, **fields):
        ledger.send(task_id, name=call.task, version=call.version, shape=to_text(call), priority=9, **fields)
        lease = ledger.take("w", 1, [fields.get("queue", "celery")])[0].lease
        assert ledger.do(finish.park, lease, AttemptFailure(reason), lacking)

    return park


@pytest.fixture
def app(tmp_path, monkeypatch, ledger_url):
    """The name of a module with the shop's app."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "parked_shop.py").write_text(CODE.format(url=ledger_url))
    yield "parked_shop"
    sys.modules.pop("parked_shop", None)


BILL = Call("shop.bill", 1, Shape(1))
CHARGE = Call("shop.charge", 2, Shape(0, frozenset({"order"})))


def test_nothing_is_parked(cli):
    assert cli("parked").stdout == "Nothing is parked.\n"
    assert cli.json("parked") == {"count": 0, "calls": []}


def test_each_call_is_told_with_its_reason_and_what_would_help(cli, park):
    park("a", BILL, "no task named 'shop.bill' is registered")
    park("b", BILL, "no task named 'shop.bill' is registered", queue="mail")
    park("c", CHARGE, "it is of version 2", IncompatibilityKind.VERSION)
    told = cli("parked").stdout
    assert told.startswith("3 tasks parked\n\nshop.bill(·)  2 tasks, oldest ")
    for part in (
        "no task named 'shop.bill' is registered",
        "a task of that name, or with that alias",
        "celery, mail",
        "shop.charge(order=·) v2  1 task",
        "code of that version, or upcasters from it",
        "an alias, an upcaster, or newer code",
        "mirepoix edit",
        "mirepoix requeue",
        "mirepoix discard",
    ):
        assert part in told
    assert "this code" not in told
    assert max(map(len, told.splitlines()[:-5])) <= 80


def test_nothing_is_promised_of_what_no_other_code_can_take(cli, park):
    park("a", BILL, "the body cannot be decoded", None)
    told = cli("parked").stdout
    assert "waits for your decision" in told
    assert "Deploy" not in told


def test_json_has_the_documented_keys(cli, park):
    park("a", CHARGE, "why", IncompatibilityKind.VERSION)
    (one,) = cli.json("parked")["calls"]
    assert one.pop("oldest_s") >= one.pop("newest_s") >= 0
    assert one == {
        "call": "shop.charge(order=·) v2",
        "task": "shop.charge",
        "version": 2,
        "positional": 0,
        "keywords": ["order"],
        "parked_for": "version",
        "reason": "why",
        "count": 1,
        "example_id": "a",
        "queues": ["celery"],
        "code_can_take": None,
        "code_lacks": None,
    }


def test_an_app_tells_what_its_code_could_take(cli, park, app, ledger_url):
    park("a", BILL)
    park("b", CHARGE, "it is of version 2", IncompatibilityKind.VERSION)
    park("c", Call("shop.invoice", 1, Shape(1)), "an upcaster failed", IncompatibilityKind.UPCAST)
    park("d", Call("shop.charge", 1, Shape(2)), "the arguments are no list", None)
    calls = {one["call"]: one for one in cli.json("--app", app, "parked")["calls"]}
    assert {call: one["code_can_take"] for call, one in calls.items()} == {
        "shop.bill(·)": True,
        "shop.charge(order=·) v2": False,
        "shop.invoice(·)": True,
        "shop.charge(·, ·)": True,
    }
    assert "up to version 1" in calls["shop.charge(order=·) v2"]["code_lacks"]
    told = cli("--app", app, "parked").stdout
    for part in (
        "can take it: its workers will resume the task",
        "cannot take it either",
        "try them",
        "will not resume it",
    ):
        assert part in told


def test_an_app_that_fails_to_import_its_tasks_is_a_message(cli, app, tmp_path):
    file = tmp_path / "parked_shop.py"
    file.write_text(file.read_text() + "\napp.conf.imports = ['parked_shop_is_not_there']\n")
    assert "parked_shop_is_not_there" in cli("--app", app, "parked", code=2).stderr


def test_many_calls_are_counted_and_listed_on_demand(cli, park):
    for n in range(22):
        park(f"t{n}", Call(f"shop.task{n:02}", 1, Shape(n)))
    told = cli("parked").stdout
    assert "… and 2 tasks more of 2 calls (--all)" in told
    assert "shop.task21" not in told
    assert "shop.task21" in cli("parked", "--all").stdout
    assert len(cli.json("parked")["calls"]) == 22


def test_other_peoples_text_is_printed_in_one_line_and_escaped(cli, park):
    park("a", Call("shop.\x1b[31m", 1, Shape(0, frozenset({"\x1b[0m"}))), "a\nb\x1b[2J")
    told = cli("parked").stdout
    assert "\x1b" not in told
    assert "a b\\x1b[2J" in told


def test_status_points_to_it(cli, park):
    park("a", BILL)
    assert re.search(r"1 task waits for you: parked \(newest \w+ ago\); see: mirepoix parked", cli("status").stdout)


def test_it_reads_no_more_than_what_is_kept_for_a_decision(ledger, park):
    if ledger.source.dialect != "sqlite":
        pytest.skip("SQLite tells its plans in words")
    park("a", BILL)

    class Explained:
        dialect = "sqlite"

        def __init__(self, tx):
            self.tx = tx
            self.plans = []

        def fetch(self, name, /, **params):
            from mirepoix.sql import statement

            sql = statement(name, "sqlite", "named")
            self.plans += [row[3] for row in self.tx.query(f"EXPLAIN QUERY PLAN {sql}", **params)]
            return self.tx.fetch(name, **params)

    with ledger.connection.transaction() as tx:
        explained = Explained(tx)
        parked(explained)
    read = [step for step in explained.plans if step.startswith(("SCAN", "SEARCH"))]
    assert all("mirepoix_task_attention" in step for step in read), read


def test_help_says_what_it_is_for():
    from mirepoix.cli.main import mirepoix

    told = CliRunner().invoke(mirepoix, ["parked", "--help"]).output
    assert "Show the tasks that no running code can take" in told

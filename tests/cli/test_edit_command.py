"""`mirepoix edit`: it changes what it is told to, keeps who and why, and says what it did not change."""

from __future__ import annotations

import getpass
import json
import sys
import threading
from pathlib import Path

import pytest
from celery import _state

import fork_server
from driver import Ledger, until_somebody_waits_for_a_lock
from mirepoix.crashpoints import Crashpoint
from mirepoix.ledger import finish, take
from pace import DEADLINE_S

WHY = ("--reason", "the currency was forgotten")
SET = ("--set", 'currency="EUR"')
CODE = """
import celery, mirepoix

app = celery.Celery("shop", set_as_current=False)
mirepoix.install(app, {url!r}, payload_limit_bytes=200)

@app.task(name="shop.pay")
def pay(order, a, currency=None): ...

@app.task(name="shop.charge", version=2)
def charge(order, amount): ...

@charge.upcast(from_version=1)
def _(order, a): ...
"""


@pytest.fixture
def app(tmp_path, monkeypatch, ledger_url):
    """The name of a module with the shop's app."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "edited_shop.py").write_text(CODE.format(url=ledger_url))
    yield "edited_shop"
    sys.modules.pop("edited_shop", None)


def body(ledger, task_id="a"):
    return json.loads(ledger.row(task_id)["body"])


def test_it_changes_a_keyword_and_shows_the_call_before_and_after(cli, ledger):
    ledger.send("a")
    lines = cli("edit", "a", *SET, *WHY).stdout.splitlines()
    assert [line.strip() for line in lines[:4]] == [
        "edited: 1 task",
        "a",
        "was  shop.pay(1, a=2)",
        'now  shop.pay(1, a=2, currency="EUR")',
    ]
    assert "nothing checked whether" in lines[4]
    assert body(ledger) == [[1], {"a": 2, "currency": "EUR"}, {}]


def test_every_way_to_change_a_payload(cli, ledger):
    ledger.send("a")
    cli("edit", "a", "--args", '["x", null]', "--kwargs", '{"b": 1}', "--set", "c=[1]", "--unset", "b", *WHY)
    cli("edit", "a", "--rename", "shop.charge", "--payload-version", "2", *WHY)
    row = ledger.row("a")
    assert body(ledger) == [["x", None], {"c": [1]}, {}]
    assert (row["name"], row["version"]) == ("shop.charge", 2)
    assert json.loads(row["shape"]) == [["shop.charge", 2, 2, ["c"]]]


def test_who_and_why_are_shown_with_the_task(cli, ledger):
    ledger.send("a", shape='[["shop.pay",1,1,["a"]],["shop.mail",1,2,["to"]]]')
    cli("edit", "a", *SET, *WHY)
    cli("edit", "a", "--payload-version", "3", "--reason", "again", "--by", "ann from billing")
    told = cli("show", "a").stdout
    for part in (
        "Edits",
        f"  {getpass.getuser()}@",
        ": the currency was forgotten",
        "ann from billing: again",
        "was  shop.pay(1, a=2)",
        'now  shop.pay(1, a=2, currency="EUR") v3',
        "version",
    ):
        assert part in told
    told = cli.json("show", "a")
    assert [edit["edited_by"] for edit in told["edits"]][1] == "ann from billing"
    assert told["edits"][0]["before"] == {"name": "shop.pay", "version": 1, "args": [1], "kwargs": {"a": 2}}
    assert told["edits"][1]["after"]["version"] == told["version"] == 3
    assert told["calls"] == [
        {"task": "shop.pay", "version": 3, "shape": {"positional": 1, "keywords": ["a", "currency"]}}
    ]
    (line,) = cli.json("tasks")["tasks"]
    assert (line["version"], line["parked_for"]) == (3, None)


@pytest.mark.parametrize("state", ["failed", "quarantined", "parked"])
def test_what_is_kept_for_a_decision_is_edited_where_it_is_or_run_as_well(cli, ledger, ended, state):
    ended(state, "a")
    planned = cli.json("edit", "a", *SET, *WHY, "--requeue", "--dry-run")
    assert planned["done"][0]["did"] == "would be edited and requeued"
    assert cli.json("edit", "a", *SET, *WHY)["done"][0]["did"] == "edited"
    assert ledger.state("a") == state
    (done,) = cli.json("edit", "a", "--set", 'currency="USD"', *WHY, "--requeue")["done"]
    assert done["did"] == "edited and requeued"
    row = ledger.row("a")
    assert (row["state"], row["reason"], row["generation"]) == ("pending", WHY[1], 1)
    assert ledger.take("ender")[0].body == '[[1], {"a": 2, "currency": "USD"}, {}]'


def test_what_waits_is_not_sent_again_by_a_requeue(cli, ledger):
    ledger.send("a", eta="2999-01-01T00:00:00+00:00")
    assert cli.json("edit", "a", *SET, *WHY, "--requeue")["done"][0]["did"] == "edited"
    row = ledger.row("a")
    assert row["due_at"] is not None
    assert row["generation"] == 0


@pytest.mark.parametrize("state", ["leased", "running", "succeeded"])
def test_what_a_worker_has_or_what_is_over_is_left_and_explained(cli, ledger, ended, state):
    ended(state, "a")
    report = cli.json("edit", "a", *SET, *WHY, "--force", code=1)
    assert report["done"] == []
    (left,) = report["not_done"]
    assert left["state"] == state
    assert left["why"].startswith(("a worker", "it succeeded"))
    assert body(ledger) == [[1], {"a": 2}, {}]
    assert ledger.counts()["mirepoix_edit"] == 0
    assert cli.json("edit", "a", *SET, *WHY, "--dry-run", code=1)["not_done"] == report["not_done"]


def test_a_change_at_the_same_moment_is_told(cli, ledger, source):
    if source.dialect == "sqlite":
        pytest.skip("SQLite has one writer at a time: nothing changes between the look and the write")
    ledger.send("a")
    ledger.worker("w")
    reports = []
    editor = threading.Thread(target=lambda: reports.append(cli.json("edit", "a", *SET, *WHY, code=1)))
    with Ledger(source) as watcher, ledger.connection.transaction() as tx:
        (taken,) = take.take(tx, "w", ["celery"], 1)
        finish.give_back(tx, "w", [taken.lease], "changed its mind")
        editor.start()
        until_somebody_waits_for_a_lock(watcher)
    editor.join()
    (left,) = reports[0]["not_done"]
    assert (left["state"], left["why"]) == ("pending", "it changed at the same moment; try again")
    assert body(ledger) == [[1], {"a": 2}, {}]
    assert ledger.counts()["mirepoix_edit"] == 0


def test_filters_mean_what_waits_or_is_parked_unless_others_are_named(cli, ledger, ended):
    ended("failed", "failed")
    ended("parked", "parked")
    ledger.send("pending")
    cli("edit", "--name", "shop.*", *SET, *WHY, "--yes")
    edited = {id for id in ("failed", "parked", "pending") if "currency" in body(ledger, id)[1]}
    assert edited == {"parked", "pending"}
    cli("edit", "--state", "failed", *SET, *WHY, "--yes")
    assert "currency" in body(ledger, "failed")[1]


def test_filters_ask_before_anything_is_changed(cli, ledger):
    ledger.send("a")
    asked = cli("edit", "--name", "shop.*", *SET, *WHY, answer="n\n", code=2)
    assert "1 task (1 pending)" in asked.stderr
    assert "Edit them?" in asked.stderr
    assert body(ledger) == [[1], {"a": 2}, {}]


def test_a_dry_run_shows_and_changes_nothing(cli, ledger):
    ledger.send("a")
    ledger.send("b", body="[]")
    told = cli("edit", "--name", "*", *SET, *WHY, "--dry-run", code=1).stdout
    assert "would be edited: 1 task" in told
    assert 'now  shop.pay(1, a=2, currency="EUR")' in told
    assert "not edited: 1 task: its body is not [args, kwargs, embed] of Celery's protocol 2" in told
    assert body(ledger) == [[1], {"a": 2}, {}]
    assert ledger.counts()["mirepoix_edit"] == 0
    report = cli.json("edit", "a", *SET, *WHY, "--dry-run")
    assert (report["command"], report["is_dry_run"]) == ("edit", True)
    assert report["done"][0]["after"]["kwargs"] == {"a": 2, "currency": "EUR"}


def test_the_rest_is_done_where_some_are_refused(cli, ledger):
    ledger.send("a", "c")
    ledger.send("b", body="[[1], {}, {}]")
    report = cli.json("edit", "a", "b", "c", "nope", "--unset", "a", *WHY, code=1)
    assert [one["id"] for one in report["done"]] == ["a", "c"]
    assert {one["id"]: one["why"] for one in report["not_done"] if one["id"] == "b"} == {"b": "it has no keyword a"}
    assert len(report["not_done"]) == 2


def test_with_an_app_a_call_that_its_code_cannot_take_is_refused_unless_forced(cli, ledger, app):
    ledger.send("a")
    told = cli("--app", app, "edit", "a", "--set", "currncy=1", *WHY, code=1).stdout
    assert "unexpected keyword currncy" in told
    assert "--force" in told
    assert body(ledger) == [[1], {"a": 2}, {}]
    told = cli("--app", app, "edit", "a", *SET, *WHY).stdout
    assert "checked" not in told
    for words in (("--rename", "shop.nothing"), ("--rename", "shop.charge"), ("--payload-version", "2")):
        cli("--app", app, "edit", "a", *words, *WHY, code=1)
    cli("--app", app, "edit", "a", "--rename", "shop.charge", "--unset", "currency", *WHY)
    assert (ledger.row("a")["name"], ledger.row("a")["version"]) == ("shop.charge", 1)
    cli("--app", app, "edit", "a", "--set", "currncy=1", *WHY, "--force")
    assert body(ledger)[1]["currncy"] == 1


def test_with_an_app_its_limit_counts(cli, ledger, app):
    ledger.send("a")
    told = cli("--app", app, "edit", "a", "--set", f'currency="{"x" * 200}"', *WHY, code=1).stdout
    assert "the limit is 200 (payload_limit_bytes)" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a", *WHY), "Say what to change"),
        (("a", *SET), "--reason"),
        (("a", *SET, "--reason", " "), "Say why"),
        (("a", "--set", "currency=EUR", *WHY), "--set 'currency=\"…\"'"),
        (("a", "--set", "currency", *WHY), "is not NAME=JSON"),
        (("a", "--set", "a=NaN", *WHY), "is not JSON"),
        (("a", "--args", "{}", *WHY), "it must be an array"),
        (("a", "--kwargs", "[", *WHY), "it is not JSON"),
        (("a", "--set", "a=1", "--unset", "a", *WHY), "not both"),
        (("a", "--rename", "a\tb", *WHY), "printable"),
        (("a", "--rename", "x" * 256, *WHY), "255"),
        (("a", "--payload-version", "0", *WHY), "x>=1"),
        ((*SET, *WHY), "Say which tasks to edit"),
        (("nope", *SET, *WHY), "The ledger has no task 'nope'"),
    ],
)
def test_a_wrong_word_is_a_message(cli, ledger, words, said):
    ledger.send("a")
    assert said in cli("edit", *words, code=2).stderr
    assert ledger.counts()["mirepoix_edit"] == 0


@pytest.mark.parametrize("point", [Crashpoint.OPERATE_BEFORE_COMMIT, Crashpoint.OPERATE_AFTER_COMMIT])
def test_a_death_leaves_edit_note_and_requeue_together_or_none(cli, ledger, ended, point):
    ended("failed", "a")
    command = [sys.executable, "-c", "from mirepoix.cli.main import mirepoix; mirepoix()"]
    died = fork_server.run(
        [*command, "--ledger", cli.url, "edit", "a", *SET, *WHY, "--requeue"],
        Path.cwd(),
        {"MIREPOIX_CRASHPOINT": f"{point}"},
        timeout_s=DEADLINE_S,
    )
    assert died.returncode == -9
    is_done = point is Crashpoint.OPERATE_AFTER_COMMIT
    assert ledger.state("a") == ("pending" if is_done else "failed")
    assert ("currency" in body(ledger)[1]) is is_done
    assert ledger.counts()["mirepoix_edit"] == int(is_done)

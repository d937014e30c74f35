"""Deaths by SIGKILL, in a process of their own."""

from __future__ import annotations

import atexit
import json
import os
import re
from pathlib import Path

import pytest
import requests
from corpus import alchemy, safe, unsafe
from corpus.alchemy import Account, Base
from corpus.apps import early, ledger, plain
from corpus.database import shop
from corpus.shop import Order
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from mirepoix.crashtest import forked
from mirepoix.crashtest.check import NotSafe, explore
from mirepoix.crashtest.record import record
from mirepoix.crashtest.unusable import Unusable
from mirepoix.errors import ConfigurationError

TASKS = {name: task for app in (plain, early, ledger) for name, task in app.tasks.items()}


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def order(request, tmp_path):
    """An order in a database that another process can reach."""
    url = f"sqlite:///{tmp_path / 'shop.db'}" if request.param == "sqlite" else None
    with shop(url or request.getfixturevalue(f"{request.param}_url"), is_in_transaction=False) as key:
        yield key


@pytest.fixture
def file_order(tmp_path):
    with shop(f"sqlite:///{tmp_path / 'shop.db'}", is_in_transaction=False) as key:
        yield key


def told(report):
    return {one.code for one in report.findings if one.fails}


@pytest.mark.slow
def test_the_corpus_has_the_same_findings(exploring, order, request, capsys):
    # All of them had the same on each database. For the time that it takes, each database is asked about others.
    first, step = {"sqlite": (0, 8), "postgresql": (3, 8), "mariadb": (6, 16)}[request.node.callspec.params["order"]]
    if request.config.option.combinations == "all":
        first, step = 0, 1
    wrong, took_s = [], {False: 0.0, True: 0.0}
    names = [*unsafe.EXPECTED, *safe.NAMES][first::step]
    for name in names:
        reports = {kill: exploring(TASKS[name], order, kill=kill) for kill in (False, True)}
        for kill, report in reports.items():
            took_s[kill] += report.explored.took_s
        played, killed = told(reports[False]), told(reports[True])
        # No exception is raised, so that none can be swallowed.
        if killed != {code for code in played if not code.startswith("swallowed")}:
            wrong.append(f"{name}: {played} but killed {killed}\n{reports[True]}")
    with capsys.disabled():
        print(f"\n{len(names)} tasks: {len(wrong)} wrong, played {took_s[False]:.1f} s, killed {took_s[True]:.1f} s")
    assert not wrong, "\n\n".join(wrong)


@plain.task(shared=False, name="writes_by_a_descriptor")
def writes_by_a_descriptor(folder):
    """Its line is in the buffer of the process when the row says that it is written."""
    if Order.objects.filter(status="exported").exists():
        return
    where = os.open(os.path.join(folder, "report.csv"), os.O_CREAT | os.O_TRUNC | os.O_WRONLY)  # noqa: PTH118
    with os.fdopen(where, "w") as file:
        file.write("a line\n")
        Order.objects.update(status="exported")
        requests.get("https://shop.example/exported", timeout=5)


@plain.task(shared=False, name="locks_by_a_folder")
def locks_by_a_folder(folder):
    lock = os.path.join(folder, "lock")  # noqa: PTH118
    os.mkdir(lock)  # noqa: PTH102
    try:
        Order.objects.update(status="exported")
        Order.objects.update(count=1)
    finally:
        os.rmdir(lock)  # noqa: PTH106


@pytest.mark.parametrize(
    ("task", "code"),
    [(writes_by_a_descriptor, "changed-file:report.csv"), (locks_by_a_folder, "fails:FileExistsError")],
    ids=lambda one: getattr(one, "name", None),
)
def test_what_only_a_real_kill_leaves_behind_is_found(exploring, file_order, task, code):
    assert exploring(task, file_order).is_safe, "what the exception unwinds is cleaned up: this is what it misses"
    report = exploring(task, file_order, kill=True)
    assert code in told(report), report


@plain.task(shared=False, name="leaves_notes")
def leaves_notes(order, folder):
    note = Path(folder, "unwatched")
    if os.getpid() != MAIN:
        atexit.register(note.write_text, "atexit")
    try:
        Order.objects.filter(pk=order).update(status="a")
        Order.objects.filter(pk=order).update(status="b")
    finally:
        if os.getpid() != MAIN:
            note.write_text("finally")


MAIN = os.getpid()


def test_a_killed_process_runs_no_finally_and_no_atexit(file_order, tmp_path):
    report = explore(leaves_notes, (file_order, str(tmp_path)), at="2:before", kill=True)
    assert report.is_safe, report
    assert not Path(tmp_path, "unwatched").exists()


def test_two_deaths_in_a_row_are_killed_as_well(exploring, order):
    report = exploring(unsafe.charge_then_save, order, kill=True, second=True)
    assert told(report) == unsafe.EXPECTED["corpus.unsafe.charge_then_save"]
    twice = next(one for one in report.explored.tried if one.schedule.then and one.schedule.then.dies_at)
    assert twice.again, "the points of the child that died second are here"


def test_the_report_says_so_and_its_rerun_finds_the_same(crashpoints, file_order):
    with pytest.raises(NotSafe) as raised:
        crashpoints(unsafe.save_then_mail, file_order, kill=True)
    assert "killed by SIGKILL in a process of its own" in str(raised.value)
    assert f"rerun: crashpoints(save_then_mail, {file_order}, at='2:before', kill=True)" in str(raised.value)
    with pytest.raises(NotSafe, match="LOST MAIL"):
        crashpoints(unsafe.save_then_mail, file_order, at="2:before", kill=True)
    report = explore(safe.set_values, (file_order,), kill=True)
    assert json.loads(record([report]))[0]["is_killed"]
    assert Order.objects.get().status == "new", "afterwards everything is as it was"


@plain.task(shared=False, name="pays_twice")
def pays_twice(order):
    numbers = [requests.post("https://pay.example", json={}, timeout=5).json()["n"] for _ in range(2)]
    Order.objects.filter(pk=order).update(charge=f"{numbers[0] < numbers[1]}")


def test_the_service_of_the_test_is_asked_where_the_test_is(file_order):
    counts = []
    for kill in (False, True):
        asked = []

        def service(method, url, body, asked=asked):
            asked.append(method)
            return {"n": len(asked)}

        report = explore(pays_twice, (file_order,), http=service, kill=kill)
        assert told(report) == {"duplicate-http:POST https://pay.example/"}
        counts.append(len(asked))
    assert counts == [17, 17]


class Down(Exception):
    """What the service raises."""


@plain.task(shared=False, name="reports_what_fails")
def reports_what_fails(order):
    try:
        requests.post("https://pay.example", json={}, timeout=5)
    except Down as error:
        Order.objects.filter(pk=order).update(status=str(error))
    Order.objects.filter(pk=order).update(count=1)


def test_what_the_service_raises_is_raised_in_the_task(file_order):
    def service(method, url, body):
        raise Down("down")

    report = explore(reports_what_fails, (file_order,), http=service, kill=True)
    assert report.is_safe, report


@plain.task(shared=False, name="sends_what_cannot_be_pickled")
def sends_what_cannot_be_pickled(order):
    plain.send_task("other", (lambda: None,))
    Order.objects.filter(pk=order).update(status="a")


def test_what_cannot_be_pickled_is_noted_as_text(file_order):
    report = explore(sends_what_cannot_be_pickled, (file_order,), kill=True)
    assert told(report) == {"duplicate-enqueue:other"}


@plain.task(shared=False, name="ends_its_process")
def ends_its_process(order):
    Order.objects.filter(pk=order).update(status="a")
    if os.getpid() != MAIN:
        os._exit(3)
    Order.objects.filter(pk=order).update(status="b")


def test_a_process_that_ends_by_itself_is_told_of(file_order):
    with pytest.raises(Unusable, match="ended its process before the crash that was planned"):
        explore(ends_its_process, (file_order,), kill=True)


@plain.task(shared=False, name="hangs")
def hangs(order):
    Order.objects.filter(pk=order).update(status="a")
    if os.getpid() != MAIN:
        os.read(os.pipe()[0], 1)
    Order.objects.filter(pk=order).update(status="b")


def test_a_process_that_hangs_is_given_up(file_order, monkeypatch):
    monkeypatch.setattr(forked, "MOST_S", 0.2)
    with pytest.raises(Unusable, match="Stop that thread first, or leave kill=True out"):
        explore(hangs, (file_order,), kill=True)


def test_no_child_is_left(exploring, file_order, monkeypatch):
    fork, made = os.fork, []
    monkeypatch.setattr(os, "fork", lambda: made.append(fork()) or made[-1])
    exploring(unsafe.charge_then_save, file_order, kill=True)
    assert made
    for pid in made:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


@pytest.mark.parametrize(
    ("url", "is_in_transaction", "words"),
    [
        ("sqlite:///:memory:", False, 'DATABASES["default"]["TEST"] = {"NAME": "test.sqlite3"}'),
        ("sqlite:///:memory:", True, "mark the test @pytest.mark.django_db(transaction=True)"),
    ],
)
def test_where_nobody_can_be_killed_the_remedy_is_named(url, is_in_transaction, words):
    with (
        shop(url, is_in_transaction=is_in_transaction) as order,
        pytest.raises(ConfigurationError, match=re.escape(words)),
    ):
        explore(unsafe.increment, (order,), kill=True)


def test_without_fork_it_says_so(file_order, monkeypatch):
    monkeypatch.delattr(os, "fork")
    with pytest.raises(ConfigurationError, match=r"needs os\.fork"):
        explore(unsafe.increment, (file_order,), kill=True)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_tasks_that_write_with_sqlalchemy_have_the_same_findings(request, tmp_path, monkeypatch, kind):
    url = f"sqlite:///{tmp_path / 'accounts.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql_url").replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url)
    monkeypatch.setattr(alchemy, "engine", engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add(Account(id=1))
    for name, expected in alchemy.EXPECTED.items():
        report = explore(
            plain.tasks[name], (1,), state=engine, django=False, kill=True, http=lambda method, url, body: {"id": "c"}
        )
        assert told(report) == expected, f"{name}\n{report}"
    engine.dispose()


def test_an_engine_in_memory_is_refused():
    with pytest.raises(ConfigurationError, match=r'give it a file, "sqlite:///test\.db"'):
        explore(alchemy.deposit, (1,), state=create_engine("sqlite://"), django=False, kill=True)

"""Versions, aliases and upcasters of tasks, and the types of their arguments, where they are declared and called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from celery import Celery, chain, chord, group

import mirepoix
from driver import Ledger
from mirepoix.connect.url import source_for
from mirepoix.errors import ConfigurationError
from mirepoix.records import VERSION_HEADER


@pytest.fixture
def app(tmp_path: Path):
    """An app with its ledger."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    mirepoix.install(app, f"sqlite:///{tmp_path / 'ledger.db'}")
    yield app
    app.mirepoix.source.close()
    app.close()


@pytest.fixture
def ledger(app: Celery):
    """What is in it."""
    with Ledger(source_for(app.mirepoix.source.label)) as ledger:
        yield ledger
        ledger.source.close()


def headers(ledger: Ledger, id: str) -> dict:
    """The headers of its message."""
    return json.loads(ledger.row(id)["headers"])


def test_a_payload_says_its_version_unless_that_is_the_first(app: Celery, ledger: Ledger):
    @app.task(name="one", shared=False)
    def one(): ...

    @app.task(name="two", version=2, shared=False)
    def two(): ...

    first, second = one.delay().id, two.delay().id
    assert VERSION_HEADER not in headers(ledger, first)
    assert headers(ledger, second)[VERSION_HEADER] == 2
    assert (ledger.row(first)["version"], ledger.row(second)["version"]) == (1, 2)
    (bulk,) = mirepoix.bulk(two, [()])
    assert (headers(ledger, bulk)[VERSION_HEADER], ledger.row(bulk)["version"]) == (2, 2)


def test_who_sends_by_name_may_say_the_version(app: Celery, ledger: Ledger):
    id = app.send_task("elsewhere", headers={VERSION_HEADER: 3}).id
    assert (headers(ledger, id)[VERSION_HEADER], ledger.row(id)["version"]) == (3, 3)


def test_what_a_payload_carries_for_later_says_its_version_too(app: Celery, ledger: Ledger):
    @app.task(name="one", shared=False)
    def one(*_): ...

    @app.task(name="two", version=2, shared=False)
    def two(*_): ...

    chain(one.s(), two.s(), group(two.s(), chord([one.s()], two.s()))).apply_async(link=two.s())
    carried: list[tuple[str, int | None]] = []

    def look(value: object) -> None:
        if isinstance(value, dict):
            if value.get("task") in ("one", "two"):
                carried.append((value["task"], (value["options"].get("headers") or {}).get(VERSION_HEADER)))
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    ((body,),) = ledger.query("SELECT body FROM mirepoix_task WHERE name = 'one'")
    look(json.loads(body))
    assert ("two", 2) in carried
    assert set(carried) == {("one", None), ("two", 2)}


def test_a_signature_that_says_its_version_keeps_it(app: Celery, ledger: Ledger):
    @app.task(name="two", version=2, shared=False)
    def two(*_): ...

    old = two.s().set(headers={VERSION_HEADER: 1})
    assert ledger.row(old.delay().id)["version"] == 1


def test_a_row_says_what_it_calls(app: Celery, ledger: Ledger):
    @app.task(name="one", shared=False)
    def one(*_, **__): ...

    id = one.apply_async((1, 2), {"b": 1, "a": 2}, link=[one.s(5, c=1), one.si()]).id
    assert json.loads(ledger.row(id)["shape"]) == [["one", 1, 2, ["a", "b"]], ["one", 1, 0, []], ["one", 1, 2, ["c"]]]
    long = one.apply_async((), {f"keyword_{number}": 1 for number in range(100)}).id
    assert ledger.row(long)["shape"] is None


@pytest.mark.parametrize("options", [{"version": 0}, {"version": True}, {"aliases": ["a", 1]}])
def test_a_declaration_that_cannot_be_right_is_refused(app: Celery, options: dict):
    with pytest.raises(ConfigurationError, match="shop"):

        @app.task(name="shop.pay", lazy=False, shared=False, **options)
        def pay(): ...


def test_an_upcaster_must_lead_to_the_task_s_version(app: Celery):
    @app.task(name="shop.pay", version=2, shared=False)
    def pay(): ...

    for from_version in (2, 3, 0, "1"):
        with pytest.raises(ConfigurationError, match="of version 2, so an upcaster is from a version of 1 to 1"):
            pay.upcast(from_version=from_version)
    pay.upcast(from_version=1)(dict)
    with pytest.raises(ConfigurationError, match="has an upcaster from version 1 already"):
        pay.upcast(from_version=1)(list)


def test_two_tasks_cannot_have_one_alias(app: Celery):
    @app.task(name="one", aliases=["old"], lazy=False, shared=False)
    def one(): ...

    with pytest.raises(ConfigurationError, match="the same alias 'old'"):

        @app.task(name="two", aliases=["old"], lazy=False, shared=False)
        def two(): ...


def test_the_code_tells_what_it_can_take(app: Celery):
    @app.task(name="new", version=2, aliases=["old"], shared=False)
    def new(order, currency): ...

    @new.upcast(from_version=1)
    def _(order):
        return {"order": order, "currency": "EUR"}

    can_take = app.mirepoix.catalog.can_take
    assert can_take('[["new",2,2,[]]]')
    assert can_take('[["old",1,1,[]]]')
    assert can_take('[["old",1,0,["order"]]]')
    assert not can_take('[["old",1,2,[]]]')
    assert not can_take('[["new",3,2,[]]]')
    assert not can_take('[["nothing",1,null,null]]')
    assert can_take('[["new",1,null,null]]')

    @app.task(name="nothing", lazy=False, shared=False)
    def nothing(): ...

    assert can_take('[["nothing",1,null,null]]')

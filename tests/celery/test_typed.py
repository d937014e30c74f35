"""The types of a call's arguments, checked for tasks of every style."""

from __future__ import annotations

import time
from typing import Optional

import pytest
from celery import Celery, _state
from pydantic import BaseModel, ConfigDict, field_validator

from mirepoix.celery.typed import checker_of, mistypes_of


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int
    lines: list[str] = []


class Fussy(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def only_on_a_worker(cls, number):
        raise RuntimeError


@pytest.fixture
def app(monkeypatch):
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))
    return Celery("shop", set_as_current=False, broker="memory://")


def said(task, *args, **kwargs):
    return [str(one) for one in mistypes_of(task, args, kwargs)]


def test_a_bound_task_is_checked_without_itself(app):
    @app.task(bind=True)
    def charge(self, order: int): ...

    assert said(charge, "1") == ["order must be int, not str"]
    assert said(charge, 1) == []
    assert mistypes_of(charge, None, None) == []


@pytest.mark.parametrize("options", [{"typing": False}, {"autoretry_for": (OSError,)}])
def test_options_of_the_task_change_nothing(app, options):
    @app.task(**options)
    def charge(order: int): ...

    assert said(charge, order="1") == ["order must be int, not str"]


def test_a_task_without_annotations_costs_nothing(app):
    @app.task
    def charge(order): ...

    assert checker_of(charge) is None
    assert said(charge, "1") == []


def test_what_a_task_asks_for_is_found_out_once(app, monkeypatch):
    @app.task
    def charge(order: int): ...

    said(charge, 1)
    monkeypatch.setattr("mirepoix.celery.typed.checker_of", None)
    assert said(charge, "1") == ["order must be int, not str"]


@pytest.fixture(params=[False, True], ids=["plain", "bound"])
def validated(app, request):
    if request.param:

        @app.task(name="bound", bind=True, pydantic=True)
        def validated(self, order: Order, amount: int = 0, other: Optional[Order] = None): ...  # noqa: UP045
    else:

        @app.task(name="plain", pydantic=True)
        def validated(order: Order, amount: int = 0, other: Optional[Order] = None): ...  # noqa: UP045

    return validated


def test_a_model_is_validated_as_the_worker_will(validated):
    assert said(validated, {"number": 1}) == []
    assert said(validated, {"number": "1"}, other=None) == []
    assert said(validated, Order(number=1), 5, other={"number": 1}) == []
    assert said(validated, {"number": "secret"}) == ["order must be Order, not dict (number: int_parsing)"]
    assert said(validated, {}, "5") == [
        "order must be Order, not dict (number: missing)",
        "amount must be int, not str",
    ]
    assert said(validated, {"number": 1, "secret": 2}) == ["order must be Order, not dict (extra_forbidden)"]
    assert said(validated, "secret") == ["order must be Order, not str (model_type)"]
    assert said(validated, None) == ["order must be Order, not NoneType (model_type)"]
    assert said(validated, {"number": 1}, other=[]) == ["other must be Order or None, not list (model_type)"]


def test_a_strict_model_is_asked_what_it_makes_of_what_arrives(app):
    @app.task(pydantic=True, pydantic_strict=True)
    def charge(order: Order): ...

    assert said(charge, {"number": 1, "lines": ("a", "b")}) == []  # JSON makes a list of the tuple
    assert said(charge, {"number": "1"}) == ["order must be Order, not dict (number: int_type)"]


def test_a_validator_that_works_on_a_worker_only_is_no_mistake(app):
    @app.task(pydantic=True)
    def charge(order: Fussy): ...

    assert said(charge, {"number": 1}) == []


def test_a_coroutine_is_checked_too(app, tmp_path):
    import mirepoix

    mirepoix.install(app, f"sqlite:///{tmp_path / 'ledger.db'}")

    @app.task(pydantic=True)
    async def charge(order: Order, amount: int): ...

    assert said(charge, {}, "x") == ["order must be Order, not dict (number: missing)", "amount must be int, not str"]
    app.mirepoix.source.close()


def test_a_call_of_three_parameters_is_checked_in_microseconds(app):
    @app.task
    def charge(order: int, amount: float | None, tags: list[str]): ...

    args, kwargs = (1, 2.5), {"tags": ["a", "b"]}
    mistypes_of(charge, args, kwargs)
    # The best of several: others may use the machine.
    best = min(_seconds_of(lambda: mistypes_of(charge, args, kwargs)) for _ in range(50))
    assert best < 20e-6


def _seconds_of(act, times=100):
    began = time.perf_counter()
    for _ in range(times):
        act()
    return (time.perf_counter() - began) / times

"""The signatures of an app's tasks, and that a call fits one exactly when the task can be called so."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task, _state
from pydantic import BaseModel

import mirepoix
from mirepoix.celery.signatures import signature_of_task, signatures_of
from mirepoix.celery.tracing import _incompatibility
from mirepoix.signatures.shape import fits


class Order(BaseModel):
    number: int


def logged(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        return function(*args, **kwargs)

    return call


def define(app: Celery) -> None:  # noqa: C901
    """A task of each style."""

    @app.task(name="plain")
    def plain(order, amount=0): ...

    @app.task(name="bound", bind=True)
    def bound(self, order, *, amount): ...

    @app.task(name="untyped", typing=False)
    def untyped(order): ...

    @app.task(name="retried", autoretry_for=(OSError,))
    def retried(order, *rest): ...

    @app.task(name="bound.retried", bind=True, autoretry_for=(OSError,))
    def bound_retried(self, order): ...

    @app.task(name="coroutine")
    async def coroutine(order, amount=0): ...

    @app.task(name="bound.coroutine", bind=True, autoretry_for=(OSError,))
    async def bound_coroutine(self, order): ...

    @app.task(name="validated", pydantic=True)
    def validated(order: Order, amount: int = 0): ...

    @app.task(name="bound.validated", pydantic=True, bind=True)
    def bound_validated(self, order: Order): ...

    @app.task(name="validated.coroutine", pydantic=True, autoretry_for=(OSError,))
    async def validated_coroutine(order: Order, **options): ...

    @app.task(name="decorated")
    @logged
    def decorated(order): ...

    class Classy(Task):
        name = "classy"

        def run(self, order, amount=0): ...

    app.register_task(Classy())


SIGNATURES = {
    "plain": "plain(order, amount=0)",
    "bound": "bound(order, *, amount)",
    "untyped": "untyped(order)",
    "retried": "retried(order, *rest)",
    "bound.retried": "bound.retried(order)",
    "coroutine": "coroutine(order, amount=0)",
    "bound.coroutine": "bound.coroutine(order)",
    "validated": "validated(order: Order, amount: int = 0)",
    "bound.validated": "bound.validated(order: Order)",
    "validated.coroutine": "validated.coroutine(order: Order, **options)",
    "decorated": "decorated(*args, **kwargs)",
    "classy": "classy(order, amount=0)",
}


@pytest.fixture(params=["stock", "installed before", "installed after"])
def app(request, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))
    app = Celery("shop", set_as_current=False, broker="memory://")
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    if request.param == "installed before":
        mirepoix.install(app, url)
    define(app)
    if request.param == "installed after":
        app.finalize()
        mirepoix.install(app, url)
    yield app
    if hasattr(app, "mirepoix"):
        app.mirepoix.source.close()
    app.close()


def test_each_style_of_task_has_the_signature_that_its_author_wrote(app):
    assert {name: str(one) for name, one in signatures_of(app).items()} == SIGNATURES


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((1,), {}),
    ((1, 2), {}),
    ((1, 2, 3), {}),
    ((), {"order": 1}),
    ((1,), {"amount": 2}),
    ((1,), {"order": 2}),
    ((1,), {"tax": 2}),
    ((), {"order": 1, "amount": 2}),
]


@pytest.mark.parametrize("name", sorted(set(SIGNATURES) - {"decorated"}))
def test_a_call_fits_exactly_when_the_task_can_be_called_so(app, name):
    task = app.tasks[name]
    for args, kwargs in CALLS:
        reason = fits(signature_of_task(task), args, kwargs)
        assert (reason is None) == _is_bound(task, args, kwargs), (args, kwargs, reason)


@pytest.mark.parametrize("name", sorted({one for one in SIGNATURES if "validated" not in one} - {"classy"}))
def test_a_call_fits_exactly_when_a_worker_takes_it_today(app, name):
    # For tasks with pydantic=True, and for those that are classes, the worker finds out by calling them.
    task = app.tasks[name]
    for args, kwargs in CALLS:
        assert (fits(signature_of_task(task), args, kwargs) is None) == (_incompatibility(task, args, kwargs) is None)


def _is_bound(task, args, kwargs) -> bool:
    """Whether the call gets as far as the arguments' validation, or the author's code, which does nothing."""
    kwargs = {key: {"number": 1} if key == "order" else value for key, value in kwargs.items()}
    args = tuple({"number": 1} if number == 0 else value for number, value in enumerate(args))
    try:
        made = task.run(*args, **kwargs)
    except TypeError:
        return False
    if hasattr(made, "close"):
        made.close()
    return True


def test_version_aliases_and_upcasters_are_the_tasks_own(app):
    @app.task(name="new", version=3, aliases=("old", "older"))
    def new(): ...

    if not hasattr(app, "mirepoix"):
        return  # there is no upcast() then
    new.upcast(from_version=1)(dict)
    new.upcast(from_version=2)(dict)
    found = signature_of_task(new)
    assert (found.version, found.aliases, found.upcasts) == (3, ("old", "older"), (1, 2))


def test_attributes_of_other_meanings_are_not_taken_for_ours(app):
    @app.task(name="new", version="2.1", aliases="abc", upcasters=None)
    def new(): ...

    found = signature_of_task(new)
    assert (found.version, found.aliases, found.upcasts) == (1, (), ())


def test_a_decorator_may_say_what_it_takes(app):
    def with_session(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            return function("session", *args, **kwargs)

        import inspect

        whole = inspect.signature(function)
        call.__signature__ = whole.replace(parameters=list(whole.parameters.values())[1:])
        return call

    @app.task(name="new")
    @with_session
    def new(session, order): ...

    assert str(signature_of_task(new)) == "new(order)"


def test_a_function_that_python_cannot_inspect_takes_anything(app):
    class Opaque(Task):
        name = "opaque"
        run = staticmethod(dict.fromkeys)

    task = app.register_task(Opaque())
    assert fits(signature_of_task(task), (1, 2), {}) is None
